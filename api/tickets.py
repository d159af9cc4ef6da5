"""Tickets: one request for a live stream, by who cannot send a header."""

from __future__ import annotations

from datetime import UTC, datetime

from aiohttp import web

from api import bodies
from api.answers import answer
from api.callers import TICKET
from api.documents import EVENTS, JOBS, SOCKET
from api.edge import IDENTITY, caller, edge
from api.models import Nothing, checked
from api.parameters import Parameters
from api.problems import refused
from streams.identity.tickets import ALL, Ticket


async def issue(request: web.Request) -> web.Response:
    """A ticket for the stream of a job that the caller can see, and the address with it."""
    own, job_id = edge(request), request.match_info["job_id"]
    await _check(request)
    await own.queries.job(caller(request).tenant, job_id)
    ticket = await _ticket(request, job_id)
    return _issued(ticket, {"events": f"{JOBS}/{job_id}/events?{TICKET}={ticket.text}"})


async def issue_for_all(request: web.Request) -> web.Response:
    """A ticket for one stream of all jobs of the tenant, or of some tags, or one WebSocket."""
    await _check(request)
    ticket = await _ticket(request, ALL)
    query = f"{TICKET}={ticket.text}"
    return _issued(ticket, {"events": f"{EVENTS}?{query}", "websocket": f"{SOCKET}?{query}"})


async def _check(request: web.Request) -> None:
    """There is nothing to be said; raises RequestRefused for what is said all the same."""
    limits = edge(request).limits
    Parameters(request, ())
    checked(Nothing, await bodies.read_optional(request, limits), limits.json_depth)


async def _ticket(request: web.Request, job_id: str) -> Ticket:
    tickets = edge(request).callers.tickets
    if tickets is None:
        raise refused(
            409,
            "tickets_not_asked_for",
            "this server asks nobody for a token, so streams need no ticket: open them as they are",
        )
    return await tickets.issue(request[IDENTITY], job_id)


def _issued(ticket: Ticket, links: dict[str, str]) -> web.Response:
    ends = datetime.fromtimestamp(ticket.ends, UTC).isoformat()
    return answer({"ticket": ticket.text, "expires_at": ends, "links": links}, status=201)
