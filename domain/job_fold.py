"""How events change the state of a job. No decision is taken here.

:class:`~domain.job.Job` decides; replay needs only what is here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Self

from domain import planning
from domain.caps import Bucket
from domain.events import (
    AttemptsDue,
    Cause,
    Child,
    ChildrenMoved,
    ChunksClosed,
    ChunksPlanned,
    DependenciesMet,
    ItemsAppended,
    ItemsEdited,
    JobAdjusted,
    JobApproved,
    JobArchived,
    JobCancelled,
    JobCancelling,
    JobDeadlinePassed,
    JobEmptied,
    JobEvent,
    JobHeld,
    JobOpened,
    JobPaused,
    JobPrepared,
    JobRejected,
    JobReleased,
    JobResumed,
    JobSealed,
    JobShredded,
    JobSkipped,
    JobSnapshot,
    JobStartDue,
    JobStatus,
    JobStopped,
    JobSubmitted,
    PlannedChunk,
    RepeatsSkipped,
    RetryStarted,
    StepsSubmitted,
    UndoStarted,
)
from domain.job_state import Archived, Backlog, Effect, JobState, OpenChunk, Word
from domain.outcomes import ClosedChunk, Closing, Counts, Deferred
from domain.ranges import Ranges
from domain.settling import said
from domain.steps import child_id
from domain.tolerance import Tally

Turn = (
    JobApproved
    | JobRejected
    | JobPaused
    | JobStopped
    | JobResumed
    | JobCancelling
    | JobCancelled
    | JobSkipped
    | RetryStarted
    | UndoStarted
)
"""What changes the course of a job."""


_ROLLING_BACK = JobStatus.ROLLING_BACK


_BEFORE_AGREED = (JobStatus.DRAFT, JobStatus.AWAITING_APPROVAL)


class JobFold(JobState):
    """A job's state as its events make it, one by one."""

    @classmethod
    def project(cls, job: Self | None, events: Iterable[JobEvent | JobSnapshot]) -> Self | None:
        """Fold events (after at most one snapshot) into a job."""
        for event in events:
            if isinstance(event, JobSnapshot):
                job = cls.model_validate(event.state)
                continue
            if job is None:
                job = cls(id=event.originator_id)
            job.apply(event)
        return job

    def apply(self, event: JobEvent) -> None:
        """Fold one event into the state."""
        self.version = event.originator_version
        if event.status.terminal and self.status in _BEFORE_AGREED:
            self.never_agreed = True
        self.status = event.status
        self.counts = event.counts
        self.started_at = event.started_at
        self.updated_at = event.at
        # What comes after its end does not end it again.
        self.finished_at = (self.finished_at or event.at) if event.status.terminal else None
        if event.run is not None and (event.run != self.run or isinstance(event, UndoStarted)):
            self.meter.begin(event.run.at, event.run.settled)
            if not isinstance(event, JobAdjusted):
                self.running_since = event.run.at
        self._fold(event)

    def _fold(self, event: JobEvent) -> None:
        match event:
            case JobSubmitted() | JobOpened() | StepsSubmitted():
                self._created(event)
            case ItemsAppended() | RepeatsSkipped() | ItemsEdited():
                self._given(event)
            case JobSealed():
                self.sealed = True
                self.measured = event.measured
                self._written_by(event.actor, event.approval)
            case DependenciesMet() | JobSkipped() | ChildrenMoved():
                self._followed(event)
            case ChunksPlanned():
                self._planned(event)
            case ChunksClosed():
                self._chunks_closed(event)
            case AttemptsDue() | JobPrepared():
                self._more_waits(event)
            case JobAdjusted() | JobStartDue() | JobDeadlinePassed():
                self._timed(event)
            case (
                JobApproved()
                | JobRejected()
                | JobPaused()
                | JobStopped()
                | JobResumed()
                | JobCancelling()
                | JobCancelled()
                | RetryStarted()
                | UndoStarted()
            ):
                self._turned(event)
            case _:
                self._keeping(event)

    def _keeping(self, event: JobEvent) -> None:
        match event:
            case JobHeld():
                self.held = Word(by=event.actor, at=event.at, reason=event.reason)
            case JobReleased():
                self.held = None
            case JobShredded():
                self.shredded = Word(by=event.actor, at=event.at, reason=event.reason)
            case JobArchived():
                who, at, why = event.actor, event.at, event.reason
                self.archived = Archived(by=who, at=at, reason=why, was=event.was)
            case JobEmptied() if self.archived is not None:
                self.archived = self.archived.model_copy(update={"file": event.file})

    def _given(self, event: ItemsAppended | RepeatsSkipped | ItemsEdited) -> None:
        """More items are there, or some of them are not to be worked."""
        if isinstance(event, ItemsAppended):
            self._appended(event)
        else:
            self._skipped(event)

    def _followed(self, event: DependenciesMet | JobSkipped | ChildrenMoved) -> None:
        match event:
            case DependenciesMet():
                self.free = True
            case JobSkipped():
                self._turned(event)
                self.skipped = event.reason
            case ChildrenMoved():
                for child in event.children:
                    self.children[child.step] = child
                going = {n for n, c in enumerate(self.children) if c.status is _ROLLING_BACK}
                self.undoing = [number for number in self.undoing if number not in going]

    def _turned(self, event: Turn) -> None:
        """The job changes its course, for a reason."""
        self.reason = event.reason
        match event:
            case JobPaused() | JobStopped() | JobCancelled() | UndoStarted():
                self.epoch = event.epoch
        match event:
            case JobPaused():
                self.limit = event.limit
            case JobStopped():
                self.limit = event.limit
                self._dropped()
            case JobCancelling():
                self.roll_back = event.roll_back
            case JobCancelled() | JobRejected() | JobSkipped():
                self._dropped()
            case JobResumed():
                if self.limit is not None:
                    self._count_anew()
            case RetryStarted():
                self._retried(event)
            case UndoStarted():
                self._undo_started(event)

    def _retried(self, event: RetryStarted) -> None:
        if self.missed_at is None and self.deadline is not None and self.deadline <= event.at:
            # It had ended in time: the deadline has had its say, and stops no retry.
            self.missed_at = event.at
        # Who retries wants it now; and the run is no undo any more.
        self.start_at = self.direction = None
        self.dropped = self.dropped - event.items
        self._count_anew()
        self.edits += event.edited is not None
        self._queue(Backlog(items=event.items, cause=Cause.RETRY))

    def _dropped(self) -> None:
        self.skipped = ""
        self.dropped = self.dropped | (self.waiting - self.put_off)
        self.backlog.clear()
        self.deferred.clear()
        self.prepared = Ranges()
        # No more items follow; else an undo would wait for a seal that is refused.
        self.sealed = True

    def _count_anew(self) -> None:
        self.limit = None
        self.tallies = [Tally() for _ in self.options.limits]

    def _created(self, event: JobSubmitted | JobOpened | StepsSubmitted) -> None:
        self.tenant = event.tenant
        self.created_by = event.actor
        self.created_at = event.at
        self.traceparent = event.traceparent
        self.spec = event.spec
        self._written_by(event.actor, event.approval if isinstance(event, JobSubmitted) else "")
        self.tallies = [Tally() for _ in self.options.limits]
        self.capped_at = event.at if self.caps else None
        self.start_at, self.deadline = self.options.start_at, self.options.deadline
        if isinstance(event, StepsSubmitted):
            self.sealed = True
            self.children = [
                Child(step=n, job_id=child_id(self.id, n), status=event.status, counts=Counts())
                for n in range(len(event.spec.steps))
            ]
        if isinstance(event, JobSubmitted):
            self.sealed = True
            self.size = event.size
            self.measured = event.measured
            if event.items:
                self._queue(Backlog(items=Ranges.span(0, event.items), cause=Cause.APPLY))

    def _written_by(self, actor: str, approval: str = "") -> None:
        if actor not in (self.created_by, *self.authors):
            self.authors.append(actor)
        if approval:
            self.reason = f"awaits approval: {approval}"

    def _appended(self, event: ItemsAppended) -> None:
        self._written_by(event.actor)
        self.parts.append(event.part)
        self.taken_at = event.taken_at
        self.size += event.size
        items = Ranges.span(event.first, event.first + event.items)
        self._queue(Backlog(items=items, cause=Cause.APPLY))

    def _skipped(self, event: RepeatsSkipped | ItemsEdited) -> None:
        if isinstance(event, ItemsEdited):
            gone = event.dropped
            self.withdrawn = self.withdrawn | gone
            self.edits += event.edited is not None
            self._written_by(event.actor)
        else:
            gone = event.items
            self.repeated = self.repeated | gone
        left = [(entry, entry.items - gone) for entry in self.backlog]
        self.backlog = [entry.model_copy(update={"items": items}) for entry, items in left if items]

    def _timed(self, event: JobAdjusted | JobStartDue | JobDeadlinePassed) -> None:
        match event:
            case JobAdjusted():
                self._adjusted(event)
            case JobStartDue():
                self.start_at = None
            case JobDeadlinePassed():
                self.missed_at = event.at

    def _adjusted(self, event: JobAdjusted) -> None:
        self.epoch = event.epoch
        if event.caps.rate != self.caps.rate:
            self.bucket = Bucket(at=event.at)
        if event.caps != self.caps:
            self.capped_at = event.at
        self.adjusted_caps, self.adjusted_priority = event.caps, event.priority
        self.start_at = event.start_at
        if event.deadline != self.deadline:
            self.deadline, self.missed_at = event.deadline, None

    def _queue(self, entry: Backlog) -> None:
        last = self.backlog[-1] if self.backlog else None
        if last and (entry.cause, last.cause, last.parent) == (Cause.APPLY, Cause.APPLY, None):
            last.items = last.items | entry.items
        else:
            self.backlog.append(entry)

    def _planned(self, event: ChunksPlanned) -> None:
        for chunk in event.chunks:
            self.next_chunk = chunk.chunk + 1
            self.open[chunk.chunk] = OpenChunk(
                items=chunk.items, cause=chunk.cause, target=chunk.target, trial=chunk.trial
            )
            self._take_from_backlog(chunk)
            if not chunk.cause.undoing and chunk.trial == 1:
                self.last_items = len(chunk.items)
        if self.meter.began is None:
            self.meter.begin(event.at, 0)
            self.running_since = event.at
        rate = self.caps.rate
        if rate is not None:
            free = (Cause.ROLLBACK, Cause.REAPPLY, Cause.COMMIT)
            items = sum(len(chunk.items) for chunk in event.chunks if chunk.cause not in free)
            self.bucket = self.bucket.without(rate, event.at, items)

    def _take_from_backlog(self, chunk: PlannedChunk) -> None:
        at = self._place_of(chunk)
        entry = self.backlog[at]
        entry.items = entry.items - chunk.items
        if not entry.items or entry.whole:
            del self.backlog[at]

    def _place_of(self, chunk: PlannedChunk) -> int:
        """Where it waited: first of all, but for parts of a killer of an earlier release."""
        head = self.backlog[0]
        if head.parent is None or not chunk.cause.undoing or head.items == chunk.items:
            return 0
        parts = enumerate(self.backlog)
        return next(n for n, e in parts if (e.target, e.items) == (chunk.target, chunk.items))

    def _chunks_closed(self, event: ChunksClosed) -> None:
        self.deferred += event.deferred
        put_off: Counter[int] = Counter()
        for entry in event.deferred:
            put_off[entry.chunk] += len(entry.items)
        self._meter(event, put_off)
        named = {counts.chunk: counts.codes for counts in event.named}
        for chunk in event.chunks:
            if self.tallies and not self.open[chunk.chunk].cause.undoing:
                self._count(chunk, put_off[chunk.chunk], named.get(chunk.chunk, {}))
            self._closed(chunk)

    def _meter(self, event: ChunksClosed, put_off: Counter[int]) -> None:
        closed = [
            (said(self.open[chunk.chunk].cause, chunk), chunk.duration_ms) for chunk in event.chunks
        ]
        settled = sum(items for items, _ in closed) - put_off.total()
        self.meter.closed(event.at, settled, [took for took in closed if all(took)])

    def _said(self, chunk: ClosedChunk) -> int:
        return said(self.open[chunk.chunk].cause, chunk)

    def _count(self, chunk: ClosedChunk, put_off: int, named: Mapping[str, int]) -> None:
        settled = self._said(chunk) - put_off
        for limit, tally in zip(self.options.limits, self.tallies, strict=True):
            failed = chunk.failed - put_off
            if limit.codes:
                failed = sum(named.get(code, 0) for code in limit.codes)
            tally.add(limit, settled=settled, failed=failed)

    def _more_waits(self, event: AttemptsDue | JobPrepared) -> None:
        if isinstance(event, AttemptsDue):
            self._due(event)
        else:
            items, self.prepared = self.prepared, Ranges()
            self._queue(Backlog(items=items, cause=Cause.COMMIT, whole=True))

    def _due(self, event: AttemptsDue) -> None:
        left: list[Deferred] = []
        for entry in self.deferred:
            if entry.attempt == event.attempt:
                rest = entry.items - event.items
                left += [entry.model_copy(update={"items": rest})] if rest else []
            else:
                left.append(entry)
        self.deferred = left
        # Before what was never tried, or a long job would try nothing again until its end.
        self.backlog.insert(0, Backlog(items=event.items, cause=Cause.RETRY, trial=event.attempt))

    def _closed(self, chunk: ClosedChunk) -> None:
        was = self.open.pop(chunk.chunk)
        if chunk.closing is Closing.DIED:
            self._bisect(chunk, was)
        elif chunk.closing is Closing.PREPARED:
            self.prepared = self.prepared | chunk.returned
        elif chunk.returned:
            undoing = was.cause.undoing
            entry = Backlog(
                items=chunk.returned,
                cause=was.cause,
                # One that only gives way to another undo is no part of a killer.
                parent=None if undoing else chunk.chunk,
                target=was.target,
                whole=undoing or was.cause is Cause.COMMIT,
                trial=was.trial,
            )
            self.backlog.insert(0, entry)
        if was.cause.undoing:
            self._put_back(chunk, was)
        else:
            self._worked(chunk)

    def _bisect(self, chunk: ClosedChunk, was: OpenChunk) -> None:
        halves = [half for half in chunk.returned.halves() if half]
        if was.cause is Cause.ROLLBACK:
            # What was done last is put back first.
            halves.reverse()
        # An undo that kills its worker is cut as well, and stays an undo of the same chunk.
        self.backlog[:0] = [
            Backlog(
                items=half,
                cause=was.cause if was.cause.undoing else Cause.BISECT,
                parent=chunk.chunk,
                target=was.target,
                whole=True,
                trial=was.trial,
            )
            for half in halves
        ]

    def _worked(self, chunk: ClosedChunk) -> None:
        if chunk.succeeded:
            self.applied.append(Effect(chunk=chunk.chunk, items=chunk.succeeded))
        worked = said(Cause.APPLY, chunk)
        if chunk.closing is Closing.PREPARED:
            worked += len(chunk.returned)
        if worked and chunk.duration_ms:
            self.ms_per_item = planning.smoothed(self.ms_per_item, chunk.duration_ms / worked)

    def _put_back(self, chunk: ClosedChunk, was: OpenChunk) -> None:
        rollback = was.cause is Cause.ROLLBACK
        gone, come = (self.applied, self.undone) if rollback else (self.undone, self.applied)
        restored = chunk.rolled_back if rollback else chunk.succeeded
        for index in range(len(gone) - 1, -1, -1):
            if gone[index].chunk == was.target:
                left = gone[index].items - restored - chunk.conflict
                gone[index : index + 1] = [Effect(gone[index].chunk, left)] if left > 0 else []
                break
        if restored:
            come.append(Effect(chunk=chunk.chunk, items=restored))
        settled = restored + chunk.conflict + chunk.failed
        if settled and chunk.duration_ms:
            measured = chunk.duration_ms / settled
            self.undo_ms_per_item = planning.smoothed(self.undo_ms_per_item, measured)

    def _undo_started(self, event: UndoStarted) -> None:
        self.generation = event.generation
        self.direction, self.status_before_undo = event.direction, event.stood
        parts = [(part.target, part.items) for part in event.parts]
        whole = [(effect.chunk, Ranges()) for effect in self.undo_targets(event.direction)]
        self.backlog = [
            Backlog(items=items, cause=event.direction, target=target, whole=True)
            for target, items in parts or whole
        ]
        self.undo_total = self._undo_waiting()
        self.undoing, self.forced = list(event.steps), bool(event.steps) and event.force
