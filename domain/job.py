"""The Job aggregate: the one place that decides what status a job has.

Called by :mod:`streams.coordinator`. A command method either raises
:class:`~domain.errors.CommandRefused` and changes nothing, or emits events,
which ``collect_events`` hands over; :mod:`domain.job_state` folds them into the state.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import PrivateAttr

from domain import planning, portions
from domain.commands import JobSpec, Start
from domain.errors import InvalidCommand, WrongState
from domain.events import (
    Cause,
    ChunksClosed,
    ChunksPlanned,
    ItemsAppended,
    JobCancelled,
    JobEvent,
    JobFinished,
    JobOpened,
    JobPaused,
    JobResumed,
    JobSealed,
    JobSnapshot,
    JobStatus,
    JobSubmitted,
    PlannedChunk,
    RetryStarted,
    UndoStarted,
)
from domain.job_state import Backlog, JobState
from domain.outcomes import ClosedChunk, Counts, ItemStatus
from domain.ranges import Ranges
from domain.settling import said, settled

Verb = Literal["append", "seal", "pause", "resume", "cancel", "retry", "undo"]

POSSIBLE: dict[JobStatus, frozenset[Verb]] = {
    JobStatus.DRAFT: frozenset({"append", "seal", "cancel"}),
    JobStatus.PENDING: frozenset({"pause", "cancel"}),
    JobStatus.AWAITING_APPROVAL: frozenset({"cancel"}),
    JobStatus.RUNNING: frozenset({"pause", "cancel"}),
    JobStatus.PAUSED: frozenset({"resume", "cancel"}),
    JobStatus.CANCELLING: frozenset(),
    JobStatus.CANCELLED: frozenset({"undo"}),
    JobStatus.COMPLETED: frozenset({"undo"}),
    JobStatus.COMPLETED_WITH_ERRORS: frozenset({"retry", "undo"}),
    JobStatus.FAILED: frozenset({"retry", "undo"}),
    JobStatus.ROLLING_BACK: frozenset(),
    JobStatus.ROLLED_BACK: frozenset({"undo"}),
    JobStatus.ROLLBACK_INCOMPLETE: frozenset({"undo"}),
    JobStatus.REJECTED: frozenset(),
    JobStatus.ARCHIVED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who causes an event, by which command, when."""

    actor: str
    command_id: str
    at: datetime


