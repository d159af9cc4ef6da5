"""Commands: what a caller may ask of a job. Closed and versioned.

Every command names its job, tenant and actor and has an id; a command that comes
twice (same ``command_id``) takes effect once.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, Field, TypeAdapter

from domain.options import (
    MAX_CODES,
    MAX_ITEMS,
    Code,
    Concurrency,
    JobId,
    JobOptions,
    Priority,
    Rate,
)
from domain.record_filter import RecordSelection
from domain.steps import MAX_STEPS, Step, StepName
from domain.values import WORD, Unless, Value

MAX_PARAMS_BYTES = 256_000
"""Params travel in events, and a message has an end."""
MAX_REASON = 2000
MAX_NAMED = 10_000
"""Items that a command may name one by one."""
MAX_RECORD_ID = 2**63 - 1
"""No database counts further."""

Signature = Annotated[str, Field(min_length=1, max_length=2000)]
_NAMED = Field(max_length=MAX_NAMED)
ChunkNumber = Annotated[int, Field(ge=0, le=2**31 - 1)]
Reason = Annotated[str, Field(max_length=MAX_REASON)]
Tag = Annotated[str, Field(min_length=1, max_length=100)]


class JobSpec(Value):
    """What is to be done, without the items; ``select`` is where they came from, if not sent.

    A batch has ``steps``, each of which is a job with the batch as its ``parent``.
    """

    operation: Annotated[str, Field(min_length=1, max_length=200)]
    params: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies it
    options: JobOptions = JobOptions()
    name: Annotated[str, Field(max_length=4000)] = ""
    tags: Annotated[tuple[Tag, ...], Field(max_length=50)] = ()
    priority: Priority = 5
    select: RecordSelection | None = Unless(None)
    steps: Annotated[tuple[Step, ...], Field(max_length=MAX_STEPS)] = Unless(())
    parent: JobId | None = Unless(None)


class InlineItems(Value):
    """Items that travel in the command itself (up to 900 KB)."""

    kind: Literal["inline"] = "inline"
    items: tuple[Any, ...]


class UploadedItems(Value):
    """Items that were stored as payload parts before the command was sent."""

    kind: Literal["upload"] = "upload"
    upload_id: JobId
    items: Annotated[int, Field(ge=0, le=MAX_ITEMS)]
    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


ItemSource = Annotated[InlineItems | UploadedItems, Field(discriminator="kind")]


class BaseCommand(Value):
    """The envelope that all commands share.

    With ``if_version`` it is refused unless the job is at that version.
    """

    schema_version: Literal[1] = 1
    command_id: Annotated[str, Field(min_length=1, max_length=100, pattern=WORD)]
    job_id: JobId
    tenant: Annotated[str, Field(min_length=1, max_length=100, pattern=WORD)]
    actor: Annotated[str, Field(min_length=1, max_length=200, pattern=WORD)]
    if_version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Unless(None)


class SubmitJob(BaseCommand):
    """A whole job: what to do and all its items."""

    type: Literal["submit_job"] = "submit_job"
    spec: JobSpec
    source: ItemSource


class SentStep(Step):
    """A step with its items; without any when they are results of another step."""

    source: ItemSource | None = None


class SubmitBatch(BaseCommand):
    """A batch of jobs that come after one another."""

    type: Literal["submit_batch"] = "submit_batch"
    name: Annotated[str, Field(max_length=4000)] = ""
    tags: Annotated[tuple[Tag, ...], Field(max_length=50)] = ()
    priority: Priority = 5
    steps: Annotated[tuple[SentStep, ...], Field(min_length=1, max_length=MAX_STEPS)]


class OpenJob(BaseCommand):
    """A draft whose items follow in parts."""

    type: Literal["open_job"] = "open_job"
    spec: JobSpec


class AppendItems(BaseCommand):
    """One more part of a draft's items; parts are numbered from 0 and each counts once."""

    type: Literal["append_items"] = "append_items"
    part: Annotated[int, Field(ge=0, le=MAX_ITEMS)]
    source: ItemSource


