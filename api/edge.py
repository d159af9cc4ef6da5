"""Edge: what every handler is given, and who the caller is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from api.admission import Bodies, Streams, Uploads
from api.audit_ports import Trail
from api.connections import Connections
from api.limits import Limits
from api.live_ports import Broadcasts, Hub, Tail
from api.meters import Meters
from api.ports import Callers, Gateway, Messaging, Plans, Queries, Retention, Situation, Vitals
from api.restraint import Restraint
from domain.ports import Clock, Ids
from domain.registry import Registry
from streams.callers import Caller
from streams.identity import Identity
from streams.rates import Rate, Taken
from streams.systems.annotations import Platform
from streams.tracing import Tracing
from streams.webhooks import Webhooks

READING: Final = frozenset({"GET", "HEAD"})
"""Methods that change nothing; HEAD is answered as GET is, without a body."""
_REQUEST_ID = re.compile(r"[0-9A-Za-z._-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The running engine, as far as the routes need it; ``registry`` has the operations."""

    gateway: Gateway
    queries: Queries
    hub: Hub
    tail: Tail
    broadcasts: Broadcasts
    situation: Situation
    messaging: Messaging
    vitals: Vitals
    registry: Registry
    plans: Plans
    trail: Trail
    retention: Retention
    webhooks: Webhooks
    annotations: Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class Basics:
    """What every HTTP server of ours is given, also one that only tells its health."""

    vitals: Vitals
    clock: Clock
    ids: Ids
    limits: Limits
    streams: Streams
    meters: Meters
    tracing: Tracing


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge(Basics):
    """All that handlers are given; one an application."""

    gateway: Gateway
    queries: Queries
    hub: Hub
    tail: Tail
    broadcasts: Broadcasts
    situation: Situation
    messaging: Messaging
    registry: Registry
    plans: Plans
    trail: Trail
    retention: Retention
    webhooks: Webhooks
    annotations: Platform
    callers: Callers
    connections: Connections
    uploads: Uploads
    bodies: Bodies
    rate: Rate | None
    """How often a caller may call a route."""
    restraint: Restraint


BASICS: web.AppKey[Basics] = web.AppKey("basics", Basics)
EDGE: web.AppKey[Edge] = web.AppKey("edge", Edge)
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
WAITS: web.RequestKey[bool] = web.RequestKey("waits", bool)
"""Whether the client has asked to be answered late."""
TAKEN: web.RequestKey[Taken] = web.RequestKey("taken", Taken)
OWN_HEADERS: web.RequestKey[Mapping[str, str]] = web.RequestKey("own_headers", Mapping)
"""What an answer says otherwise than all others do."""
IDENTITY: web.RequestKey[Identity] = web.RequestKey("identity", Identity)
REFUSED: web.RequestKey[Exception] = web.RequestKey("refused", Exception)
"""Why a client that waited to be asked for its body was not."""


def edge(request: web.Request) -> Edge:
    """The services of the application that serves the request."""
    return request.app[EDGE]


def basics(request: web.Request) -> Basics:
    """What the application has in any kind of process."""
    return request.app[BASICS]


def give_id(request: web.Request) -> str:
    """The id of the request, which is the client's own when that is a plain one."""
    if REQUEST_ID not in request:
        said = request.headers.get("X-Request-Id", "")
        request[REQUEST_ID] = said if _REQUEST_ID.fullmatch(said) else basics(request).ids.new()
    return request[REQUEST_ID]


def has_gone(request: web.Request) -> bool:
    """Whether the client has left, or is leaving: ``| head`` closes while we still write."""
    return request.transport is None or request.transport.is_closing()


def caller(request: web.Request) -> Caller:
    """Who asks; known on every route that is not open to all."""
    return request[IDENTITY].caller
