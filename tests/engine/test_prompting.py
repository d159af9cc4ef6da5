"""Whoever drives a job hears of its little work from the database, before any hint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from domain.commands import AppendItems, InlineItems, JobSpec, OpenJob, SealJob, UndoJob
from domain.errors import BrokerUnavailable
from domain.events import JobStatus
from domain.options import JobOptions, Start
from domain.registry import Registry
from streams import topics
from streams.envelope import Outgoing, decode_command, look_at
from streams.loops import background
from streams.prompting import AT_ONCE, MOST_WAITING, Driving, Prompter
from streams.stores import migrate, outcomes
from streams.stores.database import Database
from streams.stores.listening import listening
from tests.databases import database, database_url
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url"]

SECONDS = 20.0


@pytest.fixture
async def stages(database: Database) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(operations))


async def worked(stages: Stages, job_id: str) -> list[Outgoing]:
    """Deliver the work of a job and none of its hints, which are returned."""
    work = [one for one in stages.bus if one.topic != topics.COMMANDS]
    stages.bus.clear()
    for one in work:
        await stages.deliver(one)
    hints = [one for one in stages.bus if one.topic == topics.COMMANDS]
    stages.bus.clear()
    return hints


@dataclass
class Looker:
    """Drives whatever it is asked about; says at whom it has looked, and waits if it is to."""

    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    begun: list[str] = field(default_factory=list)
    beginning: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    ended: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    def drives(self, job_id: str) -> bool:
        return job_id != "another's"

    async def prompted(self, job_id: str) -> Sequence[Outgoing]:
        self.begun.append(job_id)
        self.beginning.put_nowait(job_id)
        await self.go_on.wait()
        self.ended.put_nowait(job_id)
        return [look_at(job_id, job_id)]


@asynccontextmanager
async def prompted(
    looker: Driving, sent: asyncio.Queue[str] | None = None, *, away: int = 0
) -> AsyncIterator[Prompter]:
    """Looks run meanwhile; the broker is away for the first ``away`` messages."""
    tries = iter(range(away))

    async def send(outgoing: Outgoing) -> None:
        if next(tries, None) is not None:
            raise BrokerUnavailable("it is away")
        if sent is not None:
            sent.put_nowait(str(outgoing.key))

    prompter = Prompter(looker, send)
    async with asyncio.timeout(SECONDS), background([prompter.run()]):
        yield prompter


async def test_each_job_is_looked_at_once_for_all_that_is_heard_meanwhile() -> None:
    looker = Looker()
    async with prompted(looker) as prompter:
        for job_id in ["a", "a", "another's", None, "b", "a"]:
            prompter.heard(job_id)
        looker.go_on.set()
        assert {await looker.ended.get(), await looker.ended.get()} == {"a", "b"}
        prompter.heard("a")
        assert await looker.ended.get() == "a"
    assert looker.begun == ["a", "b", "a"]


async def test_jobs_are_looked_at_side_by_side_and_of_too_many_the_reminders_tell() -> None:
    looker = Looker()
    async with prompted(looker) as prompter:
        for number in range(AT_ONCE):
            prompter.heard(f"early-{number}")
        for _ in range(AT_ONCE):
            await looker.beginning.get()
        for number in range(MOST_WAITING + 10):
            prompter.heard(f"late-{number}")
        looker.go_on.set()
        for _ in range(AT_ONCE + MOST_WAITING):
            await looker.ended.get()
    assert len(looker.begun) == AT_ONCE + MOST_WAITING


async def test_a_look_that_fails_stops_no_other() -> None:
    class Failing(Looker):
        async def prompted(self, job_id: str) -> Sequence[Outgoing]:
            if job_id == "broken":
                raise IndexError("a mistake of ours")
            return await super().prompted(job_id)

    looker = Failing()
    looker.go_on.set()
    async with prompted(looker) as prompter:
        for _ in range(AT_ONCE):
            prompter.heard("broken")
            await asyncio.sleep(0)
        prompter.heard("a")
        assert await looker.ended.get() == "a"


async def test_a_broker_that_is_away_ends_nothing() -> None:
    looker, sent = Looker(), asyncio.Queue[str]()
    looker.go_on.set()
    async with prompted(looker, sent, away=AT_ONCE) as prompter:
        for number in range(AT_ONCE + 1):
            prompter.heard(f"job-{number}")
            await looker.ended.get()
        await sent.get()


@dataclass
class Driven:
    """A coordinator that says when it has looked at a job."""

    stages: Stages
    ended: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    def drives(self, job_id: str) -> bool:
        return self.stages.coordinator.drives(job_id)

    async def prompted(self, job_id: str) -> Sequence[Outgoing]:
        sent = await self.stages.coordinator.prompted(job_id)
        self.ended.put_nowait(job_id)
        return sent


@pytest.mark.service("postgresql")
@pytest.mark.parametrize(("items", "told"), [(1, True), (200, True), (201, False)])
async def test_little_work_is_recorded_without_any_hint(
    postgres_database: str, items: int, told: bool
) -> None:
    ready = asyncio.Event()
    with Database(postgres_database) as database:
        migrate.upgrade(database)
        migrate.create_missing(database, [stock])
        stages = Stages(database, Registry(operations))
        driven = Driven(stages)
        async with prompted(driven) as prompter:

            def hear(job_id: str | None) -> None:
                prompter.heard(job_id)
                ready.set()

            async with listening(postgres_database, {outcomes.CHANNEL: hear}):
                await ready.wait()
                options = JobOptions(chunk_size=items)
                lines = [{"name": "x"}] * items
                job_id = await stages.submit("stock.create", lines, options=options)
                await worked(stages, job_id)
                # What would be told of the one is heard before what is told of the other.
                last = await stages.submit("stock.create", [{"name": "x"}])
                await worked(stages, last)
                heard = {job_id, last} if told else {last}
                assert {await driven.ended.get() for _ in heard} == heard
        status = (await stages.job(job_id)).status
    assert status is (JobStatus.COMPLETED if told else JobStatus.RUNNING)


async def test_a_job_of_which_more_is_to_be_planned_is_looked_at_in_its_turn(
    stages: Stages,
) -> None:
    """Else what is planned now may be sent before what was planned before, and waits for it."""
    options = JobOptions(chunk_size=10)
    job_id = await stages.submit("stock.create", [{"name": "x"}] * 20, options=options)
    assert len((await stages.job(job_id)).open) == 2
    await worked(stages, job_id)
    (hint,) = await stages.coordinator.prompted(job_id)
    assert (await stages.job(job_id)).status is JobStatus.RUNNING, "nothing is recorded by it"
    await stages.deliver(hint)
    assert (await stages.job(job_id)).status is JobStatus.COMPLETED


async def test_nobody_is_prompted_about_a_job_that_another_drives(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", [{"name": "x"}])
    await worked(stages, job_id)
    other = Stages(stages.database, stages.registry, ids=stages.ids, clock=stages.clock)
    assert await other.coordinator.prompted(job_id) == []
    assert (await stages.job(job_id)).status is JobStatus.RUNNING


async def test_the_hint_of_a_job_that_rests_already_changes_and_sends_nothing(
    stages: Stages,
) -> None:
    job_id = await stages.submit("stock.create", [{"name": "x"}])
    (hint,) = await worked(stages, job_id)
    assert await stages.coordinator.look(job_id) == []
    job = await stages.job(job_id)
    assert job.status is JobStatus.COMPLETED

    await stages.deliver(hint)
    assert stages.bus == []
    assert (await stages.job(job_id)).version == job.version


async def test_a_hint_of_chunks_that_are_closed_asks_nothing_of_the_database(
    stages: Stages,
) -> None:
    """Else a job whose chunks end fast has ever more hints wait, and all commands behind them."""
    job_id = await stages.submit("stock.create", [{"name": "x"}] * 300)
    first, second = await worked(stages, job_id)
    await stages.deliver(second)
    job = await stages.job(job_id)
    assert (job.counts.succeeded, len(job.open)) == (200, 1), "one look takes all that is there"
    stages.database.close()
    assert await stages.coordinator.handle(decode_command(first.value)) == []


async def test_whoever_has_seen_it_at_rest_sees_what_another_has_begun_since(
    stages: Stages,
) -> None:
    job_id = await stages.submit("stock.create", [{"name": "x"}])
    await stages.run_dry()
    other = Stages(stages.database, stages.registry, ids=stages.ids, clock=stages.clock)
    await other.command(UndoJob, job_id)
    (hint,) = await worked(other, job_id)
    assert (await stages.job(job_id)).status is JobStatus.ROLLING_BACK

    await stages.deliver(hint)
    assert (await stages.job(job_id)).status is JobStatus.ROLLED_BACK


async def test_whoever_drove_a_draft_sees_what_another_has_done_with_it_since(
    stages: Stages,
) -> None:
    spec = JobSpec(operation="stock.create", options=JobOptions(start=Start.EAGER))
    draft = stages.ids.new()
    await stages.command(OpenJob, draft, spec=spec)
    await stages.command(AppendItems, draft, part=0, source=_things(2))
    await stages.run_dry()
    assert stages.coordinator.drives(draft), "it waits for more, and nothing of it is open"

    other = Stages(stages.database, stages.registry, ids=stages.ids, clock=stages.clock)
    await other.command(AppendItems, draft, part=1, source=_things(3))
    await other.command(SealJob, draft)
    (hint, *_) = await worked(other, draft)

    await stages.deliver(hint)
    await stages.run_dry()
    job = await stages.job(draft)
    assert (job.status, job.counts.succeeded) == (JobStatus.COMPLETED, 5)


def _things(count: int) -> InlineItems:
    return InlineItems(items=tuple({"name": "x"} for _ in range(count)))
