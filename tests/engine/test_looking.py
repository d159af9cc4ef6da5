"""A worker of the coordinator's own process has it look at what was worked, and sends no hint."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from domain.errors import StoreUnavailable
from domain.events import JobStatus
from domain.options import JobOptions
from domain.registry import Registry
from domain.scheduling import DISPATCHES_PER_SLOT
from streams import topics
from streams.envelope import Outgoing, Work, decode_work, look_at
from streams.looking import LookingWorker
from streams.stores import migrate
from streams.stores.database import Database
from tests.databases import database, database_url
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url"]

HINT = look_at("a-job", "a-hint", (3,))
EVENT = Outgoing(topics.OUTCOMES, b"a-job", b"{}")
WORK = Work(job_id="a-job", operation="stock.create", epoch=0, chunks=())


@pytest.fixture
async def stages(database: Database) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(operations))


async def work_of(stages: Stages, *, items: int, chunk_size: int) -> list[Work]:
    """A job's work messages, taken from the bus."""
    options = JobOptions(chunk_size=chunk_size)
    await stages.submit("stock.create", [{"name": "x"}] * items, options=options)
    work = [decode_work(one.value) for one in stages.bus if one.topic == topics.work("stock")]
    stages.bus.clear()
    return work


def looking(stages: Stages) -> LookingWorker:
    return LookingWorker(stages.worker.handle, stages.coordinator)


async def test_what_was_worked_is_recorded_without_a_hint(stages: Stages) -> None:
    (work,) = await work_of(stages, items=1, chunk_size=1)
    sent = await looking(stages).handle(work)
    assert topics.COMMANDS not in {one.topic for one in sent}
    assert (await stages.job(work.job_id)).status is JobStatus.COMPLETED


async def test_it_comes_again_without_harm(stages: Stages) -> None:
    (work,) = await work_of(stages, items=1, chunk_size=1)
    await looking(stages).handle(work)
    before = await stages.job(work.job_id)
    await looking(stages).handle(work)
    await stages.run_dry()
    assert (await stages.job(work.job_id)).version == before.version


async def test_a_job_of_which_more_is_open_is_looked_at_in_its_turn(stages: Stages) -> None:
    first, second = await work_of(stages, items=300, chunk_size=200)
    stages.bus += await looking(stages).handle(first)
    assert (await stages.job(first.job_id)).counts.succeeded == 0, "it waits for its turn"
    assert [one.topic for one in stages.bus if one.topic == topics.COMMANDS]
    await stages.run_dry()
    assert (await stages.job(first.job_id)).counts.succeeded == 200
    await looking(stages).handle(second)
    assert (await stages.job(first.job_id)).status is JobStatus.COMPLETED


async def test_whoever_does_not_drive_the_job_is_sent_the_hint(stages: Stages) -> None:
    (work,) = await work_of(stages, items=1, chunk_size=1)
    other = Stages(stages.database, stages.registry, ids=stages.ids, clock=stages.clock)
    sent = await LookingWorker(stages.worker.handle, other.coordinator).handle(work)
    assert topics.COMMANDS in {one.topic for one in sent}
    assert (await stages.job(work.job_id)).status is JobStatus.RUNNING
    stages.bus += sent
    await stages.run_dry()
    assert (await stages.job(work.job_id)).status is JobStatus.COMPLETED


async def test_a_job_is_not_looked_at_while_a_step_of_it_is_under_way(stages: Stages) -> None:
    """It changes the job in another thread."""
    (work,) = await work_of(stages, items=1, chunk_size=1)
    assert stages.coordinator.may_look(work.job_id)
    step = asyncio.ensure_future(stages.coordinator.look(work.job_id))
    await asyncio.sleep(0)
    assert not stages.coordinator.may_look(work.job_id)
    await step
    assert stages.coordinator.may_look(work.job_id)


async def test_jobs_for_which_there_is_room_then_get_hints(stages: Stages) -> None:
    """What the coordinator's own agent has planned of them may not be sent yet."""
    running = [await work_of(stages, items=1, chunk_size=1) for _ in range(DISPATCHES_PER_SLOT)]
    await stages.submit("stock.create", [{"name": "waits"}])
    assert topics.work("stock") not in {one.topic for one in stages.bus}, "it waits for a place"
    stages.bus.clear()
    sent = await looking(stages).handle(running[0][0])
    assert {one.topic for one in sent if one.topic != topics.OUTCOMES} == {topics.COMMANDS}
    stages.bus += sent
    await stages.deliver(next(one for one in sent if one.topic == topics.COMMANDS))
    assert topics.work("stock") in {one.topic for one in stages.bus}, "by its hint it is sent"


async def test_a_large_job_for_which_there_is_no_room_gets_no_hint(stages: Stages) -> None:
    """Small ones are taken for such that want as many places as there are, until they are cut."""
    large = await work_of(stages, items=40_000, chunk_size=1_000)
    (small,) = await work_of(stages, items=1, chunk_size=1)
    for work in (small, large[0]):
        for hint in await looking(stages).handle(work):
            await stages.deliver(hint)
    stages.bus.clear()
    await stages.submit("stock.create", [{"name": "x"}])
    assert [one.topic for one in stages.bus if one.topic == topics.work("stock")]
    assert topics.COMMANDS not in {one.topic for one in stages.bus}


@dataclass
class Looks:
    """A coordinator as a test wants it."""

    may: bool = True
    answer: list[Outgoing] = field(default_factory=list)
    error: Exception | None = None
    looked: list[str] = field(default_factory=list)

    def may_look(self, job_id: str) -> bool:
        return self.may

    async def look_aside(self, job_id: str) -> list[Outgoing]:
        self.looked.append(job_id)
        if self.error is not None:
            raise self.error
        return self.answer


async def handled(looks: Looks, sent: Sequence[Outgoing]) -> list[Outgoing]:
    async def works(_work: Work) -> list[Outgoing]:
        return list(sent)

    return await LookingWorker(works, looks).handle(WORK)


async def test_what_the_look_has_to_send_goes_with_what_the_worker_has() -> None:
    other = look_at("another", "its-hint")
    looks = Looks(answer=[other])
    assert await handled(looks, [HINT, EVENT]) == [EVENT, other]
    assert looks.looked == ["a-job"]


@pytest.mark.parametrize("error", [StoreUnavailable("the disk is full"), IndexError("ours")])
async def test_a_look_that_fails_is_asked_for_by_its_hint(error: Exception) -> None:
    """The agent that takes the hint tries for as long as it takes, and the work stays done."""
    looks = Looks(error=error)
    assert await handled(looks, [HINT, EVENT]) == [HINT, EVENT]


async def test_without_a_hint_there_is_nothing_to_look_at() -> None:
    looks = Looks()
    assert await handled(looks, [EVENT]) == [EVENT]
    assert looks.looked == []


async def test_where_it_may_not_be_looked_at_the_hint_is_sent() -> None:
    looks = Looks(may=False)
    assert await handled(looks, [HINT]) == [HINT]
    assert looks.looked == []
