"""Events: what happened to a job. Closed and versioned; stored under short aliases.

Each event repeats the job's status and counts as they are after it, so that a reader
of the events topic, of the audit trail or of the live stream needs no fold of its own.
Events hold no item contents: those are payloads, addressed by digest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from domain.archiving import ArchiveFile
from domain.commands import JobSpec
from domain.editing import Edited
from domain.errors import UnsupportedVersion
from domain.options import Caps, JobId, Limit, Priority
from domain.outcomes import ClosedChunk, CodeCounts, Counts, Deferred
from domain.ranges import Ranges
from domain.reversal import Part
from domain.schedule import Measured
from domain.steps import MAX_STEPS
from domain.values import Unless, Value


class JobStatus(StrEnum):
    """The life of a job; ``docs/state-machine.md`` draws the edges."""

    DRAFT = "draft"
    PENDING = "pending"
    AWAITING_APPROVAL = "awaiting_approval"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    FAILED = "failed"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    ROLLBACK_INCOMPLETE = "rollback_incomplete"
    REJECTED = "rejected"
    ARCHIVED = "archived"

    @property
    def terminal(self) -> bool:
        """Whether a job in this status does nothing more by itself."""
        return self in _TERMINAL


_TERMINAL = frozenset(
    {
        JobStatus.CANCELLED,
        JobStatus.COMPLETED,
        JobStatus.COMPLETED_WITH_ERRORS,
        JobStatus.FAILED,
        JobStatus.ROLLED_BACK,
        JobStatus.ROLLBACK_INCOMPLETE,
        JobStatus.REJECTED,
        JobStatus.ARCHIVED,
    }
)


class Cause(StrEnum):
    """Why a chunk was planned."""

    APPLY = "apply"
    RETRY = "retry"
    BISECT = "bisect"
    ROLLBACK = "rollback"
    REAPPLY = "reapply"
    COMMIT = "commit"

    @property
    def undoing(self) -> bool:
        """Whether the chunk puts records back instead of applying the operation."""
        return self in (Cause.ROLLBACK, Cause.REAPPLY)

    @property
    def alone(self) -> bool:
        """Whether what was planned before must be closed before the chunk is planned.

        An undo reverses the order of the commits, the death of a worker must point at one
        suspect, and what is committed as a whole must all be prepared.
        """
        return self.undoing or self in (Cause.BISECT, Cause.COMMIT)


class PlannedChunk(Value):
    """A chunk as it is dispatched. ``target`` is the chunk that an undo chunk puts back.

    ``trial`` is how often its items are tried with this time, by the job's own policy.
    """

    chunk: int
    cause: Cause
    items: Ranges
    parent: int | None = None
    target: int | None = None
    trial: int = Unless(1)


class Run(Value):
    """When the present run of a job began, and how many items were settled by then.

    Of an undo these are all that it does not put back.
    """

    at: datetime
    settled: int

    @classmethod
    def beginning(cls, at: datetime, counts: Counts) -> Self:
        """A run that begins now, at such counts."""
        return cls(at=at, settled=counts.total - counts.pending)


class JobEvent(BaseModel):
    """What every event carries. ``originator_id`` is the job id.

    ``run`` is told once it is another than the first, which began with ``started_at``, and of a
    first one before which some items were settled, as they are called like others.
    """

    model_config = ConfigDict(frozen=True)
    alias: ClassVar[str]
    schema_number: ClassVar[int] = 1

    originator_id: str
    originator_version: int
    at: datetime
    tenant: str
    actor: str
    command_id: str
    status: JobStatus
    counts: Counts
    started_at: datetime | None = None
    run: Run | None = Unless(None)


class JobSubmitted(JobEvent):
    """All items are there; the job may start, unless it awaits approval: then it says why.

    ``measured`` is how fast jobs of the operation went until then, of a job with a deadline;
    ``traceparent``, as of every first event, names the trace in which it came, as the W3C does.
    """

    alias = "job.submitted"
    spec: JobSpec
    items: int
    size: int
    sha256: str
    approval: str = Unless("")
    measured: Measured | None = Unless(None)
    traceparent: str = Unless("")


class JobApproved(JobEvent):
    """A second identity, the event's actor, lets the job start."""

    alias = "job.approved"
    reason: str = ""


class JobRejected(JobEvent):
    """A second identity, the event's actor, has ended the job before its start."""

    alias = "job.rejected"
    reason: str = ""


