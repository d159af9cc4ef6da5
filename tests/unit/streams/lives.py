"""The events of a job that nobody disturbs."""

from __future__ import annotations

from datetime import UTC, datetime

from domain.commands import JobSpec
from domain.events import JobEvent
from domain.job import Job, Stamp
from domain.outcomes import ClosedChunk

STAMP = Stamp("tester", "c", datetime(2026, 1, 1, tzinfo=UTC))


def whole_life(items: int, job_id: str = "job") -> list[JobEvent]:
    """From its submit to its end, in chunks of slow work: one planned, one closed, in turn."""
    job = Job(id=job_id)
    job.submit(STAMP, "local", JobSpec(operation="a.b"), items=items, size=1, sha256="")
    while job.wants_chunks():
        for chunk in job.plan(STAMP, room=1, slow=True):
            job.record(STAMP, [ClosedChunk(chunk=chunk.chunk, succeeded=len(chunk.items))])
    return list(job.collect_events())
