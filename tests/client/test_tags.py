"""One text where several are wanted: it is not taken for its letters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from countermand_client import AsyncClient
from tests.client.stubs import JOB, answering

Ask = Callable[[AsyncClient, Any], Awaitable[object]]
ASKED: dict[str, Ask] = {
    "submit": lambda client, tags: client.submit("o", [{"n": 1}], tags=tags),
    "draft": lambda client, tags: client.draft("o", tags=tags),
    "select": lambda client, tags: client.select("o", {"table": "t"}, tags=tags),
    "batch": lambda client, tags: client.batch([], tags=tags),
    "create_key": lambda client, roles: client.create_key("n", roles),
}


@pytest.mark.parametrize("asked", ASKED)
async def test_one_text_is_refused_and_nothing_is_asked(asked: str) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        raise AssertionError("it is asked")

    async with answering(answer) as url, AsyncClient(url) as client:
        for one in ("nightly", b"nightly"):
            with pytest.raises(TypeError, match=r"(tags|roles) are one text here; put it into a l"):
                await ASKED[asked](client, one)


@pytest.mark.parametrize("asked", [name for name in ASKED if name != "create_key"])
async def test_several_are_sent_as_they_are(asked: str) -> None:
    sent: list[list[str]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        if asked == "submit":
            sent.append(request.query.getall("tag"))
        else:
            sent.append((await request.json())["tags"])
        return web.json_response(JOB)

    async with answering(answer) as url, AsyncClient(url) as client:
        await ASKED[asked](client, ("nightly", "import"))
    assert sent == [["nightly", "import"]]