class JobHeld(JobEvent):
    """The job may be neither shredded nor archived until its hold is released."""

    alias = "job.held"
    reason: str = ""


class JobReleased(JobEvent):
    """The hold of the job is released."""

    alias = "job.released"
    reason: str = ""


class JobShredded(JobEvent):
    """What was sent to the job can be read no more; the event's actor has decided that."""

    alias = "job.shredded"
    reason: str


class JobArchived(JobEvent):
    """The job is put away for good, by the event's actor; ``was`` is how it had ended."""

    alias = "job.archived"
    was: JobStatus
    reason: str = ""


class JobEmptied(JobEvent):
    """What an archived job was worked with is in a file, and is given up in the database."""

    alias = "job.emptied"
    was: JobStatus
    file: ArchiveFile


KEEPING: tuple[type[JobEvent], ...] = (JobHeld, JobReleased, JobShredded, JobArchived)
"""After which the results of a job are what they were, and can still be read."""


class JobOpened(JobEvent):
    """A draft whose items follow."""

    alias = "job.opened"
    spec: JobSpec
    traceparent: str = Unless("")


class ItemsAppended(JobEvent):
    """A part of a draft's items has arrived, at positions ``first .. first + items - 1``.

    Taken from the results of another job, ``taken_at`` is the version that it had.
    """

    alias = "job.items_appended"
    part: int
    first: int
    items: int
    size: int
    sha256: str
    taken_at: int | None = Unless(None)


class JobSealed(JobEvent):
    """No more items follow; a draft that awaits approval from now on says why.

    ``measured`` as in JobSubmitted.
    """

    alias = "job.sealed"
    approval: str = Unless("")
    measured: Measured | None = Unless(None)


class ItemsEdited(JobEvent):
    """Items of a draft got new bodies, or are not to be worked: those are skipped."""

    alias = "job.items_edited"
    edited: Edited | None = None
    dropped: Ranges = Ranges()
    reason: str = ""


class RepeatsSkipped(JobEvent):
    """The items are skipped: others of the job are called the same, and they are worked."""

    alias = "job.repeats_skipped"
    items: Ranges


class JobStartDue(JobEvent):
    """The moment has come for which the job has waited; it may start."""

    alias = "job.start_due"


class JobDeadlinePassed(JobEvent):
    """The job's deadline has passed before its end; when it is to stop, JobStopped follows."""

    alias = "job.deadline_passed"
    deadline: datetime


class DependenciesMet(JobEvent):
    """The jobs that this one was to come after have ended as they should; it may start."""

    alias = "job.dependencies_met"


class JobSkipped(JobEvent):
    """The job is not done, because of the one that it names, and how that has ended.

    That is not as it was to end, or it has left nothing to do.
    """

    alias = "job.skipped"
    needs: JobId
    ended: JobStatus
    reason: str


class Child(Value):
    """A job of a batch, as the batch knows it; ``step`` is the number of the step that it does."""

    step: Annotated[int, Field(ge=0, le=MAX_STEPS)]
    job_id: JobId
    status: JobStatus
    counts: Counts


class StepsSubmitted(JobEvent):
    """A batch begins: a job with steps, each of which is a job of its own."""

    alias = "job.steps_submitted"
    spec: JobSpec
    traceparent: str = Unless("")


class ChildrenMoved(JobEvent):
    """Jobs of the batch have gone on; ``children`` are those that have."""

    alias = "job.children_moved"
    children: tuple[Child, ...]


class ChunksPlanned(JobEvent):
    """Chunks were cut and dispatched."""

    alias = "job.chunks_planned"
    generation: int
    chunks: tuple[PlannedChunk, ...]


class ChunksClosed(JobEvent):
    """Outcome rows were recorded, in the order of their commits.

    ``deferred`` are items that failed and are still pending, as they are tried again;
    ``named`` are the failures with codes that the job's limits name.
    """

    alias = "job.chunks_closed"
    chunks: tuple[ClosedChunk, ...]
    deferred: tuple[Deferred, ...] = Unless(())
    named: tuple[CodeCounts, ...] = Unless(())


class AttemptsDue(JobEvent):
    """The items have waited long enough: they may be tried for the ``attempt``-th time."""

    alias = "job.attempts_due"
    items: Ranges
    attempt: int


class JobPrepared(JobEvent):
    """Each item of an atomic job is prepared; what follows is the commit of them all."""

    alias = "job.prepared"


