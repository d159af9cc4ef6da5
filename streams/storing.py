"""Storing: what a coordinator has decided on a job, within its transaction.

Events, control row and chunk rows; the job's timer, whom it waits for, whether its batch must
hear of it, and whether it awaits its archive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from eventsourcing.persistence import Recording
from sqlalchemy import Connection

from domain.events import JobStatus, PlannedChunk
from domain.job import Job
from domain.jobs import Jobs
from domain.options import After
from domain.outcomes import Counts
from domain.ports import Clock
from streams.failpoints import Failpoint, Failpoints
from streams.stores import archives
from streams.stores import chunks as chunk_store
from streams.stores.children import say_moved
from streams.stores.chunks import NO_REST, Control, Rest
from streams.stores.waits import keep_waits
from streams.waking import keep_timer

TWENTIETHS = 20
"""A batch hears of a child at each change of its status, and so often while it goes on."""


Stands = tuple[JobStatus, Counts | tuple[int, int]]
"""What a batch is told of a job: exactly, once it is at rest."""


@dataclass(frozen=True, slots=True)
class Before:
    """What the rows say of a job before anything is decided on it."""

    version: int
    due: datetime | None
    awaited: tuple[After, ...]
    stands: Stands

    @classmethod
    def of(cls, job: Job) -> Before:
        """Of a job as it is stored."""
        return cls(job.version, job.wakes_at, job.awaited, _stands(job))


def has_moved(job: Job, before: Before) -> bool:
    """Whether the batch of a job must hear how it is now."""
    return job.spec.parent is not None and _stands(job) != before.stands


def _stands(job: Job) -> Stands:
    counts, total = job.counts, max(job.counts.total, 1)
    if job.status.terminal:
        # What is retried and stopped again in one transaction has moved as well.
        return job.status, counts
    pending, succeeded = counts.pending * TWENTIETHS, counts.succeeded * TWENTIETHS
    return job.ended or job.status, (pending // total, succeeded // total)


class Storing:
    """Stores jobs with all that follows from what was decided on them."""

    def __init__(
        self, jobs: Jobs, clock: Clock, failpoints: Failpoints, *, claim_by: float
    ) -> None:
        self._jobs = jobs
        self._clock = clock
        self._failpoints = failpoints
        self._claim_by = claim_by

    def store(
        self,
        connection: Connection,
        job: Job,
        before: Before,
        planned: Sequence[PlannedChunk] = (),
    ) -> list[Recording[str]]:
        """Store what has happened to a job since; returns its new events."""
        if before.version and has_moved(job, before):
            # Its batch takes this row before it appends as well.
            say_moved(connection, job.id)
        self._failpoints.reach(Failpoint.BEFORE_APPEND)
        recordings = self._jobs.save(job, connection=connection)
        self._failpoints.reach(Failpoint.AFTER_APPEND)
        if recordings:
            self._control(connection, job, before, planned)
        keep_timer(connection, job, before.due)
        keep_waits(connection, job.id, job.awaited, before.awaited)
        return recordings

    def _control(
        self, connection: Connection, job: Job, before: Before, planned: Sequence[PlannedChunk]
    ) -> None:
        control, rest = _control_of(job), _rest_of(job)
        if before.version == 0:
            chunk_store.insert_control(connection, control, open_=not job.resting, rest=rest)
        else:
            chunk_store.update_control(
                connection,
                job.id,
                epoch=job.epoch,
                version=job.version,
                open_=not job.resting,
                rest=rest,
            )
        if job.archived is not None:
            archives.keep(connection, job)
        if planned:
            chunk_store.dispatch(
                connection,
                control,
                planned,
                generation=job.generation,
                claim_by=self._clock.now().timestamp() + self._claim_by,
            )
            self._failpoints.reach(Failpoint.AFTER_CHUNK_ROWS)


def _rest_of(job: Job) -> Rest:
    if job.ended is None:
        return NO_REST
    shred_from, archive_from = job.shreddable_since, job.archivable_since
    return Rest(
        ended=job.ended.value,
        shred_from=None if shred_from is None else shred_from.timestamp(),
        archive_from=None if archive_from is None else archive_from.timestamp(),
    )


def _control_of(job: Job) -> Control:
    return Control(
        job_id=job.id,
        tenant=job.tenant,
        actor=job.created_by,
        operation=job.spec.operation,
        params=job.spec.params,
        epoch=job.epoch,
        version=job.version,
        dry_run=job.options.dry_run,
        plan=job.options.plan.job_id if job.options.plan else None,
        atomic=job.options.atomic,
        item_timeout=job.options.item_timeout,
    )
