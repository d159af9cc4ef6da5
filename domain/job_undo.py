"""Undo: how a job begins to put records back, on demand or by itself, and how that ends."""

from __future__ import annotations

from collections.abc import Sequence

from domain.errors import WrongState
from domain.events import JobStatus, Run, UndoStarted
from domain.job_record import JobRecord, Stamp
from domain.reversal import Part


class JobUndo(JobRecord):
    """A job that can be undone."""

    def undo(
        self, stamp: Stamp, reason: str, *, parts: Sequence[Part] = (), force: bool = False
    ) -> None:
        """Begin to put records back; on a job rolled back, to apply them again.

        ``parts`` are what is put back when not all that stands is, in the order of the undo;
        with ``force`` what others wrote since is overwritten.
        """
        self.check_undo()
        self._begin_undo(stamp, reason, stood=self._stood(), parts=tuple(parts), force=force)

    def check_undo(self) -> None:
        """Raise WrongState unless an undo is allowed and has something to put back."""
        self.check("undo")
        if not self.undo_targets(self.undo_direction):
            raise WrongState("the job has changed nothing that stands, so there is nothing to undo")

    def _begin_undo(
        self,
        stamp: Stamp,
        reason: str,
        *,
        stood: JobStatus,
        parts: tuple[Part, ...] = (),
        force: bool = False,
    ) -> None:
        direction = self.undo_direction
        left_alone = self.counts.total - self.to_put_back(direction, parts)
        self._emit(
            UndoStarted,
            stamp,
            status=JobStatus.ROLLING_BACK,
            run=Run(at=stamp.at, settled=left_alone),
            epoch=self.epoch + 1,
            generation=self.generation + 1,
            direction=direction,
            stood=stood,
            reason=reason,
            parts=parts,
            force=force,
        )
