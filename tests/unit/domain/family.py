"""A batch told step by step, for tests: its children are what the story says."""

from __future__ import annotations

from domain.commands import JobSpec
from domain.events import Child, JobStatus
from domain.job_batch import NO_STEPS, Steps
from domain.outcomes import Counts
from domain.steps import BATCH, Step, child_id, to_undo
from tests.unit.domain.story import Story

STATUSES = {
    "new": (JobStatus.PENDING, Counts(pending=2)),
    "runs": (JobStatus.RUNNING, Counts(pending=1, succeeded=1)),
    "paused": (JobStatus.PAUSED, Counts(pending=2)),
    "done": (JobStatus.COMPLETED, Counts(succeeded=2)),
    "failed": (JobStatus.FAILED, Counts(failed=2)),
    "skipped": (JobStatus.CANCELLED, Counts(skipped=2)),
    "rolling": (JobStatus.ROLLING_BACK, Counts(succeeded=2)),
    "back": (JobStatus.ROLLED_BACK, Counts(rolled_back=2)),
    "stopped": (JobStatus.FAILED, Counts(skipped=2)),
    "done again": (JobStatus.COMPLETED, Counts(succeeded=1, conflict=1)),
    "back but one": (JobStatus.ROLLED_BACK, Counts(rolled_back=1, conflict=1)),
    "stuck": (JobStatus.ROLLBACK_INCOMPLETE, Counts(succeeded=1, rolled_back=1)),
}
STEPS = (
    Step(name="load", operation="shop.load", savepoint="loaded"),
    Step(name="price", operation="shop.reprice", after=("load",)),
    Step(name="tell", operation="shop.mail", after=("price",)),
)


class Batch(Story):
    """A batch of three steps, one behind the other."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = JobSpec(operation=BATCH, name="Spring prices", steps=STEPS)
        children = [self._child(number, "new") for number in range(len(STEPS))]
        self.job.submit_steps(self.stamp, "local", self.spec, children)

    def _child(self, number: int, how: str) -> Child:
        status, counts = STATUSES[how]
        return Child(
            step=number, job_id=child_id(self.job.id, number), status=status, counts=counts
        )

    def hear(self, *hows: str) -> Batch:
        """The children are so now, step by step."""
        told = {number: self._child(number, how) for number, how in enumerate(hows)}
        self.job.hear(self.stamp, told)
        return self

    def stop(self, *, roll_back: bool = False) -> Batch:
        self.job.check("cancel")
        self.job.stop_steps(self.stamp, "wrong file", roll_back=roll_back)
        return self

    def undo_steps(
        self, savepoint: str = "", branch: str = "", *, reading: Steps = NO_STEPS
    ) -> Batch:
        self.job.check("undo")
        steps = to_undo(STEPS, savepoint, branch)
        self.job.undo_steps(self.stamp, "mistake", steps, force=False, reading=reading)
        return self

    def end_undo(self, *, reading: Steps = NO_STEPS) -> Batch:
        self.job.end_undo(self.stamp, reading)
        return self
