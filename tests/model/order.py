"""What must hold among jobs, and over time: read from the events of all jobs in their order.

A transaction is heard as a whole: what is confirmed by it must be true of all jobs at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from domain.commands import JobSpec
from domain.dependencies import SUITABLE
from domain.events import (
    KEEPING,
    Cause,
    ChunksPlanned,
    DependenciesMet,
    ItemsAppended,
    JobApproved,
    JobArchived,
    JobCancelling,
    JobEmptied,
    JobEvent,
    JobOpened,
    JobPaused,
    JobResumed,
    JobSealed,
    JobShredded,
    JobSkipped,
    JobStatus,
    JobSubmitted,
    RetryStarted,
    StepsSubmitted,
    UndoStarted,
)
from domain.outcomes import Counts
from domain.steps import behind
from tests.model.asked import Asked
from tests.model.loading import MAPPER
from tests.model.tables import Store

_GOING_ON = (JobStatus.PENDING, JobStatus.RUNNING)
_STOPPED = (JobStatus.CANCELLING, JobStatus.ROLLING_BACK)
_EXACT = 20
"""Up to so many items a batch hears of each that succeeds."""


@dataclass(slots=True)
class _Known:
    """A job as its events have told of it until now.

    ``worked`` is its last version but for how it is kept, ``taken_at`` that of the job whose
    results it takes. ``free``: it need wait for no other one. ``began`` is the begin of its
    present run.
    """

    job_id: str
    spec: JobSpec
    version: int = 0
    worked: int = 0
    status: JobStatus = JobStatus.DRAFT
    counts: Counts = field(default_factory=Counts)
    free: bool = False
    began: datetime | None = None
    planned: bool = False
    taken_at: int | None = None
    undoing: tuple[int, ...] = ()
    was: JobStatus | None = None
    shredded: bool = False

    @property
    def ended(self) -> JobStatus:
        """How it is, or had ended before it was put away."""
        return self.was or self.status

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
        self._asked = Asked(store)

    def check(self) -> None:
        """Take in what is new."""
        for commit in self._store.commits[self._heard :]:
            told = [(job_id, MAPPER.to_domain_event(stored)) for job_id, stored in commit]
            for job_id, event in told:
                self._hear(job_id, event)
                self._asked.hear(job_id, event)
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
        self._kept(job, event)
        job.version, job.status, job.counts = event.originator_version, event.status, event.counts
        if not isinstance(event, KEEPING):
            job.worked = job.version

    def _among_jobs(self, job: _Known, event: JobEvent) -> None:
        match event:
            case DependenciesMet():
                for after in job.spec.options.after:
                    ended = self._known[after.job_id].ended
                    assert ended in SUITABLE[after.end], f"it starts although one is {ended}"
                job.free = True
            case JobSkipped():
                self._skipped(job, event)
            case RetryStarted():
                job.free = True
            case ItemsAppended() if event.taken_at is not None:
                self._taken(job, event.taken_at)
            case JobSealed() if job.spec.options.consumed is not None:
                source = self._known[job.spec.options.consumed.job_id]
                assert source.worked == job.taken_at, "its items are results of the past"
                assert job.counts.total == source.counts.succeeded, "results were lost"
            case JobSubmitted() | JobApproved() if job.spec.options.plan is not None:
                self._planned(job)

    def _taken(self, job: _Known, taken_at: int) -> None:
        """A part of the results of another job, which must be the same for all parts."""
        assert job.spec.options.consumed is not None
        source = self._known[job.spec.options.consumed.job_id]
        assert source.version == taken_at, "its items are not those of that moment"
        assert job.taken_at in (None, source.worked), "results of two versions"
        job.taken_at = source.worked

    def _kept(self, job: _Known, event: JobEvent) -> None:
        """What is shredded can be read nowhere, and what is put away is in a file."""
        match event:
            case JobArchived():
                job.was = event.was
            case JobShredded():
                job.shredded = True
            case JobEmptied():
                file = self._store.files[event.file.name]
                assert not (job.shredded and file.clear), "a file has what was shredded"

    def _skipped(self, job: _Known, event: JobSkipped) -> None:
        (after,) = [a for a in job.spec.options.after if a.job_id == event.needs]
        ended = self._known[event.needs].ended
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
        statuses = {job.ended for job in jobs}
        if batch.status is JobStatus.COMPLETED:
            assert statuses == {JobStatus.COMPLETED}
        if batch.status is JobStatus.ROLLED_BACK:
            assert not batch.counts.succeeded, "something of it stands"
