"""How a job at rest is kept: held, released, and what was sent to it shredded."""

from __future__ import annotations

from domain.errors import InvalidCommand
from domain.events import JobHeld, JobReleased, JobShredded
from domain.job_approval import JobApproval
from domain.job_record import Stamp


class JobKeeping(JobApproval):
    """A job of which somebody may decide what is kept."""

    def hold(self, stamp: Stamp, reason: str) -> None:
        """Let nothing of the job be shredded."""
        self.check("hold")
        self._emit(JobHeld, stamp, reason=reason)

    def lift_hold(self, stamp: Stamp, reason: str) -> None:
        """Release the hold."""
        self.check("release")
        self._emit(JobReleased, stamp, reason=reason)

    def shred(self, stamp: Stamp, reason: str) -> None:
        """Make what was sent unreadable; the caller destroys the keys in the same transaction."""
        self.check("shred")
        if not reason.strip():
            raise InvalidCommand(
                "what is shredded is gone for good; say why, in the reason", pointer="/reason"
            )
        self._emit(JobShredded, stamp, reason=reason)
