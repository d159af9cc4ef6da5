"""Events: what happened to a job, or to all of a tenant, as a live stream or as pages."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from api import live, long_poll, sse
from api.answers import answer
from api.bodies import JSON
from api.documents import event_document
from api.edge import Edge, caller, edge
from api.log_feed import no_such_place
from api.negotiation import preferred
from api.parameters import MAX_ID, MAX_VERSION, Parameters, integer, tags_of
from api.projects import scope
from streams.stores.log import Logged, LogPage, Tagged, is_tagged

OF_PAGE = ("after", "limit", "wait")


async def events(request: web.Request) -> web.StreamResponse:
    """``text/event-stream`` unless the client would rather have ``application/json``."""
    return await events_of(request, request.match_info["job_id"])


def check_query(request: web.Request) -> None:
    """Raise RequestRefused for a parameter that these events do not take; before they are found."""
    Parameters(request, live.OF_STREAM if is_streamed(request) else OF_PAGE)


def is_streamed(request: web.Request) -> bool:
    """Whether the client would rather have them live than as a page."""
    return preferred(request, (sse.MEDIA_TYPE, JSON)) == sse.MEDIA_TYPE


async def events_of(
    request: web.Request, job_id: str, telling: live.Telling = live.PLAINLY
) -> web.StreamResponse:
    """Those of a job that the path may call otherwise, live or as a page."""
    if is_streamed(request):
        return await live.stream(request, job_id, telling)
    return await page(request, job_id)


async def page(request: web.Request, job_id: str) -> web.Response:
    """Events behind version ``after``; ``next_after`` is where to go on, None at the end.

    Where there is none yet, and the job is not at rest, ``wait`` is so many seconds for one.
    """
    own, tenant = edge(request), caller(request).tenant
    query = Parameters(request, OF_PAGE)
    _check_last_seen(request, MAX_VERSION)
    after = query.integer("after", 0, MAX_VERSION) or 0
    limit = query.integer("limit", 1, own.limits.max_page) or own.limits.page
    wait = query.integer("wait", 0, own.limits.longest_wait) or 0
    with own.hub.subscribe(job_id) as subscription:
        found = await own.queries.events(tenant, job_id, after, limit + 1)
        if not found and wait and not (await own.queries.job(tenant, job_id)).status.terminal:
            await long_poll.next_of(
                request, subscription, wait, lambda event: (event.version or 0) > after
            )
            found = await own.queries.events(tenant, job_id, after, limit + 1)
    items = [event_document(event) for event in found[:limit]]
    following = items[-1]["version"] if len(found) > limit else None
    return answer({"items": items, "next_after": following})


def _check_last_seen(request: web.Request, most: int) -> None:
    """Raise RequestRefused for one that no stream takes; a page goes by ``after`` alone."""
    said = ",".join(request.headers.getall("Last-Event-ID", []))
    if said:
        integer("Last-Event-ID", said, 0, most)


async def all_events(request: web.Request) -> web.StreamResponse:
    """What happens to all jobs of the tenant, or to those with one of the tags."""
    if is_streamed(request):
        return await live.stream_all(request)
    return await page_of_all(request)


async def page_of_all(request: web.Request) -> web.Response:
    """Events behind the place ``after``, from the end of the log on when it is left out.

    The next page is behind ``position``, and ``more`` says whether there is something already.
    """
    own = edge(request)
    query = Parameters(request, ("after", "limit", "wait"), repeated=("tag",))
    _check_last_seen(request, MAX_ID)
    after = query.integer("after", 0, MAX_ID)
    limit = query.integer("limit", 1, own.limits.max_page) or own.limits.page
    wait = query.integer("wait", 0, own.limits.longest_wait) or 0
    tags = tags_of(query), scope(request)
    found = await _look(own, request, after, limit, tags)
    if wait and not found.events and not found.more:
        found = await _next_look(own, request, found.position, limit, tags, wait)
    items = [_document(logged) for logged in found.events]
    return answer({"items": items, "position": found.position, "more": found.more})


async def _look(
    own: Edge, request: web.Request, after: int | None, limit: int, tags: Tagged
) -> LogPage:
    found = await own.queries.log(caller(request).tenant, after, limit, tags)
    if after is not None and after > found.last:
        raise no_such_place("after", after)
    return found


async def _next_look(
    own: Edge, request: web.Request, after: int, limit: int, tags: Tagged, wait: int
) -> LogPage:
    """What is there once something has happened, or when the time is over."""
    following = own.tail.follow(caller(request).tenant, lambda placed: is_tagged(tags, placed.tags))
    async with following as (subscription, _):
        found = await _look(own, request, after, limit, tags)
        if found.events or found.more:
            return found
        await long_poll.next_of(
            request, subscription, wait, lambda placed: placed.position is not None
        )
        return await _look(own, request, found.position, limit, tags)


def _document(logged: Logged) -> dict[str, Any]:
    return {
        "position": logged.position,
        "tags": list(logged.tags),
        **event_document(logged.event),
    }
