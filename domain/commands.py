"""Commands: what a caller may ask of a job. Closed and versioned.

Every command names its job, tenant and actor and has an id; a command that comes
twice (same ``command_id``) takes effect once.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

MAX_ITEMS = 10_000_000
MAX_CHUNK = 10_000
MAX_PARAMS_BYTES = 256_000
"""Params travel in events, and a message has an end."""
MAX_REASON = 2000

_WORD = r"^[^\x00-\x1f\x7f]+$"
"""No control characters: PostgreSQL keeps no NUL, and a log line ends with the line."""


class Value(BaseModel):
    """An immutable value with no field but those declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Start(StrEnum):
    """When the first chunk may run."""

    SEALED = "sealed"
    EAGER = "eager"


class JobOptions(Value):
    """How a job is to be run; every field has a default.

    ``chunk_size`` bounds the failure domain (items that are worked in one chunk);
    several chunks may share a transaction.
    """

    chunk_size: Annotated[int, Field(ge=1, le=MAX_CHUNK)] | Literal["auto"] = "auto"
    start: Start = Start.SEALED


JobId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[0-9A-Za-z_-]+$")]
Reason = Annotated[str, Field(max_length=MAX_REASON)]
Tag = Annotated[str, Field(min_length=1, max_length=100)]


class JobSpec(Value):
    """What is to be done, without the items."""

    operation: Annotated[str, Field(min_length=1, max_length=200)]
    params: dict[str, Any] = {}
    options: JobOptions = JobOptions()
    name: Annotated[str, Field(max_length=4000)] = ""
    tags: Annotated[tuple[Tag, ...], Field(max_length=50)] = ()
    priority: Annotated[int, Field(ge=0, le=10)] = 5


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
    """The envelope that all commands share."""

    schema_version: Literal[1] = 1
    command_id: Annotated[str, Field(min_length=1, max_length=100, pattern=_WORD)]
    job_id: JobId
    tenant: Annotated[str, Field(min_length=1, max_length=100, pattern=_WORD)]
    actor: Annotated[str, Field(min_length=1, max_length=200, pattern=_WORD)]


class SubmitJob(BaseCommand):
    """A whole job: what to do and all its items."""

    type: Literal["submit_job"] = "submit_job"
    spec: JobSpec
    source: ItemSource


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
    """Stop for good; what was done stays, what was not attempted is skipped."""

    type: Literal["cancel_job"] = "cancel_job"
    reason: Reason = ""


class RetryJob(BaseCommand):
    """Work the failed items again, as new chunks of the same job."""

    type: Literal["retry_job"] = "retry_job"
    reason: Reason = ""


class UndoJob(BaseCommand):
    """Restore what the job changed; on a job rolled back, restore what the undo changed."""

    type: Literal["undo_job"] = "undo_job"
    reason: Reason = ""


class RecordOutcomes(BaseCommand):
    """A hint: outcome rows of this job may be waiting to be recorded."""

    type: Literal["record_outcomes"] = "record_outcomes"


Command = Annotated[
    SubmitJob
    | OpenJob
    | AppendItems
    | SealJob
    | PauseJob
    | ResumeJob
    | CancelJob
    | RetryJob
    | UndoJob
    | RecordOutcomes,
    Field(discriminator="type"),
]

COMMAND: TypeAdapter[Command] = TypeAdapter(Command)
