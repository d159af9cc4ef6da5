"""How a batch follows its children, and begins to undo them. The rest is job.py's.

A batch is a job with steps. It has no chunks: each step is a job of its own, with the batch
as its parent, and the items of all of them are the batch's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from domain.commands import JobSpec
from domain.errors import WrongState
from domain.events import (
    Cause,
    Child,
    ChildrenMoved,
    JobCancelling,
    JobFinished,
    JobStatus,
    Run,
    StepsSubmitted,
    UndoStarted,
)
from domain.job_following import JobFollowing
from domain.job_record import Stamp
from domain.outcomes import Counts
from domain.steps import behind

Steps = frozenset[int]
"""Some steps of a batch, by number."""
NO_STEPS: Steps = frozenset()
_AT_FIRST = (JobStatus.DRAFT, JobStatus.PENDING, JobStatus.AWAITING_APPROVAL)


class JobBatch(JobFollowing):
    """A job that may have steps."""

    def submit_steps(
        self, stamp: Stamp, tenant: str, spec: JobSpec, children: Sequence[Child]
    ) -> None:
        """Begin a batch whose jobs have just been made."""
        counts = _sum(children)
        status = JobStatus.PENDING
        self._emit(StepsSubmitted, stamp, status=status, counts=counts, tenant=tenant, spec=spec)
        self.hear(stamp, dict(enumerate(children)))

    def hear(self, stamp: Stamp, told: Mapping[int, Child]) -> None:
        """Follow the children as they are now; one that was put away follows nobody."""
        moved = {n: child for n, child in told.items() if child != self.children[n]}
        if not moved or self.archived is not None:
            return
        children = [moved.get(number, child) for number, child in enumerate(self.children)]
        self._emit(
            ChildrenMoved,
            stamp,
            status=self._led_to(children),
            counts=_sum(children),
            children=tuple(moved.values()),
        )

    def stop_steps(self, stamp: Stamp, reason: str, *, roll_back: bool) -> None:
        """Cancel once all children have ended, of which each has been told so."""
        self._emit(
            JobCancelling,
            stamp,
            status=JobStatus.CANCELLING,
            reason=reason,
            roll_back=roll_back or self.is_to_roll_back,
        )

    def standing(self, reading: Steps) -> Steps:
        """The steps of which something stands; those that only read have changed nothing."""
        done = {n for n, child in enumerate(self.children) if child.counts.succeeded}
        return frozenset(done - reading)

    def undo_steps(
        self, stamp: Stamp, reason: str, steps: Steps, *, force: bool, reading: Steps = NO_STEPS
    ) -> None:
        """Begin to undo those steps, the last ones first; see ``next_to_undo``."""
        standing = sorted(steps & self.standing(reading))
        if not standing:
            raise WrongState(
                "these steps have changed nothing that stands; there is nothing to undo"
            )
        put_back = sum(self.children[number].counts.succeeded for number in standing)
        self._emit(
            UndoStarted,
            stamp,
            status=JobStatus.ROLLING_BACK,
            run=Run(at=stamp.at, settled=self.counts.total - put_back),
            epoch=self.epoch + 1,
            generation=self.generation + 1,
            direction=Cause.ROLLBACK,
            stood=self._stood(),
            reason=reason,
            steps=tuple(standing),
            force=force,
        )

    def next_to_undo(self, reading: Steps = NO_STEPS) -> list[int]:
        """The steps whose undo may begin: of all that come after them nothing stands."""
        moving = {
            n for n, child in enumerate(self.children) if child.status is JobStatus.ROLLING_BACK
        }
        first = self.standing(reading) | moving
        return [number for number in self.undoing if not first & behind(self.spec.steps, [number])]

    def end_undo(self, stamp: Stamp, reading: Steps = NO_STEPS) -> None:
        """Come to rest when all jobs are, and say whether something stands.

        Some may have been retried by themselves while others were being put back.
        """
        if not all(child.status.terminal for child in self.children):
            return
        left = self.standing(reading)
        status = JobStatus.ROLLBACK_INCOMPLETE if left else JobStatus.ROLLED_BACK
        self._emit(JobFinished, stamp, status=status)

    def _led_to(self, children: Sequence[Child]) -> JobStatus:
        """The batch's status as its children are."""
        ended = all(child.status.terminal for child in children)
        if self.status is JobStatus.ROLLING_BACK or (
            not ended and self.status in (JobStatus.PAUSED, JobStatus.CANCELLING)
        ):
            return self.status
        if ended:
            cancelled = self.status is JobStatus.CANCELLING
            return JobStatus.CANCELLED if cancelled else _ending(children)
        if self.status is JobStatus.PENDING and all(c.status in _AT_FIRST for c in children):
            return JobStatus.PENDING
        return JobStatus.RUNNING


def _ending(children: Sequence[Child]) -> JobStatus:
    """How a batch has ended whose children have."""
    if all(child.status is JobStatus.COMPLETED for child in children):
        return JobStatus.COMPLETED
    counts = _sum(children)
    if counts.succeeded or counts.planned:
        return JobStatus.COMPLETED_WITH_ERRORS
    return JobStatus.ROLLED_BACK if counts.rolled_back else JobStatus.FAILED


def _sum(children: Sequence[Child]) -> Counts:
    names = Counts.model_fields
    return Counts(**{name: sum(getattr(c.counts, name) for c in children) for name in names})
