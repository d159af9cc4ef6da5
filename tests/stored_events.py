"""Stored events and jobs for tests of the stores, with no more in them than they need."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import orjson
from eventsourcing.persistence import StoredEvent

from domain.commands import JobSpec
from domain.job import Job, Stamp
from domain.outcomes import ClosedChunk
from streams.stores.database import Database
from streams.stores.events import EventRecorder

BEGIN = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)


def stored_event(job_id: str, version: int, *, topic: str = "job.sealed") -> StoredEvent:
    """An event that only the recorder is to understand."""
    state = {"tenant": "local", "actor": "ann", "command_id": f"{job_id}/{version}"}
    return StoredEvent(job_id, version, topic, orjson.dumps(state))


def append(database: Database, *stored: StoredEvent) -> Sequence[int]:
    """Store events in a transaction of their own."""
    recorder = EventRecorder(database)
    return database.write_now(
        lambda connection: recorder.insert_events(stored, connection=connection)
    )


def stamp(command_id: str = "command", *, seconds: float = 0.0, actor: str = "ann") -> Stamp:
    """Who, by which command, and how long after the begin."""
    return Stamp(actor=actor, command_id=command_id, at=BEGIN + timedelta(seconds=seconds))


def submitted(job_id: str, *, items: int = 1000, **spec: object) -> Job:
    """A job with its first event not stored yet."""
    job = Job(id=job_id)
    wanted = JobSpec.model_validate({"operation": "test.touch", **spec})
    job.submit(stamp("submit"), "local", wanted, items=items, size=items * 50, sha256="0" * 64)
    return job


def work(job: Job, *, seconds: float = 1.0, wrong: int = 0) -> bool:
    """Plan one chunk and close it, with ``wrong`` items failed; whether there was one."""
    chunks = job.plan(stamp("plan", seconds=seconds), room=1, slow=False)
    closed = [
        ClosedChunk(
            chunk=chunk.chunk,
            succeeded=len(chunk.items) - min(wrong, len(chunk.items)),
            failed=min(wrong, len(chunk.items)),
            duration_ms=10.0,
            sha256="f" * 64,
        )
        for chunk in chunks
    ]
    job.record(stamp("record", seconds=seconds), closed)
    return bool(chunks)
