"""How a job waits for a second identity, and what that may say. The rest is job.py's."""

from __future__ import annotations

from domain.errors import OwnJob
from domain.events import JobApproved, JobRejected, JobStatus
from domain.job_batch import JobBatch
from domain.job_record import Stamp


class JobApproval(JobBatch):
    """A job that may need approval before anything of it runs."""

    def approve(self, stamp: Stamp, reason: str) -> None:
        """Let the job start; refuses who has had a hand in it."""
        self.check("approve")
        self._require_second(stamp, "approve")
        self._emit(JobApproved, stamp, status=JobStatus.PENDING, reason=reason)

    def reject(self, stamp: Stamp, reason: str) -> None:
        """End the job before it starts; refuses who has had a hand in it."""
        self.check("reject")
        self._require_second(stamp, "reject")
        self._emit(
            JobRejected,
            stamp,
            status=JobStatus.REJECTED,
            counts=self._abandoned(),
            reason=reason,
        )

    def _require_second(self, stamp: Stamp, verb: str) -> None:
        if stamp.actor in (self.created_by, *self.authors):
            raise OwnJob(
                f"{stamp.actor} has submitted the job and cannot {verb} it; let somebody else do "
                "so, or cancel it"
            )