class Job(JobState):
    """One job; see the module's docstring for how it changes."""

    _pending: list[JobEvent] = PrivateAttr(default_factory=list)

    # -- commands -----------------------------------------------------------------

    def submit(
        self, stamp: Stamp, tenant: str, spec: JobSpec, *, items: int, size: int, sha256: str
    ) -> None:
        """Start a job whose items are all there; refuses an empty one."""
        if items == 0:
            raise InvalidCommand("a job needs at least one item; send some", pointer="/items")
        self._emit(
            JobSubmitted,
            stamp,
            status=JobStatus.PENDING,
            counts=Counts(pending=items),
            tenant=tenant,
            spec=spec,
            items=items,
            size=size,
            sha256=sha256,
        )

    def open_draft(self, stamp: Stamp, tenant: str, spec: JobSpec) -> None:
        """Start a draft whose items follow in parts."""
        self._emit(JobOpened, stamp, status=JobStatus.DRAFT, tenant=tenant, spec=spec)

    def append(self, stamp: Stamp, *, part: int, items: int, size: int, sha256: str) -> None:
        """Add a part; a part that has already arrived changes nothing."""
        if part in self.parts:
            return
        self.check("append")
        if items == 0:
            raise InvalidCommand("a part needs at least one item", pointer="/items")
        self._emit(
            ItemsAppended,
            stamp,
            counts=self.counts.added(items),
            part=part,
            first=self.counts.total,
            items=items,
            size=size,
            sha256=sha256,
        )

    def seal(self, stamp: Stamp, items: int | None) -> None:
        """Close a draft; refuses an empty one and one whose count is not ``items``."""
        self.check("seal")
        total = self.counts.total
        if total == 0:
            raise InvalidCommand("the draft has no items; append some before the seal")
        if items is not None and items != total:
            raise InvalidCommand(
                f"the seal says {items} items, {total} have arrived; append what is missing",
                pointer="/items",
            )
        draft = self.status is JobStatus.DRAFT
        self._emit(JobSealed, stamp, status=JobStatus.PENDING if draft else self.status)
        self._finish_if_done(stamp)

    def plan(self, stamp: Stamp, *, room: int, slow: bool) -> tuple[PlannedChunk, ...]:
        """Cut and dispatch at most ``room`` chunks more; returns them."""
        if not self._may_dispatch():
            return ()
        chunks = self._cut(room, slow=slow)
        if chunks:
            undoing = self.status is JobStatus.ROLLING_BACK
            self._emit(
                ChunksPlanned,
                stamp,
                status=self.status if undoing else JobStatus.RUNNING,
                generation=self.generation,
                chunks=chunks,
            )
        return chunks

    def room(self, dispatches: int, *, slow: bool) -> int:
        """How many chunks that many messages may hold; of an undo one is under way."""
        if self.status is not JobStatus.ROLLING_BACK:
            return dispatches * planning.chunks_per_dispatch(self.options, self.pace, slow=slow)
        waiting = map(self._standing, self.backlog)
        pack = planning.undo_chunks_per_dispatch(waiting, self.pace, slow=slow)
        return min(dispatches, 1) * pack

    def record(self, stamp: Stamp, closed: Sequence[ClosedChunk]) -> None:
        """Take outcome rows into account; those already recorded change nothing.

        Raises RuntimeError when a row does not speak of each of its chunk's items: an
        item that is left out would stay pending in a job that says it is done.
        """
        fresh: dict[int, ClosedChunk] = {}
        for chunk in closed:
            if chunk.chunk in self.open:
                fresh.setdefault(chunk.chunk, chunk)
        if not fresh:
            return
        for chunk in fresh.values():
            self._require_account(chunk)
        for portion in portions.of_chunks(fresh.values()):
            counts = self.counts
            for chunk in portion:
                counts = settled(counts, self.open[chunk.chunk].cause, chunk)
            self._emit(ChunksClosed, stamp, counts=counts, chunks=portion)
        self._finish_if_done(stamp)

    def pause(self, stamp: Stamp, reason: str) -> None:
        """Confirm a pause; the caller has closed every open chunk before."""
        self.check("pause")
        self._require_quiet()
        self._emit(JobPaused, stamp, status=JobStatus.PAUSED, epoch=self.epoch + 1, reason=reason)

    def resume(self, stamp: Stamp, reason: str) -> None:
        """Go on after a pause."""
        self.check("resume")
        status = JobStatus.RUNNING if self.started_at else JobStatus.PENDING
        self._emit(JobResumed, stamp, status=status, reason=reason)
        self._finish_if_done(stamp)

    def cancel(self, stamp: Stamp, reason: str) -> None:
        """Stop for good; the caller has closed every open chunk before."""
        self.check("cancel")
        self._require_quiet()
        self._emit(
            JobCancelled,
            stamp,
            status=JobStatus.CANCELLED,
            counts=self.counts.moved(ItemStatus.PENDING, ItemStatus.SKIPPED, self.counts.pending),
            epoch=self.epoch + 1,
            reason=reason,
        )

    def retry(self, stamp: Stamp, failed: Ranges, reason: str) -> None:
        """Put the failed items, ``failed``, back to pending."""
        self.check("retry")
        if not failed:
            raise WrongState("no item has failed, so there is nothing to retry")
        if len(failed) != self.counts.failed:
            raise InvalidCommand(
                f"the ledger names {len(failed)} failed items, the job {self.counts.failed}; "
                "run `countermand audit verify`"
            )
        for items in portions.of_ranges(failed):
            self._emit(
                RetryStarted,
                stamp,
                status=JobStatus.RUNNING,
                counts=self.counts.moved(ItemStatus.FAILED, ItemStatus.PENDING, len(items)),
                items=items,
                reason=reason,
            )

    def undo(self, stamp: Stamp, reason: str) -> None:
        """Begin to put records back; on a job rolled back, to apply them again.

        After ``rollback_incomplete`` it goes on in the same direction with what is left.
        """
        self.check("undo")
        forward = self.status is JobStatus.ROLLED_BACK or self._reapply_incomplete()
        if not (self.undone if forward else self.applied):
            raise WrongState("the job has changed nothing that stands, so there is nothing to undo")
        self._emit(
            UndoStarted,
            stamp,
            status=JobStatus.ROLLING_BACK,
            epoch=self.epoch + 1,
            generation=self.generation + 1,
            direction=Cause.REAPPLY if forward else Cause.ROLLBACK,
            stood=self._stood(),
            reason=reason,
        )

    # -- questions ----------------------------------------------------------------

    def wants_chunks(self) -> bool:
        """Whether there are items that wait for a chunk and may have one."""
        if not self.backlog or not self._may_dispatch():
            return False
        return not (self.open and self.backlog[0].cause.alone)

    def ready_chunks(self, *, most: int, slow: bool) -> int:
        """How many chunks ``plan`` would cut now, given room for ``most``.

        It cuts fewer where they are more than an event holds.
        """
        if not self._may_dispatch():
            return 0
        size = planning.chunk_items(self.options, self.pace, slow=slow)
        ready = 0
        for entry in self.backlog:
            room = self._room(entry, most)
            if ready >= room:
                break
            ready = min(room, ready + entry.count(size))
            if planning.is_suspect(entry.cause, entry.parent):
                break
        return ready

    @property
    def resting(self) -> bool:
        """Whether nothing happens until somebody asks for it: nothing runs, nothing waits."""
        moving = (JobStatus.PENDING, JobStatus.RUNNING, JobStatus.ROLLING_BACK)
        return not self.open and self.status not in moving and not self.wants_chunks()

    def possible(self) -> list[str]:
        """What a caller may ask of the job in its present status."""
        verbs = POSSIBLE[self.status]
        if not self.sealed and self.status in (JobStatus.RUNNING, JobStatus.PAUSED):
            verbs |= {"append", "seal"}
        return sorted(verbs)

    def check(self, verb: Verb) -> None:
        """Raise WrongState, which names the status and what is possible, unless allowed."""
        if verb in self.possible():
            return
        possible = ", ".join(self.possible()) or "nothing"
        raise WrongState(f"the job is {self.status}: {verb} is not possible; possible: {possible}")

    # -- persistence --------------------------------------------------------------

    def collect_events(self) -> Sequence[JobEvent]:
        """Hand over the events that are not stored yet."""
        events, self._pending = self._pending, []
        return events

    def snapshot(self) -> JobSnapshot:
        """The state as a snapshot; raises when there are events not yet collected."""
        if self._pending:
            raise RuntimeError("collect and store the pending events before taking a snapshot")
        return JobSnapshot(
            originator_id=self.id,
            originator_version=self.version,
            state=self.model_dump(mode="json"),
        )

    @classmethod
    def project(cls, job: Job | None, events: Iterable[JobEvent | JobSnapshot]) -> Job | None:
        """Fold events (after at most one snapshot) into a job."""
        for event in events:
            if isinstance(event, JobSnapshot):
                job = cls.model_validate(event.state)
                continue
            if job is None:
                job = cls(id=event.originator_id)
            job.apply(event)
        return job

    # -- decisions ----------------------------------------------------------------

    def _may_dispatch(self) -> bool:
        if self.status in (JobStatus.PENDING, JobStatus.RUNNING, JobStatus.ROLLING_BACK):
            return True
        return self.status is JobStatus.DRAFT and self.options.start is Start.EAGER

    def _cut(self, room: int, *, slow: bool) -> tuple[PlannedChunk, ...]:
        size = planning.chunk_items(self.options, self.pace, slow=slow)
        chunks: list[PlannedChunk] = []
        left = portions.MAX_SPANS
        for entry in self.backlog:
            suspect = planning.is_suspect(entry.cause, entry.parent)
            most = self._room(entry, room)
            for items in entry.pieces(size):
                left -= portions.weight(items)
                if len(chunks) >= most or (chunks and left < 0):
                    return tuple(chunks)
                chunks.append(
                    PlannedChunk(
                        chunk=self.next_chunk + len(chunks),
                        cause=entry.cause,
                        items=items,
                        parent=entry.parent,
                        target=entry.target,
                    )
                )
                if suspect:
                    return tuple(chunks)
        return tuple(chunks)

    def _room(self, entry: Backlog, room: int) -> int:
        """How many chunks a plan may hold up to this entry."""
        if planning.is_suspect(entry.cause, entry.parent):
            return 0 if self.open else min(room, 1)
        if entry.cause.undoing:
            return 0 if self.open else room
        return 0 if any(chunk.cause.alone for chunk in self.open.values()) else room

    def _finish_if_done(self, stamp: Stamp) -> None:
        if self.open or self.backlog or not self.sealed:
            return
        if self.status in (JobStatus.RUNNING, JobStatus.ROLLING_BACK):
            self._emit(JobFinished, stamp, status=self._resting_status())

    def _resting_status(self) -> JobStatus:
        if self.status is not JobStatus.ROLLING_BACK:
            return self._final_status()
        if self.undo_failed:
            return JobStatus.ROLLBACK_INCOMPLETE
        if self.direction is Cause.REAPPLY and self.status_before_undo:
            return self.status_before_undo
        return JobStatus.ROLLED_BACK

    def _final_status(self) -> JobStatus:
        if self.counts.failed == 0:
            return JobStatus.COMPLETED
        if self.counts.succeeded == 0:
            return JobStatus.FAILED
        return JobStatus.COMPLETED_WITH_ERRORS

    def _require_account(self, closed: ClosedChunk) -> None:
        opened = self.open[closed.chunk]
        spoken = said(opened.cause, closed) + len(closed.returned)
        items = self._standing(opened) if opened.cause.undoing else len(opened.items)
        if spoken != items:
            raise RuntimeError(
                f"the outcome of chunk {closed.chunk} speaks of {spoken} items, the chunk has "
                f"{items}; whoever closes a chunk must say what became of each item"
            )

    def _require_quiet(self) -> None:
        if self.open:
            raise RuntimeError("close the open chunks before the confirming event is stored")

    def _emit(self, kind: type[JobEvent], stamp: Stamp, **fields: Any) -> None:
        values: dict[str, Any] = {
            "tenant": self.tenant,
            "status": self.status,
            "counts": self.counts,
            "started_at": self.started_at,
            **fields,
        }
        if values["started_at"] is None and values["status"] is JobStatus.RUNNING:
            values["started_at"] = stamp.at
        event = kind(
            originator_id=self.id,
            originator_version=self.version + 1,
            at=stamp.at,
            actor=stamp.actor,
            command_id=stamp.command_id,
            **values,
        )
        self._pending.append(event)
        self.apply(event)
