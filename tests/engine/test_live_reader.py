"""Who follows a job here sees what another process stores, without waiting for the topic."""

from __future__ import annotations

import asyncio

from domain.registry import Registry
from streams.live import LiveHub
from streams.live_reader import LiveReader
from streams.relay import LiveRelay
from streams.stores import migrate
from streams.stores.database import Database
from streams.stores.event_order import Announced
from tests.databases import sqlite_database
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock

__all__ = ["sqlite_database"]


async def test_stored_events_are_shown_at_once_and_each_once(sqlite_database: Database) -> None:
    migrate.create_missing(sqlite_database, [stock])
    stages = Stages(sqlite_database, Registry(operations))
    hub = LiveHub()
    relay = LiveRelay(hub)
    reader = LiveReader(
        database=sqlite_database,
        recorder=stages.recorder,
        mapper=stages.jobs.job_mapper,
        hub=hub,
        relay=relay,
    )
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
