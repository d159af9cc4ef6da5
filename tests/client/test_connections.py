"""Connections: how many stand at once, how long one may take, and what is said of the address."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

import pytest
from aiohttp import web

from countermand_client import AsyncClient, ClientError, Patience, UnreachableError
from tests.client.stubs import JOB, answering

ONCE = Patience(attempts=1)
MANY = 101
"""More than a pool of connections has."""


@pytest.mark.parametrize("kind", ["streams", "websockets"])
async def test_however_many_are_followed_something_else_can_be_asked(kind: str) -> None:
    came, all_came, over = 0, asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal came
        if request.path.endswith("/jobs/a"):
            return web.json_response(JOB)
        opened: web.StreamResponse = web.StreamResponse()
        if request.path.endswith("/ws"):
            opened = web.WebSocketResponse()
        await opened.prepare(request)
        came += 1
        if came == MANY:
            all_came.set()
        await over.wait()
        return opened

    async def follow(client: AsyncClient) -> None:
        if kind == "streams":
            async with aclosing(client.stream("a")) as events:
                async for _ in events:
                    pass
        else:
            async with client.live():
                await over.wait()

    async with answering(answer) as url, AsyncClient(url) as client:
        following = [asyncio.ensure_future(follow(client)) for _ in range(MANY)]
        try:
            async with asyncio.timeout(20):
                await all_came.wait()
                assert (await client.job("a")).job_id == "a"
        finally:
            over.set()
            for one in following:
                one.cancel()
            await asyncio.gather(*following, return_exceptions=True)


@asynccontextmanager
async def mute() -> AsyncIterator[str]:
    """The address of a server that takes a connection, and says nothing on it."""

    async def say_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    over = asyncio.Event()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        )
        stack.callback(over.set)
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_websocket_that_is_not_answered_is_given_up() -> None:
    patience = Patience(attempts=1, answer=0.2)
    async with asyncio.timeout(10), mute() as url, AsyncClient(url, patience=patience) as client:
        with pytest.raises(UnreachableError, match=r"no WebSocket at .* \(TimeoutError\)"):
            async with client.live():
                raise AssertionError("there is none")


def _with_password(url: str) -> str:
    return url.replace("://", "://ci:s3cret@")


async def _ask(client: AsyncClient, asked: str) -> None:
    if asked == "job":
        await client.job("a")
    else:
        async with client.live():
            raise AssertionError("there is none")


@pytest.mark.parametrize("asked", ["job", "live"])
@pytest.mark.parametrize("location", ["away", "", "/behind"])
async def test_a_password_in_the_address_is_used_and_not_repeated(
    asked: str, location: str
) -> None:
    given: list[str | None] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        given.append(request.headers.get("Authorization"))
        headers = {"Location": location + request.path} if location else {}
        return web.Response(status=307, headers=headers)

    async with answering(answer) as url:
        address = "http://127.0.0.1:1" if location == "away" else url
        async with AsyncClient(_with_password(address), patience=ONCE) as client:
            with pytest.raises(ClientError) as raised:
                await _ask(client, asked)
    assert address in str(raised.value)
    assert "s3cret" not in "".join(traceback.format_exception(raised.value))
    assert given == ([] if location == "away" else ["Basic Y2k6czNjcmV0"])
    if location == "/behind":
        assert f"the server is at {address}/behind; use" in str(raised.value)


@pytest.mark.parametrize(
    "url", ["ftp://ci:s3cret@gateway", "ci:s3cret@gateway", "http://ci:s3cret@gateway:8x"]
)
def test_nor_is_that_of_one_that_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match=r"gateway\S*' is no address") as raised:
        AsyncClient(url)
    assert "s3cret" not in "".join(traceback.format_exception(raised.value))
