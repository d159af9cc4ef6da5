"""What of a job may be worked next, in which chunks. Nothing is changed here.

:class:`~domain.job.Job` emits what is cut here; who shares places asks how much there is.
"""

from __future__ import annotations

from domain import planning, portions
from domain.commands import Start
from domain.events import JobStatus, PlannedChunk
from domain.job_fold import JobFold
from domain.job_state import Backlog


class JobPlan(JobFold):
    """A job as the planner sees it."""

    def room(self, dispatches: int, *, slow: bool) -> int:
        """How many chunks that many messages may hold; of an undo one is under way."""
        if self.status is not JobStatus.ROLLING_BACK:
            return dispatches * planning.chunks_per_dispatch(self.options, self.pace, slow=slow)
        waiting = map(self._standing, self.backlog)
        pack = planning.undo_chunks_per_dispatch(waiting, self.pace, slow=slow)
        return min(dispatches, 1) * pack

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
