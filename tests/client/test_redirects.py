"""A server that says it is elsewhere: nobody is followed there, and the key stays here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from countermand_client import AsyncClient, Patience, ProblemError
from tests.client.stubs import JOB, answering

PATIENCE = Patience(attempts=4, first=0.001)
Ask = Callable[[AsyncClient], Awaitable[object]]


async def _stream(client: AsyncClient) -> object:
    return [event async for event in client.stream("a")]


async def _live(client: AsyncClient) -> object:
    async with client.live() as live:
        return live


ASKED: dict[str, Ask] = {
    "submit": lambda client: client.submit("o", ({"n": n} for n in range(3))),
    "verb": lambda client: client.pause("a"),
    "once": lambda client: client.rotate_key("k"),
    "get": lambda client: client.job("a"),
    "stream": _stream,
    "websocket": _live,
}


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("asked", ASKED)
async def test_a_redirect_is_not_followed_and_says_the_address(asked: str, status: int) -> None:
    came: list[str] = []
    sent_on: list[str] = []

    async def other(request: web.Request) -> web.StreamResponse:
        sent_on.append(request.headers.get("X-Key", ""))
        return web.json_response(JOB)

    async def balancer(request: web.Request) -> web.StreamResponse:
        came.append(request.method)
        there = f"{elsewhere}/behind{request.rel_url}"
        return web.Response(status=status, headers={"Location": there})

    async with (
        answering(other) as elsewhere,
        answering(balancer) as url,
        AsyncClient(url, headers={"X-Key": "k"}, patience=PATIENCE) as client,
    ):
        with pytest.raises(ProblemError) as raised:
            await ASKED[asked](client)
    assert (raised.value.status, raised.value.code) == (status, "redirected")
    assert raised.value.detail == f"the server is at {elsewhere}/behind; use that address"
    assert raised.value.remedy == "use that address"
    assert (len(came), sent_on) == (1, [])


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("/login?next=%2Fapi", "the server is at {}/login; use that address"),
        (None, "says that it is elsewhere, and not where; ask whoever runs it for the address"),
    ],
)
async def test_one_that_leads_to_something_else_is_named(location: str | None, said: str) -> None:
    async def login(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": location} if location else {})

    async with answering(login) as url, AsyncClient(url, patience=PATIENCE) as client:
        with pytest.raises(ProblemError) as raised:
            await client.job("a")
    assert said.format(url) in raised.value.detail
