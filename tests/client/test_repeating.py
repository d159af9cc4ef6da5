"""What is repeated, when, and with what: against a server that fails as a test says."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from countermand_client import (
    AsyncClient,
    Client,
    Patience,
    ServerError,
    TooManyRequestsError,
    UnreachableError,
)
from countermand_client.bodies import BLOCK, ITEMS_AT_ONCE, Replay
from countermand_client.patience import Waits

PATIENCE = Patience(attempts=4, first=0.001, longest=60.0, give_up=60.0, silence=60.0)
"""Whose attempts are few and soon; nothing here may end, or begin anew, for being slow."""
JOB = {"job_id": "a", "operation": "o", "status": "running", "version": 3, "counts": {"total": 1}}
AFTER, LONG_AFTER = {"Retry-After": "1"}, {"Retry-After": "3600"}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(
    post: Handler | None = None, events: Handler | None = None, socket: Handler | None = None
) -> AsyncIterator[str]:
    app = web.Application(client_max_size=100_000_000)
    if post is not None:
        app.router.add_post("/{path:.*}", post)
    if events is not None:
        app.router.add_get("/api/v1/jobs/a/events", events)
    if socket is not None:
        app.router.add_get("/api/v1/ws", socket)
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


@pytest.mark.parametrize("plain", [True, False])
async def test_a_stream_that_is_asked_for_too_often_waits_as_it_is_told(plain: bool) -> None:
    """Before its first event, and when it is taken up."""
    moments: list[float] = []

    async def events(request: web.Request) -> web.StreamResponse:
        moments.append(asyncio.get_running_loop().time())
        if len(moments) in (1, 3):
            body = {"code": "too_many_requests", "detail": "too many"}
            return web.json_response(body, status=429, headers=AFTER)
        if len(moments) == 4:
            return web.Response(status=204)
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        data = b'{"job_id": "a", "status": "running", "counts": {"total": 1}}'
        await stream.write(b"event: e\nid: 1\ndata: %b\n\n" % data)
        return stream

    def talk() -> list[int | None]:
        with Client(url, patience=PATIENCE) as client:
            return [event.version for event in client.stream("a")]

    async with serving(events=events) as url:
        if plain:
            seen = await asyncio.to_thread(talk)
        else:
            async with AsyncClient(url, patience=PATIENCE) as client:
                seen = [event.version async for event in client.stream("a")]
    assert seen == [1]
    assert moments[1] - moments[0] >= 1.0
    assert moments[3] - moments[2] >= 1.0


async def test_a_websocket_that_is_refused_for_a_while_says_for_how_long() -> None:
    async def socket(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=429, headers=LONG_AFTER)

    async with serving(socket=socket) as url, AsyncClient(url, patience=PATIENCE) as client:
        with pytest.raises(TooManyRequestsError) as raised:
            async with client.live():
                raise AssertionError("there is none")
    assert raised.value.retry_after == 3600


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
        for number in range(ITEMS_AT_ONCE):
            yield {"number": number}
        await asyncio.wait_for(arrived.wait(), 10)
        yield {"number": ITEMS_AT_ONCE}

    async with serving(post) as url, AsyncClient(url, patience=PATIENCE) as client:
        await client.submit("o", items())
    assert arrived.is_set()


async def test_items_that_come_slowly_are_sent_before_there_are_many() -> None:
    """A server ends a body that stands still, and must not do so while items come."""
    body = Replay(_slow_behind(ITEMS_AT_ONCE))
    blocks = [len(block.splitlines()) async for block in body.send()]
    await body.close()
    assert blocks == [ITEMS_AT_ONCE, 1, 1]


async def test_few_items_may_take_as_long_as_they_like() -> None:
    """No body has begun that could stand still."""
    body = Replay(_slow_behind(2))
    blocks = [len(block.splitlines()) async for block in body.send()]
    await body.close()
    assert blocks == [4]


def _slow_behind(many: int) -> Iterator[dict[str, int]]:
    for number in range(many):
        yield {"number": number}
    for number in range(2):
        time.sleep(1.0)
        yield {"number": many + number}


async def test_items_that_come_fast_are_sent_many_at_once() -> None:
    body = Replay({"number": n} for n in range(1_200))
    blocks = [block async for block in body.send()]
    await body.close()
    assert [len(block.splitlines()) for block in blocks] == [500, 500, 200]


@pytest.mark.parametrize("opened", [True, False])
async def test_what_is_in_a_pipe_is_sent_once_there_was_a_block(opened: bool) -> None:
    arrived = threading.Event()
    end, begin = os.pipe()

    def write() -> None:
        with os.fdopen(begin, "wb", buffering=0) as pipe:
            pipe.write(b'{"number": 1}\n{"num'.ljust(BLOCK))
            pipe.write(b'ber": 2}\n')
            late.append(not arrived.wait(5))
            pipe.write(b'{"number": 3}\n')

    late: list[bool] = []
    with os.fdopen(end, "rb") as pipe:
        writing = asyncio.create_task(asyncio.to_thread(write))
        sent = await _sent(pipe if opened else Path(f"/dev/fd/{end}"), arrived, BLOCK + 9)
        await writing
    assert (sent, late) == (3, [False])


async def test_what_has_no_other_way_to_be_read_is_sent_too() -> None:
    class Plain:
        """What is opened somewhere else may know how to be read, and no more."""

        def __init__(self) -> None:
            self.read = io.BytesIO(b'{"number": 1}\n').read

    source: BinaryIO = Plain()  # type: ignore[assignment]
    assert await _sent(source, threading.Event()) == 1


class Full(io.BytesIO):
    """A disk without room."""

    def write(self, _block: Any, /) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("size", [10, 100_000])
async def test_a_full_disk_is_said_at_once_and_not_taken_for_a_server_that_is_away(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of the little that a file keeps back, and writes when it is read or closed."""
    asked = 0

    async def post(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        await request.read()
        return web.json_response(JOB)

    def kept(**_how: object) -> io.BufferedRandom:
        return io.BufferedRandom(Full())  # type: ignore[arg-type]

    monkeypatch.setattr("countermand_client.bodies.tempfile.SpooledTemporaryFile", kept)
    async with serving(post) as url, AsyncClient(url, patience=PATIENCE) as client:
        with pytest.raises(
            OSError, match=r"items are kept .*; make room there, or set TMPDIR"
        ) as raised:
            await client.submit("o", [{"pad": "x" * size}])
    assert raised.value.errno == errno.ENOSPC
    assert asked <= 1


async def _sent(items: Path | BinaryIO, arrived: threading.Event, some: int = 1) -> int:
    """How many lines a server has got of them; ``arrived`` once there are some bytes."""
    lines: list[bytes] = []

    async def post(request: web.Request) -> web.StreamResponse:
        first = await request.content.readexactly(some)
        arrived.set()
        lines.extend((first + await request.read()).splitlines())
        return web.json_response(JOB)

    async with serving(post) as url, AsyncClient(url, patience=PATIENCE) as client:
        await client.submit("o", items)
    return len(lines)


async def _silent(request: web.Request) -> web.StreamResponse:
    """A server that is gone without a word: nothing comes, and nobody answers a good-bye."""
    opened = web.WebSocketResponse()
    await opened.prepare(request)
    await asyncio.Event().wait()
    return opened


async def test_a_websocket_that_says_nothing_is_given_up() -> None:
    async with serving(socket=_silent) as url:
        patience = replace(PATIENCE, silence=0.1)
        async with (
            asyncio.timeout(5),
            AsyncClient(url, patience=patience) as client,
            client.live() as live,
        ):
            with pytest.raises(UnreachableError, match=r"no sign of life.*last position"):
                async for _ in live:
                    pass


async def test_a_websocket_is_left_though_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("countermand_client.http.GOODBYE", 0.1)
    async with (
        asyncio.timeout(5),
        serving(socket=_silent) as url,
        AsyncClient(url, patience=PATIENCE) as client,
        client.live(),
    ):
        pass


async def test_a_websocket_that_only_pings_is_waited_for() -> None:
    async def socket(request: web.Request) -> web.StreamResponse:
        opened = web.WebSocketResponse()
        await opened.prepare(request)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while loop.time() - began < 1.5:
            await opened.ping()
            await asyncio.sleep(0.05)
        await opened.send_str('{"type": "broadcast", "data": {}}')
        await opened.receive()
        return opened

    async with serving(socket=socket) as url:
        patience = replace(PATIENCE, silence=1.0)
        async with AsyncClient(url, patience=patience) as client, client.live() as live:
            message = await anext(live.messages())
    assert message.type == "broadcast"


async def test_a_websocket_that_is_lost_behind_a_ping_is_one_that_is_lost() -> None:
    """The ping is read when its answer cannot be sent any more."""

    async def socket(request: web.Request) -> web.StreamResponse:
        opened = web.WebSocketResponse()
        await opened.prepare(request)
        await opened.ping()
        assert request.transport is not None
        request.transport.close()
        return opened

    async with (
        serving(socket=socket) as url,
        AsyncClient(url, patience=PATIENCE) as client,
        client.live() as live,
    ):
        await asyncio.sleep(0.1)
        with pytest.raises(UnreachableError, match="last position"):
            async for _ in live:
                pass
