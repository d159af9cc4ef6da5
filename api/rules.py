"""Rules: who may call a route. Each stands beside its route, in the table of :mod:`api.app`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeAlias

from aiohttp import web

from api.edge import IDENTITY, READING, TAKEN, edge
from api.problems import refused
from api.projects import as_of_jobs
from domain.permissions import Permission
from streams.identity import Identity

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a caller needs for a route: a permission, or to be known, or nothing at all.

    ``also`` are permissions that depend on what is asked for; the handler demands them.
    ``late``: who opens a WebSocket may say in its first message who it is. ``narrowed``: the
    handler shows or takes only what is of the caller's projects (:mod:`api.projects`).
    ``form``: a form with a file is no reason to refuse a request unread. ``insisting``: the
    handler heeds ``If-Match``.
    """

    permission: Permission | None = None
    also: frozenset[Permission] = frozenset()
    known: bool = True
    late: bool = False
    narrowed: bool = False
    form: bool = False
    insisting: bool = False


OPEN: Final = Rule(known=False)
"""For machines that ask for health, and for what is not there."""
KNOWN: Final = Rule()
_CONDITIONS: Final = ("If-Match", "If-None-Match", "If-Unmodified-Since")


def needs(permission: Permission, *also: Permission) -> Rule:
    """A route for callers with a permission, who may need others for some of it."""
    return Rule(permission, frozenset(also))


def insisting(rule: Rule) -> Rule:
    """A rule of a route of which a caller may ask something of what was seen alone."""
    return replace(rule, insisting=True)


class Route(NamedTuple):
    """A route with its rule; there is none without."""

    method: str
    path: str
    handler: Handler
    rule: Rule


RULES: web.AppKey[dict[web.AbstractRoute, Rule]] = web.AppKey("rules", dict)
TABLE: web.AppKey[tuple[Route, ...]] = web.AppKey("table", tuple)
"""The routes of an application, in their order."""


async def admit(request: web.Request) -> None:
    """Find out who calls, and raise an error unless they may call the route."""
    rule = _rule(request)
    if not rule.known:
        return
    if rule.late and edge(request).callers.asks_later(request):
        return
    if IDENTITY not in request:
        await _take_for(request, await edge(request).callers.identify(request))
    await _demand(request, rule)
    _refuse_unheeded(request, rule)


async def admit_as(request: web.Request, identity: Identity) -> None:
    """Let somebody call the route who is known only now; raises an error unless they may."""
    await _take_for(request, identity)
    await _demand(request, _rule(request))


async def _take_for(request: web.Request, identity: Identity) -> None:
    request[IDENTITY] = identity
    await _pace(request)


async def _demand(request: web.Request, rule: Rule) -> None:
    permission = rule.permission
    if permission is None:
        return
    if "job_id" in request.match_info:
        await as_of_jobs(request, permission)
    caller = request[IDENTITY].caller
    if not (rule.narrowed and caller.projects_with(permission)):
        caller.demand(permission)


def _refuse_unheeded(request: web.Request, rule: Rule) -> None:
    """Raise RequestRefused for a condition that the route does not look at.

    What was to be done to nothing else than what was seen must not be done all the same.
    """
    if request.method in READING:
        return
    for name in _CONDITIONS:
        if name in request.headers and not (name == "If-Match" and rule.insisting):
            raise refused(400, "bad_condition", f"{name} is not heeded here; leave it out")


async def _pace(request: web.Request) -> None:
    """Count the call; raises RequestRefused for a caller who calls the route too often."""
    rate, caller = edge(request).rate, request[IDENTITY].caller
    if rate is None:
        return
    taken = await rate.take(caller.tenant, caller.actor, request.method, route_of(request))
    request[TAKEN] = taken
    if not taken.allowed:
        await edge(request).restraint.hold(f"tenant {caller.tenant}")
        raise refused(
            429,
            "too_many_requests",
            f"{caller.actor} may call this route {taken.limit} times in {taken.window} s; wait "
            f"{taken.reset} s",
            headers={"Retry-After": str(taken.reset)},
        )


def route_of(request: web.Request) -> str:
    """The pattern of the route, which has few values, not the path."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else ""


def is_open(request: web.Request) -> bool:
    """Whether the route is for machines, or there is none."""
    return not _rule(request).known


def takes_form(request: web.Request) -> bool:
    """Whether the route takes a form with a file."""
    return _rule(request).form


def demand(request: web.Request, permission: Permission) -> None:
    """Raise PermissionLacking unless the caller has a permission that the rule speaks of."""
    if permission not in _rule(request).also:
        raise RuntimeError(f"the rule of {request.match_info.route} does not name {permission}")
    request[IDENTITY].caller.demand(permission)


def _rule(request: web.Request) -> Rule:
    """The rule of the route; where aiohttp itself has found none, it will only say so."""
    matched = request.match_info
    return OPEN if matched.http_exception is not None else request.app[RULES][matched.route]