class SealJob(BaseCommand):
    """No more parts; ``items``, when given, must equal what has arrived."""

    type: Literal["seal_job"] = "seal_job"
    items: Annotated[int, Field(ge=0, le=MAX_ITEMS)] | None = None


class PauseJob(BaseCommand):
    """Stop; once confirmed, nothing more takes effect."""

    type: Literal["pause_job"] = "pause_job"
    reason: Reason = ""


class ResumeJob(BaseCommand):
    """Go on after a pause."""

    type: Literal["resume_job"] = "resume_job"
    reason: Reason = ""


class CancelJob(BaseCommand):
    """Stop for good; what was not attempted is skipped.

    What was done stays, or with ``roll_back`` is put back. What is in flight is stopped, or
    with ``graceful`` ends first.
    """

    type: Literal["cancel_job"] = "cancel_job"
    reason: Reason = ""
    roll_back: bool = Unless(False)
    graceful: bool = Unless(False)


class Edit(Value):
    """The new body of an item."""

    item: Annotated[int, Field(ge=0, le=MAX_ITEMS)]
    body: Any


class Selection(Value):
    """Which items are worked again: the failed ones, unless one field says otherwise.

    ``items`` names positions of failed or unattempted items; ``codes`` and ``signatures``
    keep those of the failed that have one of each; ``unattempted`` takes those that were
    left when the job was stopped. ``edits`` names items and gives them other bodies;
    ``patch`` is merged (RFC 7396) into the body of each chosen item.
    """

    items: Annotated[tuple[Annotated[int, Field(ge=0, le=MAX_ITEMS)], ...], _NAMED] = ()
    codes: Annotated[tuple[Code, ...], Field(max_length=MAX_CODES)] = ()
    signatures: Annotated[tuple[Signature, ...], Field(max_length=MAX_CODES)] = ()
    unattempted: bool = False
    edits: Annotated[tuple[Edit, ...], _NAMED] = ()
    patch: dict[str, Any] | None = None

    @property
    def by_error(self) -> bool:
        """Whether the failed ones are chosen by what is wrong with them."""
        return bool(self.codes or self.signatures)


class RetryJob(BaseCommand):
    """Work items again, as new chunks of the same job: the failed ones, or those selected."""

    type: Literal["retry_job"] = "retry_job"
    reason: Reason = ""
    select: Selection = Unless(Selection())


def _of_a_possible_id(name: str) -> str:
    if int(name.rpartition("/")[2]) > MAX_RECORD_ID:
        raise ValueError(f"ids of records are at most {MAX_RECORD_ID}; correct it")
    return name


RecordName = Annotated[
    str,
    Field(max_length=200, pattern=r"^[^/\x00-\x1f]+/[0-9]{1,19}$"),
    AfterValidator(_of_a_possible_id),
]
"""A record as conflicts name it: table and id."""


class UndoSelection(Value):
    """What of a job is undone: all that stands, unless one field names a part of it.

    ``items`` are positions, ``chunks`` numbers of chunks, ``records`` stand for the items
    that wrote to them. Items that are put back only together are taken together.
    """

    items: Annotated[tuple[Annotated[int, Field(ge=0, le=MAX_ITEMS)], ...], _NAMED] = ()
    chunks: Annotated[tuple[Annotated[int, Field(ge=0, le=MAX_ITEMS)], ...], _NAMED] = ()
    records: Annotated[tuple[RecordName, ...], _NAMED] = ()

    @property
    def whole(self) -> bool:
        """Whether all that stands is meant."""
        return not (self.items or self.chunks or self.records)


class BatchUndo(Value):
    """What of a batch is undone: all of it, what is behind a savepoint, or a branch.

    A branch is a step with all that comes after it.
    """

    to: StepName | None = None
    branch: StepName | None = None


class UndoJob(BaseCommand):
    """Restore what the job changed; on a job rolled back, restore what the undo changed.

    With ``force`` what others wrote since is overwritten as well, and kept for an undo of it.
    """

    type: Literal["undo_job"] = "undo_job"
    reason: Reason = ""
    select: UndoSelection = Unless(UndoSelection())
    batch: BatchUndo = Unless(BatchUndo())
    force: bool = Unless(False)


