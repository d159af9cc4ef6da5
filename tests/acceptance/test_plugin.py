"""A plug-in as an outsider writes it: all an engine does, and no change of the engine."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.commands import Server, countermand, serving
from tests.acceptance.plugins import plugin
from tests.acceptance.reader import follow
from tests.crash.client import JOBS, Client, Document

LINES = 25
STOCKROOM = """\
from pydantic import BaseModel
from sqlalchemy import Column, Integer, MetaData, String, Table
from domain.operation import operation
from domain.outcomes import Done, Failed
from domain.records import Change

shelves = Table("shelves", MetaData(), Column("id", Integer, primary_key=True),
    Column("version", Integer), Column("tenant", String),
    Column("code", String), Column("amount", Integer))

class Delivery(BaseModel):
    code: str
    amount: int

@operation("stock.open", item=Delivery, tables=[shelves])
def open_shelf(ctx, item):
    row = (item.code, item.amount)
    return Done({"id": ctx.store.insert(shelves, ["code", "amount"], [row], [ctx.position])[0]})

@operation("stock.add", item=Delivery, tables=[shelves])
def add(ctx, item):
    for shelf in ctx.store.find(shelves, shelves.c.code == item.code):
        change = {"amount": shelf["amount"] + item.amount}
        ctx.store.update(shelves, [Change(shelf["id"], change, position=ctx.position)])
        return Done(change)
    return Failed("no_shelf", f"there is no shelf {item.code}; open it", "/code", retryable=True)

operations = [open_shelf, add]
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "data").mkdir()
    path = plugin(tmp_path / "site", "stockroom", STOCKROOM)
    with serving(tmp_path / "data", PYTHONPATH=path) as running:
        yield running


def _deliver(client: Client, key: str, operation: str, items: list[tuple[str, int]]) -> str:
    return client.submit(key, operation, [{"code": c, "amount": n} for c, n in items])


def _shelves(server: Server) -> dict[str, int]:
    with closing(sqlite3.connect(server.data_dir / "countermand.db")) as connection:
        return dict(connection.execute("SELECT code, amount FROM shelves").fetchall())


def _counted(job: Document) -> dict[str, int]:
    return {name: count for name, count in job["counts"].items() if count and name != "total"}


def test_it_is_as_short_as_we_say() -> None:
    assert len([line for line in STOCKROOM.splitlines() if line.strip()]) <= LINES


def test_a_stranger_s_plugin_is_worked_shown_retried_undone_and_audited(server: Server) -> None:
    client = Client(server.url)
    offered = {found["kind"]: found for found in client.ask("GET", "/api/v1/operations")["items"]}
    assert set(offered["stock.add"]["item"]["properties"]) == {"code", "amount"}
    client.settle(_deliver(client, "open", "stock.open", [("A", 100), ("B", 200)]))

    job_id = _deliver(client, "add", "stock.add", [("A", 1), ("B", 2), ("C", 3)] * 100)
    seen = list(follow(server.url, job_id))

    assert [event.version for event in seen if event.version] == list(range(1, len(seen) + 1))
    assert seen[-1].data["status"] == "completed_with_errors"
    assert _counted(client.job(job_id)) == {"succeeded": 200, "failed": 100}
    (group,) = client.ask("GET", f"{JOBS}/{job_id}/errors")["items"]
    assert (group["code"], group["count"]) == ("no_shelf", 100)
    assert _shelves(server) == {"A": 200, "B": 400}

    client.settle(_deliver(client, "open C", "stock.open", [("C", 0)]))
    client.command(job_id, "retry", "again")
    assert _counted(client.settle(job_id)) == {"succeeded": 300}
    assert _shelves(server) == {"A": 200, "B": 400, "C": 300}

    client.command(job_id, "undo", "back")
    undone = client.settle(job_id)
    assert (undone["status"], _counted(undone)) == ("rolled_back", {"rolled_back": 300})
    assert _shelves(server) == {"A": 100, "B": 200, "C": 0}

    assert server.stop() == 0
    checked = countermand("audit", "verify", "--data-dir", str(server.data_dir))
    assert checked.returncode == 0, checked.stdout + checked.stderr
