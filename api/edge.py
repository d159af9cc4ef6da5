"""Edge: what every handler is given, and who the caller is."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from api.admission import Streams
from api.limits import Limits
from api.meters import Meters
from api.ports import Gateway, Hub, Plans, Queries, Situation, Vitals
from api.problems import refused
from domain.ports import Clock, Ids
from domain.registry import Registry
from streams.gateway import Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The running engine, as far as the routes need it; ``registry`` has the operations."""

    gateway: Gateway
    queries: Queries
    hub: Hub
    situation: Situation
    vitals: Vitals
    registry: Registry
    plans: Plans


@dataclass(frozen=True, slots=True, kw_only=True)
class Basics:
    """What every HTTP server of ours is given, also one that only tells its health."""

    vitals: Vitals
    clock: Clock
    ids: Ids
    limits: Limits
    streams: Streams
    meters: Meters


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge(Basics):
    """All that handlers are given; one an application.

    ``named_actors``: callers say who they are.
    """

    gateway: Gateway
    queries: Queries
    hub: Hub
    situation: Situation
    registry: Registry
    plans: Plans
    named_actors: bool = False


BASICS: web.AppKey[Basics] = web.AppKey("basics", Basics)
EDGE: web.AppKey[Edge] = web.AppKey("edge", Edge)
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)

LOCAL = Caller(tenant="local", actor="local")
ACTOR = "Countermand-Actor"
"""The header in which a proxy, or an honest caller, says who calls."""
_MAX_ACTOR = 200
_OURS = frozenset({"engine", "sweep"})
"""Names that the engine itself has in the audit trail."""
_READING = frozenset({"GET", "HEAD"})


def edge(request: web.Request) -> Edge:
    """The services of the application that serves the request."""
    return request.app[EDGE]


def basics(request: web.Request) -> Basics:
    """What the application has in any kind of process."""
    return request.app[BASICS]


def caller(request: web.Request) -> Caller:
    """Who asks; raises RequestRefused where that is not said, or said and not heeded.

    Nothing here proves it. Where actors are not named, the edge is bound to loopback:
    whoever reaches it is this machine's user.
    """
    said = request.headers.getall(ACTOR, [])
    if not edge(request).named_actors:
        if said:
            raise refused(
                400,
                "actor_not_heeded",
                "this server tells no callers apart; start it with COUNTERMAND_ACTORS=named, or "
                f"leave {ACTOR} out",
            )
        return LOCAL
    if not said and request.method in _READING:
        return LOCAL
    name = said[0] if len(said) == 1 else ""
    if not (0 < len(name) <= _MAX_ACTOR and name.isprintable()) or name in _OURS:
        raise refused(
            400, "actor_missing", f"say who you are: {ACTOR} with 1 to {_MAX_ACTOR} characters"
        )
    return Caller(tenant=LOCAL.tenant, actor=name)