class ApproveJob(BaseCommand):
    """Let a job start that awaits approval; its actor must not be one of those who made it."""

    type: Literal["approve_job"] = "approve_job"
    reason: Reason = ""


class RejectJob(BaseCommand):
    """End a job that awaits approval; its actor as in ApproveJob."""

    type: Literal["reject_job"] = "reject_job"
    reason: Reason = ""


class HoldJob(BaseCommand):
    """A job that is at rest may be neither shredded nor archived until the hold is released."""

    type: Literal["hold_job"] = "hold_job"
    reason: Reason = ""


class ReleaseJob(BaseCommand):
    """Release a hold."""

    type: Literal["release_job"] = "release_job"
    reason: Reason = ""


class ShredJob(BaseCommand):
    """Make what was sent to a job that is at rest unreadable, for good; needs a reason."""

    type: Literal["shred_job"] = "shred_job"
    reason: Reason = ""


class ArchiveJob(BaseCommand):
    """Put a job that is at rest away, for good: nothing more is done with it."""

    type: Literal["archive_job"] = "archive_job"
    reason: Reason = ""


class Cap(StrEnum):
    """The caps, by name."""

    RATE = "rate"
    CONCURRENCY = "concurrency"


class Moment(StrEnum):
    """The moments of a job's schedule, by name."""

    START_AT = "start_at"
    DEADLINE = "deadline"


_LIFTED = Field(max_length=len(Cap) + len(Moment))


class Adjustment(Value):
    """Other caps, another priority, another schedule; what is not named stays as it is.

    ``lift`` names what holds no longer; a job without its ``start_at`` starts now.
    """

    rate: Rate | None = None
    concurrency: Concurrency | None = None
    lift: Annotated[tuple[Cap | Moment, ...], _LIFTED] = ()
    priority: Priority | None = None
    start_at: AwareDatetime | None = Unless(None)
    deadline: AwareDatetime | None = Unless(None)
    reason: Reason = ""


class AdjustJob(Adjustment, BaseCommand):
    """Change caps, priority and schedule while the job waits or runs."""

    type: Literal["adjust_job"] = "adjust_job"


class Editing(Value):
    """Other bodies for items of a draft, and items that are not to be worked."""

    edits: Annotated[tuple[Edit, ...], _NAMED] = ()
    drop: Annotated[tuple[Annotated[int, Field(ge=0, le=MAX_ITEMS)], ...], _NAMED] = ()
    reason: Reason = ""


class EditItems(Editing, BaseCommand):
    """Edit a draft; the old bodies are kept beside the new ones."""

    type: Literal["edit_items"] = "edit_items"


class RecordOutcomes(BaseCommand):
    """A hint: outcome rows of this job may be waiting to be recorded.

    ``chunks`` are those whose outcomes it is about; none: anything may be waiting.
    """

    type: Literal["record_outcomes"] = "record_outcomes"
    chunks: Annotated[tuple[ChunkNumber, ...], _NAMED] = Unless(())


Command = Annotated[
    SubmitJob
    | SubmitBatch
    | OpenJob
    | AppendItems
    | SealJob
    | PauseJob
    | ResumeJob
    | CancelJob
    | RetryJob
    | UndoJob
    | ApproveJob
    | RejectJob
    | HoldJob
    | ReleaseJob
    | ShredJob
    | ArchiveJob
    | AdjustJob
    | EditItems
    | RecordOutcomes,
    Field(discriminator="type"),
]

COMMAND: TypeAdapter[Command] = TypeAdapter(Command)


def uploads_of(command: BaseCommand) -> list[str]:
    """The ids of the uploads that a command brings."""
    sources: list[ItemSource | None] = []
    if isinstance(command, SubmitBatch):
        sources = [step.source for step in command.steps]
    elif isinstance(command, SubmitJob | AppendItems):
        sources = [command.source]
    return [source.upload_id for source in sources if isinstance(source, UploadedItems)]
