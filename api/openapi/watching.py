"""Watching: what is said of the routes that tell of all jobs at once, and of connections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import BaseModel, Field

from api import sse
from api.callers import TICKET
from api.documents import EVENTS, SOCKET
from api.limits import Limits
from api.models import Nothing
from api.openapi import answers
from api.openapi.common import LIMIT, repeated
from api.openapi.moments import BEGIN, KEY
from api.openapi.telling import Answer, Body, Parameter, Told, query, whole
from api.parameters import MAX_ID, MAX_TAG, MAX_VERSION
from domain.values import Value

WAIT = query(
    "wait",
    "With JSON: so many seconds for the next event, when there is none yet.",
    whole(0, Limits().longest_wait),
)


class PlacedEvent(answers.Event):
    """An event with its place in the log of all, and the tags of its job."""

    position: int
    tags: tuple[str, ...]


class PlacedEvents(Value):
    """A page of the events of all jobs; the next one is behind ``position``."""

    items: tuple[PlacedEvent, ...]
    position: int
    more: Annotated[bool, Field(description="Whether there is something behind it already.")]


class Opened(Value):
    """Where a live stream of all jobs begins (`stream.opened`)."""

    position: int


class Announced(Value):
    """What an administrator has said to all (`broadcast`)."""

    text: str
    by: str
    at: datetime


class StreamTicket(Value):
    """A ticket for one live stream, or one WebSocket, of all jobs of the tenant."""

    ticket: str
    expires_at: datetime
    links: dict[str, str]


class Connections(Value):
    """The live connections that a tenant has at this process, in all."""

    websockets: int
    streams: int
    topics: int
    received: int
    sent: int
    overflows: int


def watched(event: answers.Event) -> Iterator[BaseModel]:
    """An answer of each kind; ``event`` is one of some job."""
    placed = PlacedEvent(position=1234, tags=("nightly",), **event.model_dump())
    yield PlacedEvents(items=(placed,), position=1234, more=False)
    yield StreamTicket(
        ticket=f"cmt_{KEY}",
        expires_at=BEGIN + timedelta(seconds=30),
        links={
            "events": f"{EVENTS}?{TICKET}=cmt_{KEY}",
            "websocket": f"{SOCKET}?{TICKET}=cmt_{KEY}",
        },
    )
    yield Connections(websockets=2, streams=3, topics=4, received=9, sent=120, overflows=0)


EVENTS_OF_JOB: Final = (
    query("after", "With JSON: events behind this version.", whole(0, MAX_VERSION)),
    LIMIT,
    WAIT,
    query(
        "last_event_id",
        "With the live stream: as `Last-Event-ID`, for who cannot send a header.",
        whole(0, MAX_VERSION),
    ),
    Parameter(
        name="Last-Event-ID",
        about="The last version seen; the live stream goes on behind it.",
        schema=whole(0, MAX_VERSION),
        place="header",
    ),
)
"""How the events of one job are asked for, live or as a page."""
SHOWN_OF_JOB: Final = {
    200: Answer(
        about="The live stream (`text/event-stream`, unless JSON is rather wanted), until "
        "the job is at rest; or a page of events.",
        model=answers.Events,
        others={
            sse.MEDIA_TYPE: 'event: job.paused\nid: 3\ndata: {"job_id": "...", '
            '"version": 3, "status": "paused"}\n\n'
        },
        live=(answers.Shown,),
    ),
    204: Answer(about="The client has seen the last event of a job at rest."),
}
"""The events of one job."""
NOT_SHOWN: Final = (
    "not_acceptable",
    "bad_last_event_id",
    "quota_exceeded",
    "too_many_streams",
)
"""What may be said instead."""

WATCHING: Final[Mapping[tuple[str, str], Told]] = {
    ("GET", EVENTS): Told(
        name="readAllEvents",
        tag="Jobs",
        parameters=(
            repeated(
                "tag",
                "Of jobs with one of these tags.",
                {"type": "string", "minLength": 1, "maxLength": MAX_TAG},
            ),
            query("after", "With JSON: events behind this position.", whole(0, MAX_ID)),
            LIMIT,
            WAIT,
            query(
                "last_event_id",
                "With the live stream: as `Last-Event-ID`, for who cannot send a header.",
                whole(0, MAX_ID),
            ),
            Parameter(
                name="Last-Event-ID",
                about="The last position seen; the live stream goes on behind it.",
                schema=whole(0, MAX_ID),
                place="header",
            ),
        ),
        answers={
            200: Answer(
                about="The live stream (`text/event-stream`, unless JSON is rather wanted), which "
                "does not end; or a page of events.",
                model=PlacedEvents,
                others={
                    sse.MEDIA_TYPE: 'event: stream.opened\nid: 1234\ndata: {"position": 1234}\n\n'
                },
                live=(answers.Shown, Opened, Announced),
            )
        },
        problems=("not_acceptable", "bad_last_event_id", "quota_exceeded", "too_many_streams"),
        ticket=True,
    ),
    ("POST", f"{EVENTS}/ticket"): Told(
        name="issueStreamTicket",
        tag="Jobs",
        body=Body(model=Nothing, examples={"nothing": {}}),
        answers={201: Answer(about="A ticket, good once.", model=StreamTicket)},
        problems=("tickets_not_asked_for",),
    ),
    ("GET", SOCKET): Told(
        name="openWebSocket",
        tag="Jobs",
        answers={
            101: Answer(
                about="The connection; what it carries is in docs/api.md. Who shows neither token "
                "nor ticket says first who it is."
            )
        },
        problems=("upgrade_required", "quota_exceeded", "too_many_streams"),
        ticket=True,
    ),
    ("GET", "/api/v1/connections"): Told(
        name="countConnections",
        tag="Installation",
        answers={200: Answer(about="The numbers.", model=Connections)},
    ),
}
