"""Which work messages say that they are short, so that a worker takes them beside long ones."""

from __future__ import annotations

from dataclasses import dataclass

import orjson
import pytest

from domain.commands import UndoJob
from domain.events import JobStatus
from domain.jobs import Jobs
from domain.planning import LONG_MS, SHORT_ITEMS, TARGET_MS
from domain.registry import Registry
from streams import topics
from streams.envelope import Outgoing, WorkMode, decode_work, mode_of
from streams.stores import migrate
from streams.stores.database import Database
from streams.stores.events import EventRecorder, SnapshotRecorder
from tests.databases import database, database_url
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url"]


@dataclass(frozen=True)
class Sent:
    """A work message: of how many items it is, and how it is to be taken."""

    items: int
    mode: WorkMode


@pytest.fixture
async def stages(database: Database) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(operations))


async def sent(stages: Stages, message: Outgoing) -> Sent:
    work = decode_work(message.value)
    numbers = ", ".join(str(chunk.chunk) for chunk in work.chunks)
    rows = await stages.rows(
        f"SELECT items FROM chunks WHERE job_id = '{work.job_id}' AND chunk IN ({numbers})"
    )
    spans = [span for (text,) in rows for span in orjson.loads(text)]
    items = sum(end - first for first, end in spans)
    return Sent(items, mode_of(message.headers))


async def watched(stages: Stages) -> list[Sent]:
    """Deliver until nothing is on the bus; the work messages, in their order."""
    seen: list[Sent] = []
    while stages.bus:
        message = stages.bus.pop(0)
        if message.topic == topics.work("stock"):
            seen.append(await sent(stages, message))
        await stages.deliver(message)
    await stages.work_out()
    return seen


async def test_little_work_is_short_and_much_is_not(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", [{"name": "x"}] * 6000)
    seen = await watched(stages)
    assert (await stages.job(job_id)).status is JobStatus.COMPLETED
    assert seen[0] == Sent(SHORT_ITEMS, WorkMode.CONCURRENT)
    assert {each.mode for each in seen if each.items > SHORT_ITEMS} == {WorkMode.SEQUENTIAL}
    assert sum(each.items for each in seen if each.mode is WorkMode.SEQUENTIAL) > 5000


async def test_of_a_job_of_which_nothing_is_known_the_first_message_alone_is_short(
    stages: Stages,
) -> None:
    """They may take seconds each, while others wait for their turn."""
    await stages.submit("stock.create", [{"name": "x"}] * 6000)
    work = [message for message in stages.bus if message.topic == topics.work("stock")]
    first, *others = [await sent(stages, message) for message in work]
    assert first.mode is WorkMode.CONCURRENT
    assert {each.mode for each in others} == {WorkMode.SEQUENTIAL}


async def test_work_in_order_is_short_too(stages: Stages) -> None:
    await stages.submit("stock.create", [{"name": "x"}] * 5)
    await stages.run_dry()
    await stages.submit("stock.add", [{"id": n, "amount": 1} for n in range(1, 6)])
    assert [each.mode for each in await watched(stages)] == [WorkMode.CONCURRENT]


async def test_an_undo_of_little_is_short_and_one_of_much_is_not(stages: Stages) -> None:
    for items, mode in ((5, WorkMode.CONCURRENT), (500, WorkMode.SEQUENTIAL)):
        job_id = await stages.submit("stock.create", [{"name": "x"}] * items)
        await stages.run_dry()
        await stages.command(UndoJob, job_id)
        (undo,) = await watched(stages)
        assert undo.mode is mode
        assert (await stages.job(job_id)).status is JobStatus.ROLLED_BACK


async def test_work_that_is_only_begun_is_short(stages: Stages) -> None:
    await stages.submit("stock.wait", [{"number": n} for n in range(200)])
    seen = await watched(stages)
    assert len(seen) > 1
    assert {each.mode for each in seen} == {WorkMode.CONCURRENT}


async def test_where_chunks_may_be_long_those_of_a_job_read_anew_may_too(
    database: Database, stages: Stages
) -> None:
    """What takes up a place is counted by it."""
    recorder = EventRecorder(database)
    jobs = Jobs(recorder, SnapshotRecorder(database), target_ms=LONG_MS)
    job_id = await stages.submit("stock.create", [{"name": "x"}])
    await stages.run_dry()
    found = await database.read(lambda _: jobs.load(job_id))
    assert found.pace.target_ms == LONG_MS
    assert jobs.begin("another").pace.target_ms == LONG_MS
    assert (await stages.job(job_id)).pace.target_ms == TARGET_MS
