"""Tickets: one request for the stream of a job, by who cannot send a header."""

from __future__ import annotations

from datetime import UTC, datetime

from aiohttp import web

from api import bodies
from api.answers import answer
from api.documents import JOBS
from api.edge import IDENTITY, caller, edge
from api.models import Nothing, checked
from api.parameters import Parameters
from api.problems import refused


async def issue(request: web.Request) -> web.Response:
    """A ticket for the stream of a job that the caller can see, and the address with it."""
    own, job_id = edge(request), request.match_info["job_id"]
    Parameters(request, ())
    checked(Nothing, await bodies.read_optional(request, own.limits), own.limits.json_depth)
    await own.queries.job(caller(request).tenant, job_id)
    if own.callers.tickets is None:
        raise refused(
            409,
            "tickets_not_asked_for",
            "this server asks nobody for a token, so streams need no ticket: open them as they are",
        )
    ticket = await own.callers.tickets.issue(request[IDENTITY], job_id)
    return answer(
        {
            "ticket": ticket.text,
            "expires_at": datetime.fromtimestamp(ticket.ends, UTC).isoformat(),
            "links": {"events": f"{JOBS}/{job_id}/events?ticket={ticket.text}"},
        },
        status=201,
    )
