"""The state of a job, and how its events change it. No decision is taken here.

:class:`~domain.job.Job` decides; replay needs only what is here.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Self

from pydantic import BaseModel

from domain import planning
from domain.commands import JobOptions, JobSpec
from domain.events import (
    Cause,
    ChunksClosed,
    ChunksPlanned,
    ItemsAppended,
    JobCancelled,
    JobEvent,
    JobOpened,
    JobPaused,
    JobResumed,
    JobSealed,
    JobStatus,
    JobSubmitted,
    PlannedChunk,
    RetryStarted,
    UndoStarted,
)
from domain.outcomes import ClosedChunk, Closing, Counts
from domain.ranges import Ranges


class Backlog(BaseModel):
    """Items that wait for a chunk. ``whole`` ones are not cut further."""

    items: Ranges
    cause: Cause
    parent: int | None = None
    target: int | None = None
    whole: bool = False

    def pieces(self, size: int) -> Iterator[Ranges]:
        """The chunks of ``size`` items that the entry is cut into, lazily."""
        if self.whole:
            yield self.items
            return
        rest = self.items
        while rest:
            head, rest = rest.take(size)
            yield head

    def count(self, size: int) -> int:
        """How many pieces there are."""
        return 1 if self.whole else -(-len(self.items) // size)


class OpenChunk(BaseModel):
    """A chunk that was dispatched and has no recorded outcome yet."""

    items: Ranges
    cause: Cause
    target: int | None = None


class Effect(BaseModel):
    """A closed chunk whose records stand as it left them, with the number of such items."""

    chunk: int
    items: int


class JobState(BaseModel):
    """State of one job: what its events say, and what waits, runs and stands."""

    id: str
    version: int = 0
    tenant: str = ""
    created_by: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    updated_at: datetime | None = None
    spec: JobSpec = JobSpec(operation="none")
    status: JobStatus = JobStatus.DRAFT
    status_before_undo: JobStatus | None = None
    direction: Cause | None = None
    counts: Counts = Counts()
    sealed: bool = False
    parts: list[int] = []
    size: int = 0
    epoch: int = 0
    generation: int = 0
    next_chunk: int = 0
    backlog: list[Backlog] = []
    dropped: Ranges = Ranges()
    """What a cancel has left unattempted."""
    open: dict[int, OpenChunk] = {}
    applied: list[Effect] = []
    undone: list[Effect] = []
    undo_failed: bool = False
    undo_total: int = 0
    ms_per_item: float | None = None
    undo_ms_per_item: float | None = None
    last_items: int = planning.FIRST_ITEMS
    reason: str = ""

    # -- questions ----------------------------------------------------------------

    @property
    def options(self) -> JobOptions:
        """The caller's options."""
        return self.spec.options

    @property
    def pace(self) -> planning.Pace:
        """What the planner may know of the work so far, in its present direction."""
        total = self.counts.total
        undoing = self.status is JobStatus.ROLLING_BACK
        return planning.Pace(
            ms_per_item=(self.undo_ms_per_item if undoing else None) or self.ms_per_item,
            bytes_per_item=self.size / total if total else 0.0,
            last_items=self.last_items,
        )

    @property
    def percent(self) -> float:
        """How much of the present direction of work is settled, 0 to 100."""
        if self.status is JobStatus.ROLLING_BACK:
            waiting = sum(e.items for e in self._undo_targets())
            return 100.0 * (1 - waiting / self.undo_total) if self.undo_total else 100.0
        total = self.counts.total
        return 100.0 * (total - self.counts.pending) / total if total else 0.0

    def _undo_targets(self) -> list[Effect]:
        waiting = {entry.target for entry in self.backlog}
        waiting |= {chunk.target for chunk in self.open.values()}
        return [effect for effect in (*self.applied, *self.undone) if effect.chunk in waiting]

    def _standing(self, undo: Backlog | OpenChunk) -> int:
        """How many items an undo chunk has still to put back."""
        if undo.items:
            return len(undo.items)
        effects = self.applied if undo.cause is Cause.ROLLBACK else self.undone
        for effect in reversed(effects):
            if effect.chunk == undo.target:
                return effect.items
        return 0

    def _reapply_incomplete(self) -> bool:
        incomplete = self.status is JobStatus.ROLLBACK_INCOMPLETE
        return incomplete and self.direction is Cause.REAPPLY

    def _stood(self) -> JobStatus:
        """The status before the first undo of a row; a retry in between starts a new row."""
        undone = self.status in (JobStatus.ROLLED_BACK, JobStatus.ROLLBACK_INCOMPLETE)
        return self.status_before_undo if undone and self.status_before_undo else self.status

    @property
    def waiting(self) -> Ranges:
        """The pending items: they wait for a chunk, or for the outcome of theirs."""
        found = Ranges()
        entries: list[Backlog | OpenChunk] = [*self.backlog, *self.open.values()]
        for entry in entries:
            if not entry.cause.undoing:
                found |= entry.items
        return found

    def as_it_stands(self) -> Self:
        """A copy that later events do not change; what is immutable is shared."""
        return self.model_copy(
            update={
                "parts": list(self.parts),
                "backlog": [entry.model_copy() for entry in self.backlog],
                "open": dict(self.open),
                "applied": [effect.model_copy() for effect in self.applied],
                "undone": [effect.model_copy() for effect in self.undone],
            }
        )

    # -- fold ---------------------------------------------------------------------

    def apply(self, event: JobEvent) -> None:
        """Fold one event into the state."""
        self.version = event.originator_version
        self.status = event.status
        self.counts = event.counts
        self.started_at = event.started_at
        self.updated_at = event.at
        self.finished_at = event.at if event.status.terminal else None
        self._fold(event)

    def _fold(self, event: JobEvent) -> None:
        match event:
            case JobSubmitted() | JobOpened():
                self._created(event)
            case ItemsAppended():
                self._appended(event)
            case JobSealed():
                self.sealed = True
            case ChunksPlanned():
                self._planned(event)
            case ChunksClosed():
                for chunk in event.chunks:
                    self._closed(chunk)
            case JobPaused() | JobResumed() | JobCancelled() | RetryStarted() | UndoStarted():
                self._turned(event)
            case _:
                pass

    def _turned(
        self, event: JobPaused | JobResumed | JobCancelled | RetryStarted | UndoStarted
    ) -> None:
        """Somebody changed the job's course, for a reason."""
        self.reason = event.reason
        if isinstance(event, JobPaused | JobCancelled | UndoStarted):
            self.epoch = event.epoch
        if isinstance(event, JobCancelled):
            self.dropped = self.waiting
            self.backlog.clear()
            # No more items follow; else an undo would wait for a seal that is refused.
            self.sealed = True
        elif isinstance(event, RetryStarted):
            self._queue(Backlog(items=event.items, cause=Cause.RETRY))
        elif isinstance(event, UndoStarted):
            self._undo_started(event)

    def _created(self, event: JobSubmitted | JobOpened) -> None:
        self.tenant = event.tenant
        self.created_by = event.actor
        self.created_at = event.at
        self.spec = event.spec
        if isinstance(event, JobSubmitted):
            self.sealed = True
            self.size = event.size
            self._queue(Backlog(items=Ranges.span(0, event.items), cause=Cause.APPLY))

    def _appended(self, event: ItemsAppended) -> None:
        self.parts.append(event.part)
        self.size += event.size
        items = Ranges.span(event.first, event.first + event.items)
        self._queue(Backlog(items=items, cause=Cause.APPLY))

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
                items=chunk.items, cause=chunk.cause, target=chunk.target
            )
            self._take_from_backlog(chunk)
            if not chunk.cause.undoing:
                self.last_items = len(chunk.items)

    def _take_from_backlog(self, chunk: PlannedChunk) -> None:
        head = self.backlog[0]
        head.items = head.items - chunk.items
        if not head.items or head.whole:
            del self.backlog[0]

    def _closed(self, chunk: ClosedChunk) -> None:
        was = self.open.pop(chunk.chunk)
        if chunk.closing is Closing.DIED:
            self._bisect(chunk, was)
        elif chunk.returned:
            undoing = was.cause.undoing
            entry = Backlog(
                items=chunk.returned,
                cause=was.cause,
                # One that only gives way to another undo is no part of a killer.
                parent=None if undoing else chunk.chunk,
                target=was.target,
                whole=undoing,
            )
            self.backlog.insert(0, entry)
        if was.cause.undoing:
            self._put_back(chunk, was)
        else:
            self._worked(chunk)

    def _bisect(self, chunk: ClosedChunk, was: OpenChunk) -> None:
        halves = [half for half in chunk.returned.halves() if half]
        # An undo that kills its worker is cut as well, and stays an undo of the same chunk.
        self.backlog[:0] = [
            Backlog(
                items=half,
                cause=was.cause if was.cause.undoing else Cause.BISECT,
                parent=chunk.chunk,
                target=was.target,
                whole=True,
            )
            for half in halves
        ]

    def _worked(self, chunk: ClosedChunk) -> None:
        if chunk.succeeded:
            self.applied.append(Effect(chunk=chunk.chunk, items=chunk.succeeded))
        settled = chunk.succeeded + chunk.failed + chunk.skipped
        if settled and chunk.duration_ms:
            self.ms_per_item = planning.smoothed(self.ms_per_item, chunk.duration_ms / settled)

    def _put_back(self, chunk: ClosedChunk, was: OpenChunk) -> None:
        if chunk.failed:
            self.undo_failed = True
        rollback = was.cause is Cause.ROLLBACK
        gone, come = (self.applied, self.undone) if rollback else (self.undone, self.applied)
        restored = chunk.rolled_back if rollback else chunk.succeeded
        for index in range(len(gone) - 1, -1, -1):
            if gone[index].chunk == was.target:
                gone[index].items -= restored + chunk.conflict
                if gone[index].items <= 0:
                    del gone[index]
                break
        if restored:
            come.append(Effect(chunk=chunk.chunk, items=restored))
        settled = restored + chunk.conflict + chunk.failed
        if settled and chunk.duration_ms:
            measured = chunk.duration_ms / settled
            self.undo_ms_per_item = planning.smoothed(self.undo_ms_per_item, measured)

    def _undo_started(self, event: UndoStarted) -> None:
        self.generation = event.generation
        self.undo_failed = False
        self.direction, self.status_before_undo = event.direction, event.stood
        targets = self.applied if event.direction is Cause.ROLLBACK else self.undone
        self.undo_total = sum(effect.items for effect in targets)
        self.backlog = [
            Backlog(items=Ranges(), cause=event.direction, target=effect.chunk, whole=True)
            for effect in reversed(targets)
        ]
