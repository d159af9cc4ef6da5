"""What is repeated, when, and with what: against a server that fails as a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from countermand_client import (
    AsyncClient,
    Patience,
    ServerError,
    TooManyRequestsError,
    UnreachableError,
)
from countermand_client.patience import Waits

PATIENCE = Patience(attempts=4, first=0.001, longest=60.0, give_up=60.0, silence=60.0)
"""Whose attempts are few and soon; nothing here may end, or begin anew, for being slow."""
JOB = {"job_id": "a", "operation": "o", "status": "running", "version": 3, "counts": {"total": 1}}
AFTER, LONG_AFTER = {"Retry-After": "1"}, {"Retry-After": "3600"}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(post: Handler | None = None, events: Handler | None = None) -> AsyncIterator[str]:
    app = web.Application(client_max_size=100_000_000)
    if post is not None:
        app.router.add_post("/{path:.*}", post)
    if events is not None:
        app.router.add_get("/api/v1/jobs/a/events", events)
    async with TestServer(app, host="127.0.0.1") as server:
        yield str(server.make_url("")).rstrip("/")


async def test_a_submit_is_sent_again_whole_and_under_its_key() -> None:
    seen: list[tuple[str, int]] = []

    async def post(request: web.Request) -> web.StreamResponse:
        key = request.headers["Idempotency-Key"]
        if len(seen) < 2:
            # Enough to be sure that the source was read, and then the connection breaks.
            await request.content.readexactly(200_000)
            seen.append((key, -1))
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        seen.append((key, len((await request.read()).splitlines())))
        return web.json_response(JOB, status=202)

    once = ({"number": n, "text": "x" * 100} for n in range(20_000))
    async with serving(post) as url, AsyncClient(url, patience=PATIENCE) as client:
        assert (await client.submit("o", once)).job_id == "a"
    assert [lines for _, lines in seen] == [-1, -1, 20_000]
    assert len({key for key, _ in seen}) == 1


async def test_the_server_says_how_long_to_wait() -> None:
    moments: list[float] = []

    async def post(_request: web.Request) -> web.StreamResponse:
        moments.append(asyncio.get_running_loop().time())
        if len(moments) == 1:
            return web.json_response({"code": "unavailable"}, status=503, headers=AFTER)
        return web.json_response(JOB)

    async with serving(post) as url, AsyncClient(url, patience=PATIENCE) as client:
        await client.pause("a")
    assert moments[1] - moments[0] >= 1.0


@pytest.mark.parametrize(
    ("status", "headers", "kind", "times"),
    [
        (429, LONG_AFTER, TooManyRequestsError, 1),
        (503, {}, ServerError, 4),
        (500, {}, ServerError, 1),
    ],
)
async def test_it_gives_up_in_time(
    status: int, headers: dict[str, str], kind: type[ServerError], times: int
) -> None:
    asked = 0

    async def post(_request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return web.json_response({"code": "x", "detail": "y; z"}, status=status, headers=headers)

    async with serving(post) as url, AsyncClient(url, patience=PATIENCE) as client:
        with pytest.raises(kind) as raised:
            await client.pause("a")
    assert asked == times
    assert raised.value.remedy == "z"
    assert raised.value.retry_after == (3600 if headers else None)


async def test_a_stream_is_taken_up_behind_the_last_event() -> None:
    asked: list[str] = []

    async def events(request: web.Request) -> web.StreamResponse:
        last = int(request.headers["Last-Event-ID"])
        asked.append(str(last))
        if last == 4:
            return web.Response(status=204)
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        data = b'{"job_id": "a", "status": "running", "counts": {"total": 1}}'
        await stream.write(b"event: e\nid: %d\ndata: %b\n\n" % (last + 1, data))
        await stream.write(b"event: progress\ndata: %b\n\nevent: e\nid: 9" % data)
        assert request.transport is not None
        request.transport.close()
        return stream

    async with serving(events=events) as url, AsyncClient(url, patience=PATIENCE) as client:
        seen = [event.version async for event in client.stream("a")]
    assert seen == [1, None, 2, None, 3, None, 4, None]
    assert asked == ["0", "1", "2", "3", "4"]


async def test_a_stream_that_says_nothing_is_given_up() -> None:
    asked = 0

    async def events(_request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return web.Response(content_type="text/event-stream")

    async with serving(events=events) as url, AsyncClient(url, patience=PATIENCE) as client:
        with pytest.raises(UnreachableError, match="without a word"):
            async for _ in client.stream("a"):
                pass
    assert asked == PATIENCE.attempts


async def test_a_stream_that_has_stood_is_no_failed_attempt() -> None:
    """A job may bring nothing for hours, and the server may end more than once meanwhile."""
    asked = 0

    async def events(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        if asked > 5:
            return web.Response(status=204)
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        assert request.transport is not None
        request.transport.close()
        return stream

    patience = Patience(attempts=2, first=0.0, longest=0.0)
    async with serving(events=events) as url, AsyncClient(url, patience=patience) as client:
        assert [event async for event in client.stream("a")] == []
    assert asked == 6


def test_only_a_connection_that_has_stood_makes_patience_whole() -> None:
    now = 0.0
    waits = Waits(Patience(attempts=3, first=1, longest=3, give_up=10), lambda: now, lambda: 1.0)
    assert waits.next() == 1
    waits.opened()
    now = 3.0
    assert waits.next() == 2, "it went as soon as it had come"
    waits.opened()
    now = 6.5
    assert waits.next() == 1
    now = 60.0
    assert waits.next() is None, "nobody has answered since"


def test_waits_grow_and_end() -> None:
    now = 0.0
    waits = Waits(Patience(attempts=5, first=1, longest=3, give_up=100), lambda: now, lambda: 1.0)
    assert [waits.next() for _ in range(5)] == [1, 2, 3, 3, None]
    waits.start_over()
    assert waits.next(50.0) == 50.0
    now = 60.0
    assert waits.next(50.0) is None


async def test_one_without_end_is_sent_as_it_comes() -> None:
    """Nothing waits for the end of the source before the first block is on its way."""
    arrived = asyncio.Event()

    async def post(request: web.Request) -> web.StreamResponse:
        await request.content.readany()
        arrived.set()
        await request.read()
        return web.json_response(JOB)

    async def items() -> AsyncIterator[dict[str, int]]:
        yield {"number": 1}
        await asyncio.wait_for(arrived.wait(), 10)
        yield {"number": 2}

    async with serving(post) as url, AsyncClient(url, patience=PATIENCE) as client:
        await client.submit("o", items())
    assert arrived.is_set()
