"""Live: a job's events as server-sent events, to clients that may be slow or gone."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import structlog
from aiohttp import web

from api import sse
from api.edge import REQUEST_ID, Edge, caller, edge
from api.feed import Feed
from api.parameters import MAX_VERSION, Parameters, integer
from api.problems import refused
from domain.errors import CountermandError

_HEADERS = {"Content-Type": sse.MEDIA_TYPE, "X-Accel-Buffering": "no"}
_log = structlog.get_logger("countermand.api")


async def stream(request: web.Request) -> web.StreamResponse:
    """All events behind ``Last-Event-ID``, then what happens, until the job is at rest.

    204 when the client has seen the last event of a job at rest, so that it stops asking.
    """
    own, tenant, job_id = edge(request), caller(request).tenant, request.match_info["job_id"]
    after = _last_seen(request)
    job = await own.queries.job(tenant, job_id)
    if after > job.version:
        raise refused(
            400,
            "bad_last_event_id",
            f"the job has no event {after} yet; connect again without Last-Event-ID",
        )
    if after == job.version and job.status.terminal:
        return web.Response(status=204)
    feed = Feed(own.queries, own.hub, own.limits, tenant=tenant, job_id=job_id, after=after)
    return await _send(request, own, feed)


async def _send(request: web.Request, own: Edge, feed: Feed) -> web.StreamResponse:
    response = web.StreamResponse(headers=_HEADERS)
    scope = asyncio.timeout(None)
    with own.streams.admitted(scope):
        try:
            async with scope, aclosing(feed.frames()) as frames:
                await response.prepare(request)
                async for frame in frames:
                    async with asyncio.timeout(own.limits.write_wait):
                        await response.write(frame)
        except TimeoutError:
            if not scope.expired():
                _cut(request, own)
        except ConnectionError:
            pass  # the client has gone; it will come back with the last id it saw
        except CountermandError as error:
            _log.warning("live stream ended", request_id=request[REQUEST_ID], reason=error.message)
    return response


def _cut(request: web.Request, own: Edge) -> None:
    """Give up a client that reads nothing; what it missed is in the event store."""
    own.meters.cut.inc()
    if request.transport is not None:
        request.transport.abort()


def _last_seen(request: web.Request) -> int:
    query = Parameters(request, ("last_event_id",))
    text = request.headers.get("Last-Event-ID") or query.text("last_event_id")
    return 0 if text is None else integer("Last-Event-ID", text, 0, MAX_VERSION)
