"""Snapshots are a shortcut: without them a job goes on all the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eventsourcing.persistence import StoredEvent

from domain.commands import PauseJob, ResumeJob
from domain.errors import StoreUnavailable
from domain.jobs import Jobs
from domain.registry import Registry
from streams.coordinator import SNAPSHOT_EVERY
from streams.stores import migrate
from streams.stores.database import Database
from streams.stores.events import SnapshotRecorder
from tests.databases import sqlite_database
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock

__all__ = ["sqlite_database"]


class FullDisk(SnapshotRecorder):
    """There was room for the events, and is none for a snapshot."""

    tries = 0

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int]:
        assert stored_events
        assert kwargs
        self.tries += 1
        raise StoreUnavailable("the disk is full")


async def test_what_was_decided_is_sent_when_there_is_no_room_for_a_snapshot(
    sqlite_database: Database,
) -> None:
    migrate.create_missing(sqlite_database, [stock])
    stages = Stages(sqlite_database, Registry(operations))
    full = FullDisk(sqlite_database)
    stages.jobs = Jobs(stages.recorder, full)
    stages.restart()
    job_id = await stages.submit("stock.create", [{"name": "x"}] * 300)
    while (await stages.job(job_id)).version <= SNAPSHOT_EVERY + 4:
        await stages.command(PauseJob, job_id)
        stages.bus.clear()
        await stages.command(ResumeJob, job_id)
        assert stages.bus, "the chunks that were planned"
    assert full.tries == 1
    await stages.run_dry()
    assert (await stages.job(job_id)).counts.succeeded == 300
