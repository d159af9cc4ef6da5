"""The terms of a job, which are changed while it waits or runs. The rest is job.py's."""

from __future__ import annotations

from domain.events import JobAdjusted, JobStatus, Run
from domain.job_keeping import JobKeeping
from domain.job_record import Stamp
from domain.options import Caps, Schedule
from domain.schedule import check_eager


class JobTerms(JobKeeping):
    """A job with caps, a priority and a schedule that may become others."""

    def adjust(
        self,
        stamp: Stamp,
        caps: Caps,
        priority: int,
        reason: str,
        *,
        schedule: Schedule,
        recalled: bool = False,
    ) -> None:
        """Go on under other caps, with another priority, at other moments.

        ``recalled``: the caller has closed every open chunk before, by a higher epoch.
        """
        self.check("adjust")
        if self._starts_unsealed() and schedule.start_at != self.start_at:
            check_eager(schedule.start_at)
        if recalled:
            self._require_quiet()
        # Caps hold no undo back: its run goes on.
        begins = (
            caps != self.caps
            and self.started_at is not None
            and self.status is not JobStatus.ROLLING_BACK
        )
        said = {"run": Run.beginning(stamp.at, self.counts)} if begins else {}
        self._emit(
            JobAdjusted,
            stamp,
            **said,
            epoch=self.epoch + recalled,
            caps=caps,
            priority=priority,
            start_at=schedule.start_at,
            deadline=schedule.deadline,
            reason=reason,
        )

    def _require_quiet(self) -> None:
        if self.open:
            raise RuntimeError("close the open chunks before the confirming event is stored")
