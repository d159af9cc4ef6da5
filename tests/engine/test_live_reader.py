"""Who follows a job here sees what another process stores, without waiting for the topic."""

from __future__ import annotations

import asyncio

from domain.registry import Registry
from streams.live import LiveHub
from streams.live_reader import LiveReader
from streams.loops import background
from streams.relay import LiveRelay
from streams.stores import migrate
from streams.stores.database import Database
from streams.stores.event_order import Announced
from tests.databases import sqlite_database
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
