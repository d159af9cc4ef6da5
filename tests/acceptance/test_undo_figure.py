"""Undo of many updates, some changed later: the rest is as before, and conflicts are named.

The figure is 10,000 updates of which 137 were changed later: by another job, by people who
edit through the records port from another process, and by deletions of both; the sample has
fewer of which as many were changed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from domain.records import Change, Deletion, Writer, Written
from domain.systems.annotations.tables import projects
from streams.stores.database import Database
from streams.stores.records import SqlRecords
from tests.acceptance.stack import Stack
from tests.crash.client import Client, Document
from tests.crash.seeds import SEED

SAMPLE, COUNT = 2_000, 10_000
CHANGED, EDITED, REMOVED, DELETED = 60, 40, 20, 17
"""Records that another job changes, a person edits, another job deletes, a person deletes."""

Rows = dict[int, tuple[Any, ...]]


def _business_rows(stack: Stack) -> Rows:
    """All columns of every project but its version, past the engine."""
    rows: Rows = {}
    for row in stack.rows("SELECT * FROM projects"):
        columns = dict(row._mapping)
        del columns["version"]
        rows[columns["id"]] = tuple(columns.values())
    return rows


def _by_hand(stack: Stack, actor: str, work: Callable[[SqlRecords], Sequence[object]]) -> None:
    """Single writes through the records port, each a transaction, in this very process."""
    with Database(stack.database) as database:
        written = database.write_now(
            lambda connection: work(SqlRecords(connection, Writer("local", actor), time.time()))
        )
    assert all(isinstance(result, Written) for result in written)


@dataclass
class Rewrite:
    """A job that renames projects, and who has changed which of them since."""

    stack: Stack
    client: Client
    name: str
    """Told apart from others on the same server by this."""
    ids: list[int] = field(default_factory=list)
    job_id: str = ""
    later: dict[int, str] = field(default_factory=dict)

    def work(self, key: str, verb: str, items: list[Document]) -> str:
        job_id = self.client.submit(f"{self.name} {key}", f"annotations.{verb}_projects", items)
        job = self.client.settle(job_id)
        assert job["counts"]["succeeded"] == len(items), job
        return job_id

    def rename(self) -> None:
        items = [{"id": n, "name": f"renamed {n}", "description": "new"} for n in self.ids]
        self.job_id = self.work("rename", "update", items)

    def interfere(self, chance: random.Random) -> None:
        """Change and delete some of the records, as others do."""
        some = iter(chance.sample(self.ids, CHANGED + EDITED + REMOVED + DELETED))
        changed, edited, removed, deleted = (
            [next(some) for _ in range(count)] for count in (CHANGED, EDITED, REMOVED, DELETED)
        )
        job = self.work("change", "update", [{"id": n, "name": "changed"} for n in changed])
        self.later |= dict.fromkeys(changed, job)
        job = self.work("remove", "delete", [{"id": n} for n in removed])
        self.later |= dict.fromkeys(removed, job)
        for n in edited:
            _by_hand(
                self.stack, "ada", lambda r, n=n: r.update(projects, [Change(n, {"name": "ada"})])
            )
        for n in deleted:
            _by_hand(self.stack, "grace", lambda r, n=n: r.delete(projects, [Deletion(n)]))
        self.later |= dict.fromkeys(edited, "ada") | dict.fromkeys(deleted, "grace")

    def undo(self, key: str) -> Document:
        self.client.command(self.job_id, "undo", key)
        return self.client.settle(self.job_id)

    def conflicts(self) -> dict[int, Document]:
        """By record, the items that are in conflict."""
        found = [item for item in self.client.items(self.job_id) if item["status"] == "conflict"]
        return {self.ids[item["position"]]: item["error"] for item in found}


def _prepared(stack: Stack, name: str, count: int) -> Rewrite:
    rewrite = Rewrite(stack, Client(stack.url), name)
    names = [{"name": f"project {n}", "description": f"old {n}"} for n in range(count)]
    made = rewrite.work("create", "create", names)
    rewrite.ids = [item["result"]["id"] for item in rewrite.client.items(made)]
    return rewrite


def _same(some: Rows, others: Rows, ids: set[int]) -> int:
    """How many of those records are in both and are equal."""
    return sum(some.get(n, None) == others.get(n, ()) for n in ids)


@pytest.mark.parametrize("count", [SAMPLE, pytest.param(COUNT, marks=pytest.mark.proof)])
def test_undo_of_many_updates_of_which_137_were_changed_later(stack: Stack, count: int) -> None:
    rewrite = _prepared(stack, f"figure {count}", count)
    before = _business_rows(stack)
    rewrite.rename()
    renamed = _business_rows(stack)
    assert _same(before, renamed, set(rewrite.ids)) == 0
    rewrite.interfere(random.Random(SEED))
    meddled = _business_rows(stack)
    others, ours = set(rewrite.later), set(rewrite.ids) - set(rewrite.later)
    assert (len(others), len(ours)) == (137, count - 137)

    started = time.monotonic()
    undone = rewrite.undo("undo")
    seconds = time.monotonic() - started
    after = _business_rows(stack)

    assert undone["status"] == "rolled_back"
    assert (undone["counts"]["rolled_back"], undone["counts"]["conflict"]) == (len(ours), 137)
    assert _same(after, before, ours) == len(ours)
    assert {n: after.get(n) for n in others} == {n: meddled.get(n) for n in others}
    conflicts = rewrite.conflicts()
    assert set(conflicts) == others
    unnamed = [n for n, who in rewrite.later.items() if who not in conflicts[n]["message"]]
    assert not unnamed, conflicts[unnamed[0]]
    stack.tell(
        "records restored in all business columns", _same(after, before, ours), N=count, seed=SEED
    )
    stack.tell("conflicts that name who did it", len(conflicts), N=count, seed=SEED)
    stack.tell("undo of the updates", f"{seconds:.1f} s", N=count)

    redone = rewrite.undo("undo of the undo")
    again = _business_rows(stack)

    assert redone["counts"]["succeeded"] == len(ours), redone
    assert _same(again, renamed, ours) == len(ours)
    assert {n: again.get(n) for n in others} == {n: meddled.get(n) for n in others}
    stack.tell(
        "records as the job left them after the undo of the undo", len(ours), N=count, seed=SEED
    )
    stack.check_audit()


@pytest.mark.parametrize("size", [10, 400], ids=["in different chunks", "in one chunk"])
def test_two_items_of_one_job_on_one_record_are_no_conflict(stack: Stack, size: int) -> None:
    rewrite = _prepared(stack, f"thrice {size}", 100)
    before = _business_rows(stack)
    items = [{"id": n, "name": f"turn {turn}"} for turn in range(3) for n in rewrite.ids]
    rewrite.job_id = rewrite.client.submit(
        f"{rewrite.name} update", "annotations.update_projects", items, options={"chunk_size": size}
    )
    assert rewrite.client.settle(rewrite.job_id)["counts"]["succeeded"] == 300
    changed = _business_rows(stack)

    undone = rewrite.undo("undo")

    assert (undone["status"], undone["counts"]["rolled_back"]) == ("rolled_back", 300)
    assert _business_rows(stack) == before
    redone = rewrite.undo("undo of the undo")
    assert (redone["status"], redone["counts"]["succeeded"]) == ("completed", 300)
    assert _business_rows(stack) == changed
