"""Envelope: how messages look on the wire. JSON values, bytes keys; closed and versioned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeVar, get_args

import orjson
from pydantic import Field, NonNegativeFloat, NonNegativeInt, TypeAdapter, ValidationError

from domain.commands import (
    COMMAND,
    AppendItems,
    BaseCommand,
    Command,
    EditItems,
    InlineItems,
    OpenJob,
    RecordOutcomes,
    RetryJob,
    SubmitBatch,
    SubmitJob,
)
from domain.errors import MessageUnreadable, UnsupportedVersion
from domain.events import EVENTS, JobEvent, upcast
from domain.options import JobId
from domain.values import Unless, Value
from streams import topics

T = TypeVar("T")
Headers = tuple[tuple[str, bytes], ...]

SCHEMA = 1
"""The newest schema of commands, work and outcome messages that this release reads."""
Number = Annotated[int, Field(ge=0, le=2**31 - 1)]
"""What the columns that it is compared with can hold."""

WORK_MODE = "work-mode"
"""The header of work that is not sequential."""

ENGINE = "engine"
"""Tenant and actor of the hints that the engine sends itself; they decide nothing."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to be sent: where to, under which key, what.

    A ``partition`` is for messages that are sent one by one; without one, the key decides.
    """

    topic: str
    key: bytes
    value: bytes
    headers: Headers = ()
    partition: int | None = None


class WorkChunk(Value):
    """A chunk of a dispatch, at the attempt that may claim it."""

    chunk: Number
    attempt: Number


class WorkMode(StrEnum):
    """What else of its topic a worker's slot may work beside a message.

    ``sequential``: what is concurrent. ``concurrent``: anything, as it takes a few milliseconds
    and should wait for nothing that takes longer. ``exclusive``: nothing. That is for a suspect:
    one more death convicts it, whoever has died of what.
    """

    SEQUENTIAL = "sequential"
    CONCURRENT = "concurrent"
    EXCLUSIVE = "exclusive"


def mode_of(headers: Headers) -> WorkMode:
    """What the headers of work say; a mode that only a later release knows is the first one."""
    said = dict(headers).get(WORK_MODE, b"").decode(errors="replace")
    try:
        return WorkMode(said)
    except ValueError:
        return WorkMode.SEQUENTIAL


class Work(Value):
    """A hint to a worker: these chunks wait; the chunk rows are the truth."""

    schema_version: Literal[1] = 1
    job_id: JobId
    operation: Annotated[str, Field(min_length=1, max_length=200)]
    epoch: Number
    chunks: tuple[WorkChunk, ...]


class ChunkOutcome(Value):
    """How many items of a chunk came to what; ``duration_ms`` is the work's own time."""

    chunk: NonNegativeInt
    attempt: NonNegativeInt
    succeeded: NonNegativeInt
    failed: NonNegativeInt
    skipped: NonNegativeInt
    rolled_back: NonNegativeInt
    conflict: NonNegativeInt
    planned: NonNegativeInt = Unless(0)
    duration_ms: NonNegativeFloat


class ChunksCompleted(Value):
    """The outcomes of chunks are stored; chunks that were packed together come together."""

    schema_version: Literal[1] = 1
    type: Literal["chunks_completed"] = "chunks_completed"
    job_id: str
    tenant: str
    operation: str
    chunks: tuple[ChunkOutcome, ...]


class ChunksFailed(Value):
    """The outcomes of chunks are stored, and in none of them an item succeeded."""

    schema_version: Literal[1] = 1
    type: Literal["chunks_failed"] = "chunks_failed"
    job_id: str
    tenant: str
    operation: str
    chunks: tuple[ChunkOutcome, ...]


class ItemsProgressed(Value):
    """Items of slow chunks were done since the last stored event; a hint for live readers."""

    schema_version: Literal[1] = 1
    type: Literal["items_progressed"] = "items_progressed"
    job_id: str
    tenant: str
    chunk: NonNegativeInt
    succeeded: NonNegativeInt
    failed: NonNegativeInt
    skipped: NonNegativeInt


