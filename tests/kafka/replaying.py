"""Replaying: messages of the events topic into jobs by our own code, and the jobs as stored."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import text

from domain.job import Job
from domain.jobs import Jobs
from streams.envelope import decode_event
from streams.stores.database import Database
from streams.stores.events import EventRecorder, SnapshotRecorder
from tests.kafka.clients import Message
from tests.kafka.retelling import FORGED


def stored_jobs(database_url: str) -> dict[str, Job]:
    """Every job of the event store but those lied about, by id, as its events say."""
    with Database(database_url) as database:
        jobs = Jobs(EventRecorder(database), SnapshotRecorder(database))
        ids = database.read_now(
            lambda connection: connection.scalars(text("SELECT DISTINCT job_id FROM events")).all()
        )
        return {job_id: jobs.load(job_id) for job_id in ids if not job_id.startswith(FORGED)}


def replayed(messages: Iterable[Message]) -> dict[str, Job]:
    """The jobs that messages tell of, by id, in full; an event that comes again is passed over."""
    jobs: dict[str, Job] = {}
    for message in messages:
        event = decode_event(message.value)
        assert event is not None
        job = jobs.setdefault(event.originator_id, Job(id=event.originator_id))
        if event.originator_version > job.version:
            job.apply(event)
    return jobs
