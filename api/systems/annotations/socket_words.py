"""Socket words: what is said on ``/api/v1/batch/ws/connect``.

Clients say ``{"action": ..., ...}``, servers ``{"type": ..., "data": {...}}``: two closed
vocabularies.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field, TypeAdapter

from api.systems.annotations.alerts import MemoryAlert
from api.systems.annotations.pace import Pace
from api.systems.annotations.updates import UpdateType, type_of, update
from api.ws_messages import Credential, read_message
from domain.events import JobStatus
from domain.systems.annotations.models import Id
from domain.values import Value
from streams.broadcasts import MAX_TEXT
from streams.live import LiveEvent
from streams.systems.annotations.load import Figures

# -- what clients say ---------------------------------------------------------------------


class Authenticate(Credential):
    """The first message: a token or an API key, or a ticket."""

    action: Literal["authenticate"]


class Subscribe(Value):
    """Be told how an operation goes, from now on."""

    action: Literal["subscribe"]
    operation_id: Id


class Unsubscribe(Value):
    """Be told no more."""

    action: Literal["unsubscribe"]
    operation_id: Id


class Status(Value):
    """Ask how the system is; administrators hear of the connections as well."""

    action: Literal["system_status"]


class Broadcast(Value):
    """To all connections of the tenant; for its administrators."""

    action: Literal["broadcast"]
    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]


Said: TypeAlias = Annotated[
    Authenticate | Subscribe | Unsubscribe | Status | Broadcast, Field(discriminator="action")
]
_SAID: Final[TypeAdapter[Said]] = TypeAdapter(Said)


def understood(text: bytes, depth: int) -> Said:
    """What a client has said; raises RequestRefused that points at the fault."""
    return read_message(_SAID, text, depth)


# -- what is said to them -----------------------------------------------------------------

MessageType = Literal[
    UpdateType,
    "memory_alert",
    "system_status",
    "error",
    "broadcast",
]


class Message(Value):
    """Whatever a server says."""

    type: MessageType
    data: dict[str, Any]


def happened(event: LiveEvent, operation_id: int, load: Figures, pace: Pace) -> Message:
    """What an event of a job says of the operation, and what the workers use meanwhile."""
    status = JobStatus(event.data["status"])
    return Message(type=type_of(status), data=update(event, operation_id, load, pace))


def alert(said: MemoryAlert) -> Message:
    """A worker of a running operation has more memory than its budget."""
    return Message(type="memory_alert", data=said.model_dump(mode="json"))


def system(event: str, **data: Any) -> Message:
    """Something about the connection, or the system, rather than an operation."""
    return Message(type="system_status", data={"event": event, **data})
