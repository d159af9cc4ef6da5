"""Live: events as server-sent events, to clients that may be slow or gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

import structlog
from aiohttp import web

from api import sse
from api.callers import TICKET
from api.edge import REQUEST_ID, Edge, caller, edge
from api.feed import Feed, Worded, as_all_are_shown
from api.log_feed import LogFeed
from api.parameters import MAX_ID, MAX_VERSION, Parameters, integer, tags_of
from api.projects import scope
from api.standing import Standing
from domain.errors import CountermandError

_HEADERS = {"Content-Type": sse.MEDIA_TYPE, "X-Accel-Buffering": "no"}
_LAST = "last_event_id"
OF_STREAM = (_LAST, TICKET)
"""What the query of a job's stream may say."""
Beside = Callable[[], Awaitable[list[bytes]]]
"""Makes frames that are no events of the job."""
_log = structlog.get_logger("countermand.api")


class _Stream(web.StreamResponse):
    """A response whose headers go with its first frame, which is there by then.

    aiohttp has no public way to say so of a stream; were the name another one day, the headers
    would go by themselves again.
    """

    _send_headers_immediately = False


async def nothing() -> list[bytes]:
    """What is said beside a job's events, unless there is more to say."""
    return []


@dataclass(frozen=True, slots=True)
class Telling:
    """How the events of a job are told: in which words, and what goes with them.

    ``beside`` is asked before each frame, heartbeats included.
    """

    worded: Worded = as_all_are_shown
    beside: Beside = nothing


PLAINLY = Telling()


async def stream(
    request: web.Request, job_id: str, telling: Telling = PLAINLY
) -> web.StreamResponse:
    """All events of a job behind ``Last-Event-ID``, then what happens, until it is at rest.

    204 when the client has seen the last event of a job at rest, so that it stops asking.
    """
    return await sent(request, frames_of(request, job_id, telling))


def frames_of(request: web.Request, job_id: str, telling: Telling) -> AsyncGenerator[bytes, None]:
    """What such a stream sends; raises RequestRefused for a query that is none of it."""
    own = edge(request)
    query = Parameters(request, OF_STREAM)
    feed = Feed(
        own.queries,
        own.hub,
        own.limits,
        tenant=caller(request).tenant,
        job_id=job_id,
        after=_last_seen(request, query, MAX_VERSION) or 0,
        worded=telling.worded,
    )
    return _with(telling.beside, feed.frames())


async def _with(beside: Beside, made: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(made) as frames:
        async for frame in frames:
            for more in await beside():
                yield more
            yield frame


async def stream_all(request: web.Request) -> web.StreamResponse:
    """What happens to all jobs of the tenant, or to those with a tag, for as long as one reads.

    From now on, or behind ``Last-Event-ID``.
    """
    own = edge(request)
    query = Parameters(request, (_LAST, TICKET), repeated=("tag",))
    feed = LogFeed(
        own.queries,
        own.tail,
        own.hub,
        own.limits,
        tenant=caller(request).tenant,
        wanted=(tags_of(query), scope(request)),
        after=_last_seen(request, query, MAX_ID),
    )
    return await sent(request, feed.frames())


async def sent(request: web.Request, made: AsyncGenerator[bytes, None]) -> web.StreamResponse:
    """Send frames as they come, to a client that is cut when it does not read them."""
    own = edge(request)
    response = _Stream(headers=_HEADERS)
    scope, standing = asyncio.timeout(None), Standing(request)
    with own.streams.admitted(scope, caller(request).tenant):
        try:
            async with scope, aclosing(made) as frames:
                first = await anext(frames, None)
                if first is None:
                    return web.Response(status=204)
                await response.prepare(request)
                if request.method == "HEAD":
                    return response
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


def _last_seen(request: web.Request, query: Parameters, most: int) -> int | None:
    """What the header says, else the query; a browser that comes back has them both.

    Both must be good: what is passed over today would otherwise be wrong in silence.
    """
    said = query.integer(_LAST, 0, most)
    header = ",".join(request.headers.getall("Last-Event-ID", []))
    return integer("Last-Event-ID", header, 0, most) if header else said
