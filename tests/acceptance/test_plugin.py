"""A plug-in as an outsider writes it: all an engine does, and no change of the engine."""

from __future__ import annotations

from tests.acceptance.plugins import STOCKROOM
from tests.acceptance.reader import follow
from tests.acceptance.stack import Stack
from tests.crash.client import JOBS, Client, Document

LINES = 25


def _deliver(client: Client, key: str, operation: str, items: list[tuple[str, int]]) -> str:
    return client.submit(key, operation, [{"code": c, "amount": n} for c, n in items])


def _shelves(stack: Stack) -> dict[str, int]:
    return dict(map(tuple, stack.rows("SELECT code, amount FROM shelves")))


def _counted(job: Document) -> dict[str, int]:
    return {name: count for name, count in job["counts"].items() if count and name != "total"}


def test_it_is_as_short_as_we_say() -> None:
    assert len([line for line in STOCKROOM.splitlines() if line.strip()]) <= LINES


def test_a_stranger_s_plugin_is_worked_shown_retried_undone_and_audited(stack: Stack) -> None:
    client = Client(stack.url)
    offered = {found["kind"]: found for found in client.ask("GET", "/api/v1/operations")["items"]}
    assert set(offered["stock.add"]["item"]["properties"]) == {"code", "amount"}
    client.settle(_deliver(client, "open", "stock.open", [("A", 100), ("B", 200)]))

    job_id = _deliver(client, "add", "stock.add", [("A", 1), ("B", 2), ("C", 3)] * 100)
    seen = list(follow(stack.url, job_id))

    assert [event.version for event in seen if event.version] == list(range(1, len(seen) + 1))
    assert seen[-1].data["status"] == "completed_with_errors"
    assert _counted(client.job(job_id)) == {"succeeded": 200, "failed": 100}
    (group,) = client.ask("GET", f"{JOBS}/{job_id}/errors")["items"]
    assert (group["code"], group["count"]) == ("no_shelf", 100)
    assert _shelves(stack) == {"A": 200, "B": 400}

    client.settle(_deliver(client, "open C", "stock.open", [("C", 0)]))
    client.command(job_id, "retry", "again")
    assert _counted(client.settle(job_id)) == {"succeeded": 300}
    assert _shelves(stack) == {"A": 200, "B": 400, "C": 300}

    client.command(job_id, "undo", "back")
    undone = client.settle(job_id)
    assert (undone["status"], _counted(undone)) == ("rolled_back", {"rolled_back": 300})
    assert _shelves(stack) == {"A": 100, "B": 200, "C": 0}

    stack.check_audit()
