"""How a job waits for others, starts when they have ended, or is skipped. The rest is job.py's."""

from __future__ import annotations

from domain.dependencies import Ends, all_ended, spoiled, why_skipped
from domain.events import DependenciesMet, ItemsAppended, JobSkipped, JobStatus
from domain.job_record import Stamp
from domain.job_undo import JobUndo


class JobFollowing(JobUndo):
    """A job that may come after others."""

    def heed(self, stamp: Stamp, ends: Ends) -> None:
        """Start, or be skipped, if the ends of the jobs that it waits for say so."""
        awaited = self.awaited
        bad = spoiled(awaited, ends)
        if bad is not None:
            ended = ends[bad.job_id]
            self.skip(stamp, bad.job_id, ended, why_skipped(bad, ended))
        elif awaited and self.status is JobStatus.PENDING and all_ended(awaited, ends):
            self._emit(DependenciesMet, stamp)

    def skip(self, stamp: Stamp, needs: str, ended: JobStatus, reason: str) -> None:
        """End a job that has not begun, because of another one."""
        if not self.awaited:
            raise RuntimeError("only a job that waits for others is skipped because of one")
        self._emit(
            JobSkipped,
            stamp,
            status=JobStatus.CANCELLED,
            counts=self._abandoned(),
            needs=needs,
            ended=ended,
            reason=reason,
        )

    def feed(
        self, stamp: Stamp, *, part: int, items: int, size: int, sha256: str, taken_at: int
    ) -> None:
        """Add items that are results of the job which has that version."""
        self._emit(
            ItemsAppended,
            stamp,
            counts=self.counts.added(items),
            part=part,
            first=self.counts.total,
            items=items,
            size=size,
            sha256=sha256,
            taken_at=taken_at,
        )
