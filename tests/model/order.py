"""What must hold among jobs, and over time: read from the events of all jobs in their order.

A transaction is heard as a whole: what is confirmed by it must be true of all jobs at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from domain.commands import JobSpec
from domain.dependencies import SUITABLE
from domain.events import (
    Cause,
    ChunksPlanned,
    DependenciesMet,
    ItemsAppended,
    JobApproved,
    JobCancelling,
    JobEvent,
    JobOpened,
    JobPaused,
    JobResumed,
    JobSealed,
    JobSkipped,
    JobStatus,
    JobSubmitted,
    RetryStarted,
    StepsSubmitted,
    UndoStarted,
)
from domain.outcomes import Counts
from domain.steps import behind
from tests.model.loading import MAPPER
from tests.model.tables import Store

_GOING_ON = (JobStatus.PENDING, JobStatus.RUNNING)
_STOPPED = (JobStatus.CANCELLING, JobStatus.ROLLING_BACK)
_EXACT = 20
"""Up to so many items a batch hears of each that succeeds."""


@dataclass(slots=True)
class _Known:
    """A job as its events have told of it until now.

    ``free``: it need wait for no other one. ``began`` is the begin of its present run.
    """

    job_id: str
    spec: JobSpec
    version: int = 0
    status: JobStatus = JobStatus.DRAFT
    counts: Counts = field(default_factory=Counts)
    free: bool = False
    began: datetime | None = None
    planned: bool = False
    taken_at: int | None = None
    undoing: tuple[int, ...] = ()

    @property
    def stands(self) -> bool:
        """Whether an undo of the jobs before it must wait for this one."""
        return bool(self.counts.succeeded) or self.status is JobStatus.ROLLING_BACK


class Order:
    """Hears each transaction once, after the step that has made it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._heard = 0
        self._known: dict[str, _Known] = {}

    def check(self) -> None:
        """Take in what is new."""
        for commit in self._store.commits[self._heard :]:
            told = [(job_id, MAPPER.to_domain_event(stored)) for job_id, stored in commit]
            for job_id, event in told:
                self._hear(job_id, event)
            for job_id, event in told:
                self._confirmed(self._known[job_id], event)
        self._heard = len(self._store.commits)
        for job in self._known.values():
            self._at_rest(job)

    # -- event by event -------------------------------------------------------------------

    def _hear(self, job_id: str, event: JobEvent) -> None:
        match event:
            case JobSubmitted() | JobOpened() | StepsSubmitted():
                self._known[job_id] = _Known(job_id, event.spec)
        job = self._known[job_id]
        self._among_jobs(job, event)
        self._over_time(job, event)
        job.version, job.status, job.counts = event.originator_version, event.status, event.counts

    def _among_jobs(self, job: _Known, event: JobEvent) -> None:
        match event:
            case DependenciesMet():
                for after in job.spec.options.after:
                    ended = self._known[after.job_id].status
                    assert ended in SUITABLE[after.end], f"it starts although one is {ended}"
                job.free = True
            case JobSkipped():
                self._skipped(job, event)
            case RetryStarted():
                job.free = True
            case ItemsAppended() if event.taken_at is not None:
                assert job.taken_at in (None, event.taken_at), "results of two versions"
                job.taken_at = event.taken_at
            case JobSealed() if job.spec.options.consumed is not None:
                source = self._known[job.spec.options.consumed.job_id]
                assert source.version == job.taken_at, "its items are results of the past"
                assert job.counts.total == source.counts.succeeded, "results were lost"
            case JobSubmitted() | JobApproved() if job.spec.options.plan is not None:
                self._planned(job)

    def _skipped(self, job: _Known, event: JobSkipped) -> None:
        (after,) = [a for a in job.spec.options.after if a.job_id == event.needs]
        ended = self._known[event.needs].status
        assert (ended, event.ended.terminal) == (event.ended, True)
        assert ended not in SUITABLE[after.end] or after.consume, "skipped in vain"
        assert f"job {event.needs}" in event.reason, "it does not say because of whom"
        assert not job.planned, "it was skipped after it had begun"
        assert event.counts.skipped == event.counts.total, "a skipped job has done something"

    def _planned(self, job: _Known) -> None:
        """What was planned is as the dry run has seen it."""
        plan = job.spec.options.plan
        assert plan is not None
        dry, tables = self._store.jobs[plan.job_id], self._store.jobs[job.job_id]
        # What has begun within the same step has changed its records itself.
        worked = {n for row in tables.outcomes.values() for n in row.ledger}
        left = {n: seen for n, seen in dry.seen.items() if n not in worked}
        stale = [n for n, seen in left.items() if tables.records[n].version != seen]
        assert not stale, f"items {stale} have changed since the dry run"

    def _over_time(self, job: _Known, event: JobEvent) -> None:
        match event:
            case ChunksPlanned() if not event.chunks[0].cause.undoing:
                waits = bool(job.spec.options.after) and not job.free
                assert not waits, "it begins before the others have ended"
                assert not self._is_late(job, event.at), "it goes on past its timeout"
                job.planned, job.began = True, job.began or event.at
            case JobResumed() if job.began is not None:
                job.began = event.at
            case RetryStarted():
                job.began = event.at

    def _is_late(self, job: _Known, at: datetime) -> bool:
        timeout = job.spec.options.timeout
        if timeout is None or job.began is None:
            return False
        return (at - job.began).total_seconds() >= timeout

    # -- transaction by transaction -------------------------------------------------------

    def _confirmed(self, job: _Known, event: JobEvent) -> None:
        if job.status is JobStatus.RUNNING and not job.spec.steps:
            assert not self._is_late(job, event.at), "it runs on past its timeout"
        if job.spec.steps:
            self._of_all(job, event)
        elif isinstance(event, UndoStarted) and job.spec.parent is not None:
            self._undone(self._known[job.spec.parent], job, event)

    def _of_all(self, batch: _Known, event: JobEvent) -> None:
        """What is confirmed of a batch is true of all its jobs."""
        statuses = {job.status for job in self._jobs_of(batch)}
        match event:
            case JobPaused():
                assert not statuses & set(_GOING_ON), f"the batch is paused, and has {statuses}"
            case JobCancelling():
                left = {s for s in statuses if not s.terminal and s not in _STOPPED}
                assert not left, f"the batch is cancelled, and has {left}"
            case UndoStarted():
                batch.undoing = event.steps

    def _undone(self, batch: _Known, job: _Known, event: UndoStarted) -> None:
        """A batch undoes what was named, against the order, and does nothing again."""
        if not event.command_id.startswith(f"{batch.job_id}.undo."):
            return
        jobs = self._jobs_of(batch)
        number = jobs.index(job)
        assert number in batch.undoing, "a step is undone that was not named"
        assert event.direction is Cause.ROLLBACK, "the undo of a batch does a step again"
        for other in behind(batch.spec.steps, [number]):
            if jobs[other].counts.total <= _EXACT:
                assert not jobs[other].stands, "a step is undone before what comes after it"

    def _jobs_of(self, batch: _Known) -> list[_Known]:
        many = range(len(batch.spec.steps))
        return [self._known[f"{batch.job_id}-{number + 1}"] for number in many]

    def _at_rest(self, batch: _Known) -> None:
        """A batch that has heard all is what its jobs are."""
        moved = any(t.moved for t in self._store.jobs.values() if t.parent == batch.job_id)
        if not batch.spec.steps or moved:
            return
        jobs = self._jobs_of(batch)
        if batch.status.terminal:
            assert all(job.status.terminal for job in jobs), "it has ended before its jobs"
            for name, said in batch.counts:
                assert said == sum(getattr(job.counts, name) for job in jobs), name
        statuses = {job.status for job in jobs}
        if batch.status is JobStatus.COMPLETED:
            assert statuses == {JobStatus.COMPLETED}
        if batch.status is JobStatus.ROLLED_BACK:
            assert not batch.counts.succeeded, "something of it stands"
