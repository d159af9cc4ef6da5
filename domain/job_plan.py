"""What of a job may be worked next, in which chunks. Nothing is changed here.

:class:`~domain.job.Job` emits what is cut here; who shares places asks how much there is.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from domain import planning, portions
from domain.caps import UNLIMITED, Allowance, Calls, allowance, wanted_tokens
from domain.events import Cause, JobStatus, PlannedChunk
from domain.job_fold import JobFold
from domain.job_state import Backlog
from domain.options import NO_CAPS, Caps, OnDeadline, Start

TIMER_SECONDS = 5.0
"""A job with a cap has a timer for the case that its coordinator dies; to move it with each plan
would be to write it with each plan."""


class JobPlan(JobFold):
    """A job as the planner sees it."""

    def room(self, dispatches: int, *, slow: bool, shared: Caps = NO_CAPS) -> int:
        """How many chunks that many messages may hold; of an undo one is under way."""
        if self.status is not JobStatus.ROLLING_BACK:
            return dispatches * self.pack(slow=slow, shared=shared)
        waiting = map(self._standing, self.backlog)
        pack = planning.undo_chunks_per_dispatch(waiting, self.pace, slow=slow)
        return min(dispatches, 1) * pack

    def pack(self, *, slow: bool, shared: Caps = NO_CAPS) -> int:
        """How many chunks take one place; ``shared`` are caps that hold for several jobs."""
        caps = self.caps.within(shared)
        return planning.chunks_per_dispatch(self.options, self.pace, slow=slow, caps=caps)

    def wants_chunks(self) -> bool:
        """Whether there are items that wait for a chunk and may have one, but for caps."""
        if not self.backlog or not self._may_dispatch():
            return False
        return not (self.open and self.backlog[0].cause.alone)

    @property
    def rationed(self) -> bool:
        """Whether something waits for a chunk that caps may hold back."""
        return self.wants_chunks() and not self._is_uncapped()

    @property
    def calls(self) -> Calls:
        """What is in flight and counts against caps."""
        forward = [
            len(chunk.items)
            for chunk in self.open.values()
            if not chunk.cause.undoing and chunk.cause is not Cause.COMMIT
        ]
        return Calls(items=sum(forward), chunks=len(forward))

    def allowed(self, now: datetime, *, slow: bool, shared: Allowance = UNLIMITED) -> Allowance:
        """How much more the job's caps let it plan now, and those that it shares."""
        if self._is_uncapped():
            return UNLIMITED
        if not self.caps:
            return shared
        return shared.within(self._allowance(now, slow=slow))

    def _allowance(self, now: datetime, *, slow: bool) -> Allowance:
        return allowance(
            self.caps,
            self.bucket,
            now,
            waiting=self.unplanned,
            in_flight=[len(chunk.items) for chunk in self.open.values()],
            slow=slow,
        )

    def allowed_at_once(self, *, slow: bool) -> bool:
        """Whether the cap of the concurrency leaves room for more."""
        if self.caps.concurrency is None:
            return True
        in_flight = [len(chunk.items) for chunk in self.open.values()]
        return (sum(in_flight) if slow else len(in_flight)) < self.caps.concurrency

    @property
    def held_until(self) -> datetime | None:
        """Until when the cap of its rate holds back what waits for a chunk."""
        rate = self.caps.rate
        if rate is None or not self.wants_chunks() or self._is_uncapped():
            return None
        return self.bucket.ready_at(rate, wanted_tokens(rate, self.unplanned))

    @property
    def wakes_at(self) -> datetime | None:
        """When somebody must look at the job at the latest, whatever happens until then."""
        moments = [self.next_due, self._deadline_ahead(), self.ends_by]
        if self.status is JobStatus.PENDING:
            moments.append(self.start_at)
        held = self.held_until
        if held is not None:
            late = math.ceil(held.timestamp() / TIMER_SECONDS) * TIMER_SECONDS
            moments.append(datetime.fromtimestamp(late, UTC))
        return min((moment for moment in moments if moment is not None), default=None)

    def expires(self, now: datetime) -> bool:
        """Whether the job must be stopped, because its deadline has passed.

        The caller then closes every open chunk, and ``release`` ends it.
        """
        deadline = self._deadline_ahead()
        stops = self.options.on_deadline is OnDeadline.STOP
        return stops and deadline is not None and deadline <= now

    @property
    def begun(self) -> bool:
        """Whether something of the job was sent to workers, or may be at once."""
        return self.started_at is not None or bool(self.open)

    def _deadline_ahead(self) -> datetime | None:
        """The deadline, until it has passed; while nobody works on the job it is left alone."""
        alert = self.status in (JobStatus.PENDING, JobStatus.RUNNING) and self.missed_at is None
        return self.deadline if alert else None

    @property
    def ends_by(self) -> datetime | None:
        """When the present run must have ended; None when it may take as long as it will."""
        # A snapshot of an earlier release knows only since when it has measured.
        timeout, began = self.options.timeout, self.running_since or self.meter.began
        if timeout is None or began is None or self.status is not JobStatus.RUNNING:
            return None
        return began + timedelta(seconds=timeout)

    def ready_chunks(
        self, *, most: int, slow: bool, now: datetime | None = None, shared: Caps = NO_CAPS
    ) -> int:
        """How many chunks ``plan`` would cut now, given room for ``most``.

        It cuts fewer where they are more than an event holds. Without ``now`` caps are left
        out of account.
        """
        if not self._may_dispatch():
            return 0
        caps = self.caps.within(shared)
        size = planning.chunk_items(self.options, self.pace, slow=slow, caps=caps)
        may = UNLIMITED if now is None else self.allowed(now, slow=slow)
        ready, items_left = 0, may.items
        for entry in self.backlog:
            room = self._room(entry, min(most, may.chunks)) - ready
            if room <= 0 or items_left <= 0:
                break
            count, items = entry.most(size, chunks=room, items=items_left)
            ready += count
            items_left -= items
            if planning.is_suspect(entry.cause, entry.parent):
                break
        return ready

    @property
    def resting(self) -> bool:
        """Whether nothing happens until somebody asks for it, or a timer of the job is due.

        A batch rests as well: its jobs move it.
        """
        if self.awaited or self.spec.steps:
            # Whoever ends wakes those behind; nobody need drive them until then.
            return True
        moving = self.status in (JobStatus.PENDING, JobStatus.RUNNING, JobStatus.ROLLING_BACK)
        scheduled = self.status is JobStatus.PENDING and self.start_at is not None
        return not self.open and (scheduled or not moving) and not self.wants_chunks()

    def _may_dispatch(self) -> bool:
        if self.awaited:
            return False
        if self.status is JobStatus.PENDING:
            return self.start_at is None
        if self.status in (JobStatus.RUNNING, JobStatus.ROLLING_BACK):
            return True
        return self._starts_unsealed()

    def _starts_unsealed(self) -> bool:
        """Whether it is a draft whose items are worked as they come, without waiting for more."""
        return self.status is JobStatus.DRAFT and self.options.start is Start.EAGER

    def _is_uncapped(self) -> bool:
        """Whether what comes next is an undo, or a commit: its items have had their turn."""
        commit = bool(self.backlog) and self.backlog[0].cause is Cause.COMMIT
        return commit or self.status is JobStatus.ROLLING_BACK

    @property
    def unplanned(self) -> int:
        """How many items wait for a chunk."""
        return sum(len(entry.items) for entry in self.backlog)

    def _cut(
        self, room: int, may: Allowance, *, slow: bool, shared: Caps
    ) -> tuple[PlannedChunk, ...]:
        caps = self.caps.within(shared)
        size = planning.chunk_items(self.options, self.pace, slow=slow, caps=caps)
        chunks: list[PlannedChunk] = []
        left, items_left = portions.MAX_SPANS, may.items
        for entry in self.backlog:
            suspect = planning.is_suspect(entry.cause, entry.parent)
            most = self._room(entry, min(room, may.chunks))
            for piece in entry.pieces(size):
                # What may not be cut begins whole, and what follows waits the longer for it.
                cut = not entry.whole and len(piece) > items_left
                items = piece.take(items_left)[0] if cut else piece
                left -= portions.weight(items)
                if len(chunks) >= most or items_left <= 0 or (chunks and left < 0):
                    return tuple(chunks)
                items_left -= len(items)
                chunks.append(
                    PlannedChunk(
                        chunk=self.next_chunk + len(chunks),
                        cause=entry.cause,
                        items=items,
                        parent=entry.parent,
                        target=entry.target,
                        trial=entry.trial,
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
