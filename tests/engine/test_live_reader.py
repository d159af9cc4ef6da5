"""Who follows a job here sees what another process stores, without waiting for the topic."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from eventsourcing.persistence import StoredEvent
from sqlalchemy import update

from domain.errors import JobNotFound
from domain.registry import Registry
from streams.live import LiveEvent, LiveHub
from streams.live_reader import LiveReader
from streams.loops import background
from streams.queries import Queries
from streams.relay import LiveRelay
from streams.stores import migrate
from streams.stores.database import Database
from streams.stores.event_order import Announced
from streams.stores.listening import hear
from streams.stores.schema import events as table
from tests.databases import damage, sqlite_database
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock

__all__ = ["sqlite_database"]


def following(database: Database) -> tuple[Stages, LiveHub, LiveReader]:
    """A reader in a process that takes no part in the work."""
    migrate.create_missing(database, [stock])
    stages = Stages(database, Registry(operations))
    hub = LiveHub()
    reader = LiveReader(
        database=database,
        recorder=stages.recorder,
        mapper=stages.jobs.job_mapper,
        hub=hub,
        relay=LiveRelay(hub),
    )
    return stages, hub, reader


async def test_whoever_has_read_the_log_so_far_is_brought_all_that_was_stored_together(
    sqlite_database: Database,
) -> None:
    """Without the one before the last, a reader would ask the log for it, and for the last."""
    stages, hub, reader = following(sqlite_database)
    job_id = await stages.submit("stock.create", [{"name": "x"}])
    read = (await stages.job(job_id)).version
    await stages.run_dry()
    job = await stages.job(job_id)
    assert (job.status.terminal, job.version - read) == (True, 2)
    async with background([reader.run()]):
        with hub.subscribe(job_id) as live:
            reader.heard(Announced(9, job_id, job.version).payload())
            brought = [await live.next(5) for _ in range(job.version)]
    versions = [event.version for event in brought if event is not None]
    assert versions == list(range(1, job.version + 1))


async def test_stored_events_are_shown_at_once_and_each_once(sqlite_database: Database) -> None:
    stages, hub, reader = following(sqlite_database)
    job_id = await stages.submit("stock.create", [{"name": "x"}])
    await stages.run_dry()
    version = (await stages.job(job_id)).version
    assert version > 2
    running = asyncio.ensure_future(reader.run())
    try:
        with hub.subscribe(job_id) as live:
            reader.heard(None)
            reader.heard(Announced(9, "another", 1).payload())
            reader.heard(Announced(1, job_id, 1).payload())
            first = await live.next(5)
            reader.heard(Announced(version, job_id, version).payload())
            others = [await live.next(5) for _ in range(version - 1)]
            assert await live.next(0.05) is None
    finally:
        running.cancel()
    seen = [event.version for event in (first, *others) if event is not None]
    assert seen == list(range(1, version + 1))


async def stored(stages: Stages, job_id: str, after: int) -> tuple[StoredEvent, ...]:
    return tuple(stages.recorder.select_events(job_id, gt=after))


def versions(brought: Sequence[LiveEvent | None]) -> list[int | None]:
    return [None if event is None else event.version for event in brought]


async def test_what_is_told_of_the_end_of_a_job_is_shown_and_not_read(
    sqlite_database: Database,
) -> None:
    """Nobody runs who would read."""
    stages, hub, reader = following(sqlite_database)
    job_id = await stages.submit("stock.create", [{"name": "x"}])
    read = (await stages.job(job_id)).version
    await stages.run_dry()
    told = await stored(stages, job_id, read)
    with hub.subscribe(job_id) as live:
        reader.heard(Announced.of(9, told).payload())
        assert versions([await live.next(5) for _ in told]) == [read + 1, read + 2]
        reader.heard(Announced.of(9, told).payload())
        assert await live.next(0.05) is None, "once"


async def test_what_is_told_goes_on_from_what_was_shown(sqlite_database: Database) -> None:
    stages, hub, reader = following(sqlite_database)
    job_id = await stages.submit("stock.create", [{"name": "x"}])
    await stages.run_dry()
    events = await stored(stages, job_id, 0)
    with hub.subscribe(job_id) as live:
        async with background([reader.run()]):
            reader.heard(Announced(1, job_id, 1).payload())
            assert versions([await live.next(5)]) == [1]
        for event in events[1:]:
            reader.heard(Announced.of(9, [event]).payload())
        brought = [await live.next(5) for _ in events[1:]]
    assert versions(brought) == [event.originator_version for event in events[1:]]


@pytest.mark.parametrize("fault", ["a gap", "unknown and not at rest", "damaged", "newer"])
async def test_what_cannot_be_shown_as_it_is_told_is_read(
    sqlite_database: Database, fault: str
) -> None:
    stages, hub, reader = following(sqlite_database)
    job_id = await stages.submit("stock.create", [{"name": "x"}])
    await stages.run_dry()
    events = await stored(stages, job_id, 0)
    told = {
        "a gap": events[-1:],
        "unknown and not at rest": events[1:2],
        "damaged": (replace(events[-1], state=b"{}"),),
        "newer": (replace(events[-1], state=b'{"schema": 99}'),),
    }[fault]
    with hub.subscribe(job_id) as live:
        async with background([reader.run()]):
            if fault == "a gap":
                reader.heard(Announced(1, job_id, 1).payload())
                assert versions([await live.next(5)]) == [1]
            reader.heard(Announced.of(9, told).payload())
            end = told[-1].originator_version
            first = 2 if fault == "a gap" else 1
            brought = [await live.next(5) for _ in range(first, end + 1)]
    assert versions(brought) == list(range(first, end + 1))


@pytest.mark.parametrize(
    "payload",
    ["", "7", "7 job", "x job 1", "7 job 1 more", "7 job 1\nx", "7 job 0", "7 job 99999999999"],
)
async def test_a_notification_that_nobody_understands_ends_nothing(
    sqlite_database: Database, payload: str
) -> None:
    stages, hub, reader = following(sqlite_database)
    job_id = await stages.submit("stock.create", [{"name": "x"}])
    with hub.subscribe(job_id) as live:
        async with background([reader.run()]):
            hear(reader.heard, payload)
            reader.heard(Announced(1, job_id, 1).payload())
            assert versions([await live.next(5)]) == [1]


@pytest.mark.parametrize("state", [b"{}", b'{"schema": 99}'], ids=["damaged", "newer"])
async def test_a_stored_event_that_cannot_be_read_ends_nothing(
    sqlite_database: Database, state: bytes
) -> None:
    """The job is shown as far as it can be read, and the others as ever."""
    stages, hub, reader = following(sqlite_database)
    sick = await stages.submit("stock.create", [{"name": "x"}])
    well = await stages.submit("stock.create", [{"name": "x"}])
    await stages.run_dry()
    its_own = (table.c.job_id == sick) & (table.c.version == 2)
    damage(sqlite_database, update(table).where(its_own).values(state=state))
    with hub.subscribe(sick) as seen, hub.subscribe(well) as live:
        async with background([reader.run()]):
            reader.heard(Announced(9, sick, 3).payload())
            assert versions([await seen.next(5)]) == [1]
            assert await seen.next(0.05) is None, "what follows says too little without it"
            reader.heard(Announced(9, well, 1).payload())
            assert versions([await live.next(5)]) == [1]


@dataclass
class Answering:
    """A process that answers commands: it follows what others store, and reads."""

    stages: Stages
    hub: LiveHub
    reader: LiveReader
    queries: Queries

    @classmethod
    def over(cls, database: Database) -> Answering:
        stages, hub, reader = following(database)
        queries = Queries(database, stages.jobs, stages.registry, hub.beginnings)
        return cls(stages, hub, reader, queries)

    async def submit(self) -> str:
        job_id = await self.stages.submit("stock.create", [{"name": "x"}])
        assert await self.queries.just_decided("local", job_id) == await self.stages.job(job_id)
        return job_id


async def test_a_job_that_was_just_decided_is_followed_from_what_was_read_for_the_answer(
    sqlite_database: Database,
) -> None:
    answering = Answering.over(sqlite_database)
    answering.reader.heard(None)
    job_id = await answering.submit()
    version = (await answering.stages.job(job_id)).version
    begun = answering.hub.beginning("local", job_id)
    assert [event.originator_version for event in begun] == list(range(1, version + 1))
    answering.reader.heard(Announced(9, "another", 1).payload())
    answering.reader.heard(Announced(9, job_id, version).payload())
    assert answering.hub.beginning("local", job_id)
    answering.reader.heard(Announced(9, job_id, version + 1).payload())
    assert not answering.hub.beginning("local", job_id), "there is more"


async def test_who_does_not_hear_of_what_is_stored_keeps_no_beginning(
    sqlite_database: Database,
) -> None:
    answering = Answering.over(sqlite_database)
    assert not answering.hub.beginning("local", await answering.submit()), "not connected yet"
    answering.reader.heard(None)
    job_id = await answering.submit()
    answering.reader.lost()
    assert not answering.hub.beginning("local", job_id)
    assert not answering.hub.beginning("local", await answering.submit())


@pytest.mark.parametrize("payload", [None, "of a later release"])
async def test_who_may_have_missed_something_keeps_no_beginning(
    sqlite_database: Database, payload: str | None
) -> None:
    answering = Answering.over(sqlite_database)
    answering.reader.heard(None)
    job_id = await answering.submit()
    if payload is None:
        answering.reader.heard(None)
    else:
        hear(answering.reader.heard, payload)
    assert not answering.hub.beginning("local", job_id)
    assert answering.hub.beginning("local", await answering.submit())


async def test_what_the_topic_says_first_ends_a_beginning(sqlite_database: Database) -> None:
    answering = Answering.over(sqlite_database)
    answering.reader.heard(None)
    job_id = await answering.submit()
    read = len(answering.hub.beginning("local", job_id))
    await answering.stages.run_dry()
    event = answering.stages.jobs.load_with_events(job_id, 100)[1][read]
    await LiveRelay(answering.hub).event(event)
    assert not answering.hub.beginning("local", job_id)


async def test_the_job_of_another_tenant_is_unknown_after_a_decision_as_well(
    sqlite_database: Database,
) -> None:
    answering = Answering.over(sqlite_database)
    answering.reader.heard(None)
    job_id = await answering.stages.submit("stock.create", [{"name": "x"}])
    with pytest.raises(JobNotFound, match=job_id):
        await answering.queries.just_decided("another", job_id)
    assert not answering.hub.beginning("another", job_id)
