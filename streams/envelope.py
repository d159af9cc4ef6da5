"""Envelope: how messages look on the wire. JSON values, bytes keys; closed and versioned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import Field, TypeAdapter, ValidationError

from domain.commands import COMMAND, BaseCommand, Command, RecordOutcomes, Value
from domain.errors import MessageUnreadable, UnsupportedVersion
from domain.events import EVENTS, JobEvent
from streams import topics

T = TypeVar("T")

ENGINE = "engine"
"""Tenant and actor of the hints that the engine sends itself; they decide nothing."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to be sent: where to, under which key, what."""

    topic: str
    key: bytes
    value: bytes
    headers: dict[str, bytes] = field(default_factory=dict)


class WorkChunk(Value):
    """A chunk of a dispatch, at the attempt that may claim it."""

    chunk: int
    attempt: int


class Work(Value):
    """A hint to a worker: these chunks wait; the chunk rows are the truth."""

    schema_version: Literal[1] = 1
    job_id: str
    operation: str
    epoch: int
    chunks: tuple[WorkChunk, ...]


class ChunkOutcome(Value):
    """How many items of a chunk came to what; ``duration_ms`` is the work's own time."""

    chunk: int
    attempt: int
    succeeded: int
    failed: int
    skipped: int
    rolled_back: int
    conflict: int
    duration_ms: float


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
    chunk: int
    succeeded: int
    failed: int
    skipped: int


OutcomeMessage = Annotated[
    ChunksCompleted | ChunksFailed | ItemsProgressed, Field(discriminator="type")
]
OUTCOME: TypeAdapter[OutcomeMessage] = TypeAdapter(OutcomeMessage)


def encode(message: Value) -> bytes:
    """The JSON bytes of a message."""
    return orjson.dumps(message.model_dump(mode="json"))


def encode_event(position: int, event: JobEvent) -> bytes:
    """An event as it is published: its stored fields, alias, schema and log position."""
    document: dict[str, Any] = {
        "schema_version": event.schema_number,
        "type": event.alias,
        "position": position,
        "job_id": event.originator_id,
        "version": event.originator_version,
    }
    fields = event.model_dump(mode="json", exclude={"originator_id", "originator_version"})
    return orjson.dumps(document | fields)


def decode_event(value: bytes | None) -> JobEvent | None:
    """A published event, or None when this release does not know its kind."""
    if value is None:
        raise MessageUnreadable("the event has no value")
    try:
        document: dict[str, Any] = orjson.loads(value)
        kind = EVENTS.get(document["type"])
        if kind is None or document["schema_version"] > kind.schema_number:
            return None
        document["originator_id"] = document["job_id"]
        document["originator_version"] = document["version"]
        return kind.model_validate(document)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValidationError) as error:
        raise MessageUnreadable(f"the event is not readable: {error}") from error


def decode_command(value: bytes | None) -> Command:
    """The command; raises UnsupportedVersion or MessageUnreadable, which name the field."""
    return _decode(COMMAND, value, "command")


def decode_work(value: bytes | None) -> Work:
    """The work message; raises as ``decode_command``."""
    return _decode(_WORK, value, "work message")


def decode_outcome(value: bytes | None) -> OutcomeMessage:
    """The outcome message; raises as ``decode_command``."""
    return _decode(OUTCOME, value, "outcome message")


_WORK: TypeAdapter[Work] = TypeAdapter(Work)


def _decode(adapter: TypeAdapter[T], value: bytes | None, what: str) -> T:
    if value is None:
        raise MessageUnreadable(f"the {what} has no value")
    try:
        return adapter.validate_json(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        pointer = "/" + "/".join(str(part) for part in first["loc"])
        if first["loc"] and first["loc"][-1] == "schema_version":
            raise UnsupportedVersion(
                f"the {what} has a schema version that this release does not read; upgrade it",
                pointer=pointer,
            ) from error
        raise MessageUnreadable(
            f"the {what} is not readable: {first['msg']}", pointer=pointer
        ) from error


def hint(command: BaseCommand, topic: str) -> Outgoing:
    """A command, or a hint to the coordinator, under the key of its job."""
    return Outgoing(topic=topic, key=command.job_id.encode(), value=encode(command))


def look_at(job_id: str, command_id: str) -> Outgoing:
    """The hint to the coordinator of a job that something waits there for it."""
    command = RecordOutcomes(command_id=command_id, job_id=job_id, tenant=ENGINE, actor=ENGINE)
    return hint(command, topics.COMMANDS)