class DecisionStatus(StrEnum):
    """What became of a command; ``held`` is on the dead-letter topic and may come again."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    HELD = "held"


class Problem(Value):
    """Why a command was not accepted: a stable code, the remedy, a JSON pointer or nothing."""

    code: str
    message: str
    pointer: str = ""


class CommandDecided(Value):
    """The answer to a command: what became of it, and the job's version after it.

    A command that comes again is answered again, in the same words.
    """

    schema_version: Literal[1] = 1
    type: Literal["command_decided"] = "command_decided"
    job_id: JobId
    tenant: str
    command_id: str
    command: Annotated[str, Field(max_length=100)]
    status: DecisionStatus
    version: NonNegativeInt
    problem: Problem | None = None


OutcomeMessage = Annotated[
    ChunksCompleted | ChunksFailed | ItemsProgressed | CommandDecided, Field(discriminator="type")
]
OUTCOME: TypeAdapter[OutcomeMessage] = TypeAdapter(OutcomeMessage)


def encode(message: Value) -> bytes:
    """The JSON bytes of a message."""
    return message.__pydantic_serializer__.to_json(message)


_IDENTITY = {"originator_id", "originator_version"}
"""Fields of a stored event that go by other names on the wire."""


def encode_event(position: int, event: JobEvent) -> bytes:
    """An event as it is published: its stored fields, alias, schema and log position."""
    document: dict[str, Any] = {
        "schema_version": event.schema_number,
        "type": event.alias,
        "position": position,
        "job_id": event.originator_id,
        "version": event.originator_version,
    }
    fields = event.__pydantic_serializer__.to_json(event, exclude=_IDENTITY)
    return orjson.dumps(document)[:-1] + b"," + fields[1:]


def decode_event(
    value: bytes | None, *, known: Callable[[str, int], bool] = lambda _job_id, _version: False
) -> JobEvent | None:
    """A published event, or None when this release does not know its kind.

    Also None, before the work of reading it, when the caller says of job and version that
    it is ``known``.
    """
    if value is None:
        raise MessageUnreadable("the event has no value")
    try:
        document: dict[str, Any] = orjson.loads(value)
        kind = EVENTS.get(document["type"])
        if kind is None or document["schema_version"] > kind.schema_number:
            return None
        if known(document["job_id"], document["version"]):
            return None
        document["originator_id"] = document.pop("job_id")
        document["originator_version"] = document.pop("version")
        return kind.model_validate(upcast(kind, document, document.pop("schema_version")))
    except (ValueError, KeyError, TypeError, AttributeError, UnsupportedVersion) as error:
        raise MessageUnreadable(f"the event is not readable: {error}") from error


def decode_command(value: bytes | None) -> Command:
    """The command; raises UnsupportedVersion or MessageUnreadable, which name the field."""
    command = _decode(COMMAND, value, "command")
    if isinstance(command, _OPEN):
        _check_free(command, value or b"")
    return command


def decode_work(value: bytes | None) -> Work:
    """The work message; raises as ``decode_command``."""
    return _decode(_WORK, value, "work message")


def decode_outcome(value: bytes | None) -> OutcomeMessage | None:
    """The outcome message, or None when this release does not know its kind."""
    try:
        return _decode(OUTCOME, value, "outcome message")
    except UnsupportedVersion:
        return None


_WORK: TypeAdapter[Work] = TypeAdapter(Work)
_Open = SubmitJob | OpenJob | AppendItems | SubmitBatch | RetryJob | EditItems
_OPEN = get_args(_Open)
"""Commands with something that is nobody's to define but the operation's."""


def _decode(adapter: TypeAdapter[T], value: bytes | None, what: str) -> T:
    if value is None:
        raise MessageUnreadable(f"the {what} has no value")
    try:
        return adapter.validate_json(value)
    except ValidationError as error:
        if _is_newer(value):
            raise UnsupportedVersion(
                f"the {what} has a schema version that this release does not read; upgrade it",
                pointer="/schema_version",
            ) from error
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        pointer = "/" + "/".join(str(part) for part in first["loc"])
        raise MessageUnreadable(
            f"the {what} is not readable: {first['msg']}", pointer=pointer
        ) from error


def _is_newer(value: bytes) -> bool:
    """Whether it says that it is of a later schema: then all else in it may differ as well."""
    try:
        document = orjson.loads(value)
        return bool(document["schema_version"] > SCHEMA)
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError):
        return False


def _check_free(command: _Open, value: bytes) -> None:
    """Params, items and their new bodies may be any JSON, and must be JSON, as they are stored.

    Raises MessageUnreadable for NaN, infinities and integers beyond 64 bits.
    """
    try:
        orjson.loads(value)
        orjson.dumps([*_free(command)])
    except (orjson.JSONDecodeError, TypeError) as error:
        raise MessageUnreadable(f"the command is not readable: {error}") from error


def _free(command: _Open) -> Iterator[Any]:
    """What of a command is nobody's to define but the operation's."""
    if isinstance(command, RetryJob):
        yield command.select.patch
    if isinstance(command, RetryJob | EditItems):
        edits = command.select.edits if isinstance(command, RetryJob) else command.edits
        yield [edit.body for edit in edits]
        return
    if isinstance(command, SubmitBatch):
        for step in command.steps:
            yield step.params
            yield step.source.items if isinstance(step.source, InlineItems) else None
        return
    if not isinstance(command, AppendItems):
        yield command.spec.params
    if not isinstance(command, OpenJob) and isinstance(command.source, InlineItems):
        yield command.source.items


def hint(command: BaseCommand, topic: str) -> Outgoing:
    """A command, or a hint to the coordinator, under the key of its job."""
    return Outgoing(topic=topic, key=command.job_id.encode(), value=encode(command))


def look_at(job_id: str, command_id: str, chunks: tuple[int, ...] = ()) -> Outgoing:
    """The hint to the coordinator of a job that something waits there for it.

    ``chunks``: the outcomes of these, and nothing else.
    """
    command = RecordOutcomes(
        command_id=command_id, job_id=job_id, tenant=ENGINE, actor=ENGINE, chunks=chunks
    )
    return hint(command, topics.COMMANDS)
