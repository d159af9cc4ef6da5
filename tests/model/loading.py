"""A job as its tables tell it."""

from __future__ import annotations

from functools import lru_cache

from eventsourcing.persistence import StoredEvent

from domain.events import JobEvent, JobSnapshot
from domain.job import Job
from domain.jobs import JobMapper
from tests.model.tables import JobTables

MAPPER = JobMapper()


def load(tables: JobTables) -> Job:
    """The job from its snapshot, if there is one, and the tail; a new one without events."""
    tail = tables.events
    first: list[StoredEvent] = []
    if tables.snapshot is not None:
        first = [tables.snapshot]
        tail = tables.events[tables.snapshot.originator_version :]
    told = [_told(stored) for stored in (*first, *tail)]
    return Job.project(None, told) or Job(id=tables.job_id)


@lru_cache(maxsize=2048)
def _told(stored: StoredEvent) -> JobEvent | JobSnapshot:
    """Jobs are loaded after each step: what is stored is read once, and nothing changes it."""
    return MAPPER.to_domain_event(stored)
