"""Live: a job's events as server-sent events, to clients that may be slow or gone."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import structlog
from aiohttp import web

from api import sse
from api.callers import TICKET
from api.edge import REQUEST_ID, Edge, caller, edge
from api.feed import Feed
from api.parameters import MAX_VERSION, Parameters, integer
from api.standing import Standing
from domain.errors import CountermandError

_HEADERS = {"Content-Type": sse.MEDIA_TYPE, "X-Accel-Buffering": "no"}
_log = structlog.get_logger("countermand.api")


async def stream(request: web.Request) -> web.StreamResponse:
    """All events behind ``Last-Event-ID``, then what happens, until the job is at rest.

    204 when the client has seen the last event of a job at rest, so that it stops asking.
    """
    own = edge(request)
    feed = Feed(
        own.queries,
        own.hub,
        own.limits,
        tenant=caller(request).tenant,
        job_id=request.match_info["job_id"],
        after=_last_seen(request),
    )
    response = web.StreamResponse(headers=_HEADERS)
    scope, standing = asyncio.timeout(None), Standing(request)
    with own.streams.admitted(scope, caller(request).tenant):
        try:
            async with scope, aclosing(feed.frames()) as frames:
                first = await anext(frames, None)
                if first is None:
                    return web.Response(status=204)
                await response.prepare(request)
                await _write(own, response, first)
                async for frame in frames:
                    await standing.check()
                    await _write(own, response, frame)
        except TimeoutError:
            if not scope.expired():
                _cut(request, own)
        except (ConnectionError, CountermandError) as error:
            if not response.prepared:
                raise
            # The client, if it is still there, comes back with the last id it saw.
            _log.info("stream_ended", request_id=request[REQUEST_ID], reason=str(error))
    return response


async def _write(own: Edge, response: web.StreamResponse, frame: bytes) -> None:
    async with asyncio.timeout(own.limits.write_wait):
        await response.write(frame)


def _cut(request: web.Request, own: Edge) -> None:
    """Give up a client that reads nothing; what it missed is in the event store."""
    own.meters.cut.inc()
    if request.transport is not None:
        request.transport.abort()


def _last_seen(request: web.Request) -> int:
    query = Parameters(request, ("last_event_id", TICKET))
    text = request.headers.get("Last-Event-ID") or query.text("last_event_id")
    return 0 if text is None else integer("Last-Event-ID", text, 0, MAX_VERSION)
