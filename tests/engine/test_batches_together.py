"""Two coordinators at once, while a batch is stopped and goes on: nobody waits for ever."""

from __future__ import annotations

import asyncio
import threading

import pytest
from sqlalchemy import Connection

from domain.commands import PauseJob, ResumeJob, UndoJob
from domain.events import Child, JobStatus
from domain.planning import MAX_PACKED
from domain.registry import Registry
from streams.failpoints import Failpoint, Failpoints
from streams.stores import children as child_store
from streams.stores import database as database_store
from streams.stores import migrate
from streams.stores.database import Database
from tests.databases import database, database_url
from tests.engine.batches import statuses, step, submit
from tests.engine.stages import HandClock, Stages
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url"]

MANY = ({"name": "x"},) * 40


class Prefixed:
    """Ids of one of several processes."""

    def __init__(self, prefix: str) -> None:
        self._prefix, self._last = prefix, 0

    def new(self) -> str:
        self._last += 1
        return f"{self._prefix}-{self._last:06d}"


async def _drive(stages: Stages) -> None:
    """Deliver what the two have on their bus, one message after the other."""
    while stages.bus:
        await stages.deliver(stages.bus.pop(0))


@pytest.mark.timeout(120)
async def test_a_batch_is_steered_while_its_jobs_are_worked(database: Database) -> None:
    migrate.create_missing(database, [stock])
    clock, bus = HandClock(), []
    both = [
        Stages(database, Registry(operations), clock, Prefixed(name), bus, shared=True)  # type: ignore[arg-type]
        for name in ("left", "right")
    ]
    first, second = both
    second.workers = 100
    second.restart()
    steps = [
        step(f"s{n}", *([f"s{n - 1}"] if n % 3 else []), items=MANY, options={"chunk_size": 4})
        for n in range(9)
    ]
    batch = await submit(first, *steps)
    for _ in range(12):
        await asyncio.gather(_drive(first), _drive(second), _steer(second, batch))
        clock.pass_seconds(6)
        bus += await first.sweep.sweep()
        if (await first.job(batch)).status is JobStatus.COMPLETED:
            break
    assert (await first.job(batch)).counts.succeeded == 360, await statuses(first, batch)
    paused = await first.kinds(batch)
    assert paused.count("job.paused") == paused.count("job.resumed") > 0
    (await first.command(UndoJob, batch)).accepted()
    for _ in range(40):
        await asyncio.gather(_drive(first), _drive(second))
        clock.pass_seconds(6)
        bus += await second.sweep.sweep()
        if (await first.job(batch)).status.terminal:
            break
    assert (await first.job(batch)).status is JobStatus.ROLLED_BACK
    assert await first.rows("SELECT count(*) FROM stock") == [(0,)]


async def _steer(stages: Stages, batch: str) -> None:
    for kind in (PauseJob, ResumeJob):
        await asyncio.sleep(0)
        await stages.command(kind, batch)


class Appending(Failpoints):
    """Says when the left of two begins to append, which waits until the right has heard."""

    def __init__(self) -> None:
        super().__init__()
        self.heard, self.appended = threading.Event(), threading.Event()

    def reach(self, place: Failpoint) -> None:
        if place is Failpoint.BEFORE_APPEND:
            self.heard.wait(1)
        elif place is Failpoint.AFTER_APPEND:
            self.appended.set()


async def test_a_batch_hears_while_its_job_moves_and_neither_ends_the_other(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate.create_missing(database, [stock])
    clock, bus, gate = HandClock(), [], Appending()
    gate.heard.set()
    left, right = (
        Stages(database, Registry(operations), clock, Prefixed(name), bus, shared=True, **more)  # type: ignore[arg-type]
        for name, more in (("left", {"failpoints": gate}), ("right", {"workers": 100}))
    )
    items = MANY * (2 * MAX_PACKED // len(MANY))
    batch = await submit(left, step("s", items=items, options={"chunk_size": MAX_PACKED // 4}))
    ((child,),) = await left.rows("SELECT job_id FROM children")
    for _ in range(2):
        bus += await left.coordinator.look(child)
        work = next(m for m in bus if m.topic.startswith("countermand.work."))
        bus.remove(work)
        await left.deliver(work)
    hear_all, ours, conflicts = child_store.hear_all, database_store._ours, []

    def heard(connection: Connection, job_id: str) -> dict[int, Child]:
        found = hear_all(connection, job_id)
        gate.heard.set()
        # Whoever appends now and then wants what we hold would never come to an end.
        gate.appended.wait(0.5 if database.is_sqlite else 2)
        return found

    def noted(error: Exception) -> Exception:
        conflicts.append(error)
        return ours(error)  # type: ignore[arg-type]

    monkeypatch.setattr(child_store, "hear_all", heard)
    monkeypatch.setattr(database_store, "_ours", noted)
    gate.heard.clear()
    gate.appended.clear()
    await asyncio.gather(left.coordinator.look(child), right.coordinator.look(batch))
    assert conflicts == []
