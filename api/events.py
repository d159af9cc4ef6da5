"""Events: what happened to a job, as a live stream or as pages."""

from __future__ import annotations

from aiohttp import web

from api import live, sse
from api.answers import answer
from api.bodies import JSON
from api.documents import event_document
from api.edge import caller, edge
from api.negotiation import preferred
from api.parameters import MAX_VERSION, Parameters


async def events(request: web.Request) -> web.StreamResponse:
    """``text/event-stream`` unless the client would rather have ``application/json``."""
    if preferred(request, (sse.MEDIA_TYPE, JSON)) == sse.MEDIA_TYPE:
        return await live.stream(request)
    return await page(request)


async def page(request: web.Request) -> web.Response:
    """Events behind version ``after``; ``next_after`` is where to go on, None at the end."""
    own, tenant, job_id = edge(request), caller(request).tenant, request.match_info["job_id"]
    query = Parameters(request, ("after", "limit"))
    after = query.integer("after", 0, MAX_VERSION) or 0
    limit = query.integer("limit", 1, own.limits.max_page) or own.limits.page
    found = await own.queries.events(tenant, job_id, after, limit + 1)
    items = [event_document(event) for event in found[:limit]]
    following = items[-1]["version"] if len(found) > limit else None
    return answer({"items": items, "next_after": following})