class JobPaused(JobEvent):
    """Nothing takes effect after this until the job is resumed.

    ``limit`` is the one that was hit, when nobody asked for the pause.
    """

    alias = "job.paused"
    epoch: int
    reason: str = ""
    limit: Limit | None = Unless(None)


class JobStopped(JobEvent):
    """The job has failed by a limit, or by its deadline; what was not attempted is skipped."""

    alias = "job.stopped"
    epoch: int
    limit: Limit | None = Unless(None)
    reason: str = ""


class JobResumed(JobEvent):
    """The job goes on."""

    alias = "job.resumed"
    reason: str = ""


class JobCancelling(JobEvent):
    """The job is going to be cancelled when what is in flight has ended; nothing more starts."""

    alias = "job.cancelling"
    reason: str = ""
    roll_back: bool = False


class JobCancelled(JobEvent):
    """The job was stopped for good; items not attempted are skipped."""

    alias = "job.cancelled"
    epoch: int
    reason: str = ""


class RetryStarted(JobEvent):
    """The named items, failed or not attempted before, are pending again.

    ``edited`` are those that got new bodies.
    """

    alias = "job.retry_started"
    items: Ranges
    reason: str = ""
    edited: Edited | None = Unless(None)


class UndoStarted(JobEvent):
    """A new generation puts records back; ``direction`` tells which way.

    ``stood`` is the status that the job had before it was undone for the first time.
    ``parts`` are what is put back, in this order, when not all that stands is, and ``steps``
    those of a batch; ``force`` overwrites what others wrote since.
    """

    alias = "job.undo_started"
    epoch: int
    generation: int
    direction: Literal[Cause.ROLLBACK, Cause.REAPPLY]
    stood: JobStatus
    reason: str = ""
    parts: tuple[Part, ...] = Unless(())
    steps: tuple[int, ...] = Unless(())
    force: bool = Unless(False)


class JobAdjusted(JobEvent):
    """Caps, priority and schedule as they are from now on.

    The epoch is another one when chunks that were in flight were called back.
    """

    alias = "job.adjusted"
    epoch: int
    caps: Caps
    priority: Priority
    start_at: datetime | None = Unless(None)
    deadline: datetime | None = Unless(None)
    reason: str = ""


class JobFinished(JobEvent):
    """The job has come to rest in ``status``."""

    alias = "job.finished"


class JobSnapshot(BaseModel):
    """The whole state of a job at a version; never the truth, only a shortcut."""

    model_config = ConfigDict(frozen=True)
    alias: ClassVar[str] = "job.snapshot"
    schema_number: ClassVar[int] = 1

    originator_id: str
    originator_version: int
    state: dict[str, Any]


EVENTS: dict[str, type[JobEvent]] = {
    event.alias: event
    for event in (
        JobSubmitted,
        JobOpened,
        ItemsAppended,
        JobSealed,
        JobApproved,
        JobRejected,
        ItemsEdited,
        RepeatsSkipped,
        JobStartDue,
        JobDeadlinePassed,
        StepsSubmitted,
        ChildrenMoved,
        DependenciesMet,
        JobSkipped,
        ChunksPlanned,
        ChunksClosed,
        AttemptsDue,
        JobPrepared,
        JobPaused,
        JobStopped,
        JobResumed,
        JobCancelling,
        JobCancelled,
        RetryStarted,
        UndoStarted,
        JobAdjusted,
        JobFinished,
        JobHeld,
        JobReleased,
        JobShredded,
        JobArchived,
        JobEmptied,
    )
}

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
UPCASTERS: dict[tuple[str, int], Upcaster] = {}
"""``(alias, schema) -> function`` that turns a stored state into the next schema's."""


def upcast(
    kind: type[JobEvent | JobSnapshot],
    state: dict[str, Any],
    stored: int,
    upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS,
) -> dict[str, Any]:
    """The fields of an event of schema ``stored`` as this release has them.

    Raises UnsupportedVersion for one that a later release wrote, or that none reads any more.
    """
    alias, present = kind.alias, kind.schema_number
    if stored > present:
        raise UnsupportedVersion(
            f"event {alias!r} has schema {stored}, this release reads up to {present}; "
            "upgrade the reader"
        )
    for number in range(stored, present):
        upcaster = upcasters.get((alias, number))
        if upcaster is None:
            raise UnsupportedVersion(
                f"event {alias!r} has schema {number}, which this release no longer reads; "
                "read it with an older release"
            )
        state = upcaster(state)
    return state
