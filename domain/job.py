"""The Job aggregate: the one place that decides what status a job has.

Called by :mod:`streams.coordinator`. A command method either raises
:class:`~domain.errors.CommandRefused` and changes nothing, or emits events,
which ``collect_events`` hands over; :mod:`domain.job_fold` folds them into the state,
:mod:`domain.job_plan` cuts chunks, :mod:`domain.job_undo` begins undos.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from domain import portions
from domain.caps import FREE, Ration
from domain.commands import JobSpec
from domain.contradictions import require_may_be_empty
from domain.editing import Edited
from domain.errors import InvalidCommand, WrongState
from domain.events import (
    AttemptsDue,
    Cause,
    ChunksClosed,
    ChunksPlanned,
    ItemsAppended,
    JobCancelled,
    JobCancelling,
    JobDeadlinePassed,
    JobFinished,
    JobOpened,
    JobPaused,
    JobPrepared,
    JobResumed,
    JobSealed,
    JobStartDue,
    JobStatus,
    JobStopped,
    JobSubmitted,
    PlannedChunk,
    RetryStarted,
    Run,
)
from domain.job_record import Stamp
from domain.job_repeats import JobRepeats
from domain.options import Limit, OnDeadline, OnError, Reaction
from domain.outcomes import ClosedChunk, CodeCounts, Counts, Deferred, ItemStatus
from domain.ranges import Ranges
from domain.retrying import Failures, put_off
from domain.schedule import Measured
from domain.settling import require_account, settled
from domain.tolerance import named_by

__all__ = ["NOTHING_KNOWN", "Job", "Stamp"]

NOTHING_KNOWN = Failures()


class Job(JobRepeats):
    """One job; see the module's docstring for how it changes."""

    # -- commands -----------------------------------------------------------------

    def submit(
        self,
        stamp: Stamp,
        tenant: str,
        spec: JobSpec,
        *,
        items: int,
        size: int,
        sha256: str,
        approval: str = "",
        measured: Measured | None = None,
    ) -> None:
        """Start a job whose items are all there; refuses an empty one.

        A filter that may match nothing is the exception: such a job ends as it begins.
        ``approval`` is why it must be approved before, empty when it need not; ``measured`` how
        fast jobs of the operation went so far, where a deadline makes that worth while.
        """
        if items == 0:
            require_may_be_empty(spec)
            approval = ""
        self._emit(
            JobSubmitted,
            stamp,
            status=JobStatus.AWAITING_APPROVAL if approval else JobStatus.PENDING,
            counts=Counts(pending=items),
            tenant=tenant,
            spec=spec,
            items=items,
            size=size,
            sha256=sha256,
            approval=approval,
            measured=measured,
        )
        if items == 0:
            self._emit(JobFinished, stamp, status=JobStatus.COMPLETED)

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

    def seal(
        self,
        stamp: Stamp,
        items: int | None,
        approval: str = "",
        measured: Measured | None = None,
    ) -> None:
        """Close a draft; refuses an empty one and one whose count is not ``items``.

        ``approval`` and ``measured`` as in ``submit``; what runs already needs no approval.
        """
        self.check("seal")
        self._seal(stamp, items, approval, measured)

    def seal_fed(self, stamp: Stamp, approval: str, measured: Measured | None = None) -> None:
        """Close a draft that has taken all results of another job; the rest as in ``seal``."""
        self._seal(stamp, None, approval, measured)

    def _seal(
        self, stamp: Stamp, items: int | None, approval: str, measured: Measured | None
    ) -> None:
        total = self.counts.total
        if total == 0:
            raise InvalidCommand("the draft has no items; append some before the seal")
        if self.counts.pending == 0 and self.status is JobStatus.DRAFT:
            raise InvalidCommand("all items of the draft were dropped; append others, or cancel it")
        if items is not None and items != total:
            remedy = (
                "append what is missing"
                if items > total
                else f"say {total} if all of them are meant, or cancel the draft"
            )
            raise InvalidCommand(
                f"the seal says {items} items, {total} have arrived; {remedy}", pointer="/items"
            )
        said: dict[str, Any] = {"measured": measured}
        if self.status is JobStatus.DRAFT:
            awaited = JobStatus.AWAITING_APPROVAL if approval else JobStatus.PENDING
            said |= {"status": awaited, "approval": approval}
        self._emit(JobSealed, stamp, **said)
        self._finish_if_done(stamp)

    def plan(
        self, stamp: Stamp, *, room: int, slow: bool, ration: Ration = FREE
    ) -> tuple[PlannedChunk, ...]:
        """Cut and dispatch at most ``room`` chunks more; returns them.

        ``ration`` is what limits leave to the job that it shares with others.
        """
        if not self._may_dispatch():
            return ()
        may = self.allowed(stamp.at, slow=slow, shared=ration.now)
        chunks = self._cut(room, may, slow=slow, shared=ration.caps)
        if chunks:
            undoing = self.status is JobStatus.ROLLING_BACK
            self._emit(
                ChunksPlanned,
                stamp,
                status=self.status if undoing else JobStatus.RUNNING,
                generation=self.generation,
                chunks=chunks,
                **self._first_run(stamp),
            )
        return chunks

    def _first_run(self, stamp: Stamp) -> Mapping[str, Run]:
        """The run that begins now, if it has not to settle all: nobody counts the others to it."""
        if self.meter.began is not None or self.counts.pending == self.counts.total:
            return {}
        return {"run": Run.beginning(stamp.at, self.counts)}

    def record(
        self, stamp: Stamp, closed: Sequence[ClosedChunk], failures: Failures = NOTHING_KNOWN
    ) -> None:
        """Take outcome rows into account; those already recorded change nothing.

        ``failures`` tells of each failed item, where ``minds_failures``. Raises RuntimeError
        when a row does not speak of each of its chunk's items: an item that is left out
        would stay pending in a job that says it is done.
        """
        fresh: dict[int, ClosedChunk] = {}
        for chunk in closed:
            if chunk.chunk in self.open:
                fresh.setdefault(chunk.chunk, chunk)
        if not fresh:
            return
        for chunk in fresh.values():
            require_account(chunk, self.open[chunk.chunk].cause, self.items_of(chunk.chunk))
        spans = {number: len(faults) for number, faults in failures.of.items()}
        for portion in portions.of_chunks(fresh.values(), spans):
            self._close(stamp, portion, failures)
        if not self.open:
            self._heed_limits(stamp)
            self._wound_down(stamp)
        self._finish_if_done(stamp)

    def release(self, stamp: Stamp) -> None:
        """Heed the time: what has waited long enough may be planned, a deadline may have passed.

        The caller has closed every open chunk before when the job ``expires``.
        """
        if self.status is JobStatus.PENDING and _is_due(self.start_at, stamp):
            self._emit(JobStartDue, stamp)
        if _is_due(self.next_due, stamp):
            self._release_attempts(stamp)
        if _is_due(self._deadline_ahead(), stamp):
            self._miss(stamp)

    def _release_attempts(self, stamp: Stamp) -> None:
        waited: dict[int, list[tuple[int, int]]] = {}
        for entry in self.deferred:
            if entry.due <= stamp.at:
                waited.setdefault(entry.attempt, []).extend(entry.items.spans)
        for attempt, spans in sorted(waited.items()):
            for items in portions.of_ranges(Ranges.from_spans(spans)):
                self._emit(AttemptsDue, stamp, items=items, attempt=attempt)

    def _miss(self, stamp: Stamp) -> None:
        self._emit(JobDeadlinePassed, stamp, deadline=self.deadline)
        if self.options.on_deadline is OnDeadline.STOP:
            self._require_quiet()
            said = {
                "epoch": self.epoch + 1,
                "reason": f"deadline: {self.counts.pending} items left",
            }
            back = self.options.on_error is OnError.ROLL_BACK
            self._end(JobStopped, stamp, JobStatus.FAILED, said, roll_back=back)

    def pause(self, stamp: Stamp, reason: str) -> None:
        """Confirm a pause; the caller has closed every open chunk before."""
        self.check("pause")
        self._require_quiet()
        self._emit(JobPaused, stamp, status=JobStatus.PAUSED, epoch=self.epoch + 1, reason=reason)

    def resume(self, stamp: Stamp, reason: str) -> None:
        """Go on after a pause."""
        self.check("resume")
        status = JobStatus.RUNNING if self.started_at else JobStatus.PENDING
        said = {"run": Run.beginning(stamp.at, self.counts)} if self.started_at else {}
        self._emit(JobResumed, stamp, status=status, reason=reason, **said)
        self._finish_if_done(stamp)

    def cancel(self, stamp: Stamp, reason: str, *, roll_back: bool = False) -> None:
        """Stop for good; the caller has closed every open chunk before.

        With ``roll_back`` what was done is put back at once; so it is where a cancel that is
        under way was to do that.
        """
        self.check("cancel")
        self._require_quiet()
        roll_back = roll_back or self.is_to_roll_back
        said = {"epoch": self.epoch + 1, "reason": reason}
        self._end(JobCancelled, stamp, JobStatus.CANCELLED, said, roll_back=roll_back)

    def time_out(self, stamp: Stamp) -> None:
        """Cancel a run that takes too long; the caller has closed every open chunk before."""
        if self.ends_by is None:
            return
        self._require_quiet()
        reason = f"it took longer than its timeout of {self.options.timeout:g} s"
        said = {"epoch": self.epoch + 1, "reason": reason}
        back = self.options.on_error is OnError.ROLL_BACK
        self._end(JobCancelled, stamp, JobStatus.CANCELLED, said, roll_back=back)

    def wind_down(self, stamp: Stamp, reason: str, *, roll_back: bool = False) -> None:
        """Cancel once what is in flight has ended; at once when nothing is."""
        self.check("cancel")
        if self.status is JobStatus.CANCELLING:
            raise WrongState(
                "the job is cancelling: it ends with what is in flight; cancel without graceful "
                "to stop that as well"
            )
        if not self.open:
            self.cancel(stamp, reason, roll_back=roll_back)
            return
        status = JobStatus.CANCELLING
        self._emit(JobCancelling, stamp, status=status, reason=reason, roll_back=roll_back)

    def retriable(self, failed: Ranges, chosen: Ranges | None = None) -> Ranges:
        """The items of a retry: ``chosen`` ones, or all that have failed, ``failed``.

        Refuses one that has neither failed nor been left unattempted. Of an atomic job all
        are tried again, or it would end in halves.
        """
        if self.never_agreed and self.status in (JobStatus.CANCELLED, JobStatus.FAILED):
            raise WrongState(
                "the job has ended before it was sealed or approved, so nothing of it may run; "
                "submit it again"
            )
        self.check("retry")
        every = failed | self.dropped if self.options.atomic else failed
        wanted = every if chosen is None else chosen
        if not wanted:
            raise WrongState(
                f"there is no such failed item, so there is nothing to retry{self._left_over()}"
            )
        if len(failed) != self.counts.failed:
            raise InvalidCommand(
                f"the ledger names {len(failed)} failed items, the job {self.counts.failed}; "
                "run `countermand audit verify`"
            )
        others = wanted - failed - self.dropped
        if others:
            raise WrongState(
                f"item {next(iter(others))} has neither failed nor been left unattempted; name "
                "such items only"
            )
        return wanted

    def _left_over(self) -> str:
        """What a retry without a selection passes over, as the end of a sentence."""
        left = len(self.dropped)
        were = "was" if left == 1 else "were"
        said = f"; {left} {were} not attempted: name them in items, or say unattempted"
        return said if left else ""

    def retry(
        self,
        stamp: Stamp,
        failed: Ranges,
        reason: str,
        chosen: Ranges | None = None,
        edited: Edited | None = None,
    ) -> None:
        """Put items back to pending; see ``retriable``. Some may have got new bodies."""
        wanted = self.retriable(failed, chosen)
        if self.options.atomic and chosen is not None:
            if edited is None and wanted != failed | self.dropped:
                raise InvalidCommand(
                    "an atomic job is tried again as a whole; choose no items, or edit them",
                    pointer="/items",
                )
            wanted = failed | self.dropped
        for items in portions.of_ranges(wanted):
            again = len(items & failed)
            counts = self.counts.moved(ItemStatus.FAILED, ItemStatus.PENDING, again)
            counts = counts.moved(ItemStatus.SKIPPED, ItemStatus.PENDING, len(items) - again)
            self._emit(
                RetryStarted,
                stamp,
                status=JobStatus.RUNNING,
                counts=counts,
                run=Run.beginning(stamp.at, counts),
                items=items,
                reason=reason,
                edited=edited,
            )
            edited = None

    # -- decisions ----------------------------------------------------------------

    def _close(self, stamp: Stamp, portion: Sequence[ClosedChunk], failures: Failures) -> None:
        counts = self.counts
        deferred: list[Deferred] = []
        named: list[CodeCounts] = []
        for chunk in portion:
            opened = self.open[chunk.chunk]
            # What fails at a commit is not tried again by itself: others have come between.
            final = opened.cause.undoing or opened.cause is Cause.COMMIT
            faults = () if final else failures.of.get(chunk.chunk, ())
            again = put_off(
                self.options.retry,
                chunk.chunk,
                faults,
                trial=opened.trial,
                at=stamp.at,
                draw=failures.draw,
            )
            waiting = sum(len(entry.items) for entry in again)
            counts = settled(counts, opened.cause, chunk, deferred=waiting)
            deferred += again
            named += named_by(self.options.limits, chunk.chunk, faults, again)
        self._emit(
            ChunksClosed,
            stamp,
            counts=counts,
            chunks=portion,
            deferred=tuple(deferred),
            named=tuple(named),
        )

    def _heed_limits(self, stamp: Stamp) -> None:
        """Stop when a limit is hit; every chunk is closed."""
        limit = self.limit_hit
        if limit is None:
            return
        said = {"epoch": self.epoch + 1, "limit": limit, "reason": f"limit: {limit}"}
        if limit.then is Reaction.FAIL:
            back = self.options.on_error is OnError.ROLL_BACK
            self._end(JobStopped, stamp, JobStatus.FAILED, said, roll_back=back)
        elif not self._is_done():
            self._emit(JobPaused, stamp, status=JobStatus.PAUSED, **said)

    def _wound_down(self, stamp: Stamp) -> None:
        """End a graceful cancel; every chunk is closed."""
        if self.status is JobStatus.CANCELLING:
            said = {"epoch": self.epoch + 1, "reason": self.reason}
            self._end(JobCancelled, stamp, JobStatus.CANCELLED, said, roll_back=self.roll_back)

    def _end(
        self,
        kind: type[JobCancelled | JobStopped],
        stamp: Stamp,
        status: JobStatus,
        said: Mapping[str, Any],
        *,
        roll_back: bool,
    ) -> None:
        """Give up what was not attempted; what has taken effect stays, or is put back."""
        back = roll_back and bool(self.applied)
        led_to = JobStatus.ROLLING_BACK if back else status
        self._emit(kind, stamp, status=led_to, counts=self._abandoned(), **said)
        if back:
            self._begin_undo(stamp, self.reason, stood=status)

    def _finish_if_done(self, stamp: Stamp) -> None:
        if self._is_prepared():
            self._commit_or_stop(stamp)
        elif self._is_done() and self.status in (JobStatus.RUNNING, JobStatus.ROLLING_BACK):
            self._emit(JobFinished, stamp, status=self._resting_status())

    def _commit_or_stop(self, stamp: Stamp) -> None:
        """All of an atomic job is prepared: it takes effect as a whole, or not at all."""
        if not self.counts.failed:
            self._emit(JobPrepared, stamp)
            return
        reason = "atomic: an item failed, so none takes effect"
        said = {"epoch": self.epoch + 1, "limit": Limit(failed=0), "reason": reason}
        self._end(JobStopped, stamp, JobStatus.FAILED, said, roll_back=False)


def _is_due(moment: datetime | None, stamp: Stamp) -> bool:
    return moment is not None and moment <= stamp.at
