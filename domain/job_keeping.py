"""How a job at rest is kept: held, released, shredded, and put away for good."""

from __future__ import annotations

from datetime import datetime

from domain.archiving import ArchiveFile
from domain.errors import InvalidCommand
from domain.events import JobArchived, JobEmptied, JobHeld, JobReleased, JobShredded, JobStatus
from domain.job_approval import JobApproval
from domain.job_record import Stamp


class JobKeeping(JobApproval):
    """A job of which somebody may decide what is kept."""

    # -- questions ----------------------------------------------------------------

    @property
    def shreddable_since(self) -> datetime | None:
        """Since when its items might have been shredded: its rest. None when they may not be."""
        in_the_clear = self.emptied is not None and not self.emptied.sealed
        if self.held or self.shredded or in_the_clear or self.spec.steps:
            return None
        return self.finished_at

    @property
    def archivable_since(self) -> datetime | None:
        """Since when it might have been put away: its rest. None when it may not be."""
        return None if self.held or self.archived else self.finished_at

    @property
    def awaits_file(self) -> bool:
        """Whether it is put away, and what it was worked with may be moved to a file."""
        return self.archived is not None and not self.held and self.emptied is None

    # -- commands -----------------------------------------------------------------

    def hold(self, stamp: Stamp, reason: str) -> None:
        """Let the job be neither shredded nor put away."""
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

    def archive(self, stamp: Stamp, reason: str) -> None:
        """Put the job away."""
        self.check("archive")
        status = JobStatus.ARCHIVED
        self._emit(JobArchived, stamp, status=status, was=self.status, reason=reason)

    def empty(self, stamp: Stamp, file: ArchiveFile) -> None:
        """Give up what the job was worked with; the file is safe on its disk."""
        if self.archived is None or not self.awaits_file:
            raise RuntimeError("only a job that is archived and not held is emptied, and once")
        self._emit(JobEmptied, stamp, was=self.archived.was, file=file)
