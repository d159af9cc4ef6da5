"""Shared limits: what all jobs together may ask of a provider, or have in a queue."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from api import bodies
from api.answers import answer
from api.edge import caller, edge
from api.installation import moment_of
from api.models import checked
from api.parameters import Parameters
from domain.buckets import SharedLimit
from streams.situation import LimitView


async def index(request: web.Request) -> web.Response:
    """The limits that somebody has set, with what is under way."""
    Parameters(request, ())
    found = await edge(request).situation.limits()
    return answer({"items": [*map(_document, found)]})


async def change(request: web.Request) -> web.Response:
    """Other limits for a provider or a queue, from now on."""
    own = edge(request)
    Parameters(request, ())
    body = await bodies.read_optional(request, own.limits)
    wanted = checked(SharedLimit, body, own.limits.json_depth)
    name = request.match_info["name"]
    view = await own.situation.limit(name, wanted, by=caller(request).actor)
    return answer(_document(view))


def _document(view: LimitView) -> dict[str, Any]:
    row = view.row
    return {
        "name": row.name,
        "rate": row.rate,
        "concurrency": row.concurrency,
        "calls": view.calls,
        "jobs": view.jobs,
        "waiting": view.waiting,
        "changed_by": row.changed_by or None,
        "changed_at": moment_of(row.changed_at),
    }
