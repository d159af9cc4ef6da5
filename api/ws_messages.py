"""WebSocket messages: what is said on ``/api/v1/ws``, each as ``{"type": ..., "data": {...}}``.

Two closed vocabularies. ``ref`` is a word of the client's own; the answer repeats it.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self, TypeAlias, TypeVar

import orjson
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from api import bodies
from api.models import invalid
from api.parameters import MAX_ID, MAX_TAG
from domain.options import JobId
from domain.values import Value
from streams.broadcasts import MAX_TEXT
from streams.live import LiveEvent, Placed

Ref: TypeAlias = Annotated[str, Field(max_length=100)]
Position: TypeAlias = Annotated[int, Field(ge=0, le=MAX_ID)]


# -- what clients say ---------------------------------------------------------------------


class Credential(Value):
    """A token or an API key, or a ticket for all jobs (``POST /api/v1/events/ticket``)."""

    token: Annotated[str | None, Field(min_length=1, max_length=16_000, repr=False)] = None
    ticket: Annotated[str | None, Field(min_length=1, max_length=200, repr=False)] = None
    ref: Ref = ""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.token is None) == (self.ticket is None):
            raise ValueError("say either token or ticket")
        return self


class Topic(Value):
    """What is followed: a job, the jobs with a tag, or all jobs of the tenant."""

    job_id: JobId | None = None
    tag: Annotated[str, Field(min_length=1, max_length=MAX_TAG)] | None = None
    all: Literal[True] | None = None
    ref: Ref = ""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(one is not None for one in (self.job_id, self.tag, self.all)) != 1:
            raise ValueError("say one of job_id, tag and all")
        return self

    @property
    def said(self) -> dict[str, Any]:
        """The topic by itself."""
        return self.model_dump(include={"job_id", "tag", "all"}, exclude_none=True)


class Wish(Topic):
    """From now on, or behind a position that was seen."""

    after: Position | None = None


class Words(Value):
    """What an administrator says to all who are connected."""

    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    ref: Ref = ""


class Bare(Value):
    """Nothing but a ref."""

    ref: Ref = ""


class Authenticate(Value):
    """The first message, unless the handshake has shown a token or a ticket."""

    type: Literal["authenticate"]
    data: Credential


class Subscribe(Value):
    """Have events of a topic from now on, or behind a position."""

    type: Literal["subscribe"]
    data: Wish


class Unsubscribe(Value):
    """Have them no more."""

    type: Literal["unsubscribe"]
    data: Topic


class Broadcast(Value):
    """To all connections of the tenant, at every process; takes ``administer``."""

    type: Literal["broadcast"]
    data: Words


class Statistics(Value):
    """Ask how this connection is, and how many the tenant has here."""

    type: Literal["statistics"]
    data: Bare = Bare()


Said: TypeAlias = Annotated[
    Authenticate | Subscribe | Unsubscribe | Broadcast | Statistics, Field(discriminator="type")
]
_SAID: Final[TypeAdapter[Said]] = TypeAdapter(Said)

M = TypeVar("M")


def understood(text: bytes, depth: int) -> Said:
    """What a client has said; raises RequestRefused that points at the fault."""
    return read_message(_SAID, text, depth)


def read_message(said: TypeAdapter[M], text: bytes, depth: int) -> M:
    """A message of one of several kinds; raises RequestRefused that points at the fault."""
    value = bodies.parse(text)
    try:
        return said.validate_json(bodies.encode(value, depth), strict=True)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        # The first part of the place is the kind of the message, which is no field.
        pointer = "".join(f"/{part}" for part in fault["loc"][1:])
        raise invalid(f"{pointer or 'the message'}: {fault['msg']}", pointer) from None


# -- what is said to them -----------------------------------------------------------------


class Happened(Value):
    """An event of a job, as its stream says it; ``position`` is None between two stored ones."""

    position: Position | None
    job_id: str
    version: int
    event: str
    at: str
    actor: str
    status: str
    counts: dict[str, int]
    percent: float | None
    items_per_second: float | None
    eta_seconds: float | None


class Progress(Value):
    """Something has happened to a job that is followed."""

    type: Literal["progress"]
    data: Happened


class Completion(Value):
    """A job that is followed has come to rest; ``status`` says how."""

    type: Literal["completion"]
    data: Happened


class Welcome(Value):
    """Who the client is, and what it may do."""

    mode: str
    tenant: str
    actor: str
    permissions: list[str]
    expires_at: str | None = None
    ref: Ref = ""


class Authenticated(Value):
    """The client is known, and may subscribe."""

    type: Literal["authenticated"] = "authenticated"
    data: Welcome


class Began(Topic):
    """Events behind ``position`` follow; of a job, how it was then."""

    position: Position
    version: int | None = None
    status: str | None = None


class Subscribed(Value):
    """The answer to ``subscribe``."""

    type: Literal["subscribed"] = "subscribed"
    data: Began


class Unsubscribed(Value):
    """The answer to ``unsubscribe``."""

    type: Literal["unsubscribed"] = "unsubscribed"
    data: Topic


class Fault(Value):
    """As in the problems of the other routes."""

    code: str
    detail: str
    pointer: str = ""
    ref: Ref = ""


class Error(Value):
    """A message was refused. The connection goes on, unless it is closed after that."""

    type: Literal["error"] = "error"
    data: Fault


class Called(Value):
    """What an administrator has said, who, and when."""

    text: str
    by: str
    at: str


class Broadcasted(Value):
    """To all connections of the tenant."""

    type: Literal["broadcast"] = "broadcast"
    data: Called


class Figures(Value):
    """Of this connection, and how many of the tenant's there are at this process."""

    opened_at: str
    received: int
    sent: int
    overflows: int
    topics: list[dict[str, Any]]
    websockets: int
    streams: int
    ref: Ref = ""


class Told(Value):
    """The answer to ``statistics``."""

    type: Literal["statistics"] = "statistics"
    data: Figures


Answered: TypeAlias = Annotated[
    Authenticated | Subscribed | Unsubscribed | Progress | Completion | Error | Broadcasted | Told,
    Field(discriminator="type"),
]
ANSWERED: Final[TypeAdapter[Answered]] = TypeAdapter(Answered)
"""Reads whatever a server says."""


def written(message: Value) -> bytes:
    """A message as it is sent; what was not said is left out."""
    return orjson.dumps(message.model_dump(mode="json", exclude_none=True))


def happened(placed: Placed) -> bytes:
    """An event as it is sent: around the document that everybody is sent."""
    if placed.to_all:
        return b'{"type":"broadcast","data":%b}' % placed.event.text
    kind = b"completion" if _at_rest(placed.event) else b"progress"
    place = b"null" if placed.position is None else b"%d" % placed.position
    return b'{"type":"%b","data":{"position":%b,%b}' % (kind, place, placed.event.text[1:])


def _at_rest(event: LiveEvent) -> bool:
    return event.version is not None and event.at_rest
