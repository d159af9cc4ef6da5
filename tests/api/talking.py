"""Speaking to ``/api/v1/ws`` in tests; whatever comes must be of the vocabulary."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson

from api.ws_messages import ANSWERED
from tests.api.conftest import Site

WS = "/api/v1/ws"
PATIENCE = 10.0


class Talk:
    """One connection."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def say(self, kind: str, **data: Any) -> None:
        await self.socket.send_str(orjson.dumps({"type": kind, "data": data}).decode())

    async def hear(self) -> tuple[str, dict[str, Any]]:
        """The next message; fails for the end."""
        message = await self.socket.receive(PATIENCE)
        assert message.type is aiohttp.WSMsgType.TEXT, f"closed: {message}"
        ANSWERED.validate_json(message.data, strict=True)
        document = orjson.loads(message.data)
        assert document.keys() == {"type", "data"}
        return document["type"], document["data"]

    async def expect(self, kind: str) -> dict[str, Any]:
        found, data = await self.hear()
        assert found == kind, data
        return data

    async def asked(self, kind: str, answer: str, **data: Any) -> dict[str, Any]:
        await self.say(kind, **data)
        return await self.expect(answer)

    async def followed(self, **topic: Any) -> dict[str, Any]:
        return await self.asked("subscribe", "subscribed", **topic)

    async def happened(self, count: int) -> list[dict[str, Any]]:
        """So many events."""
        found = []
        for _ in range(count):
            kind, data = await self.hear()
            assert kind in ("progress", "completion"), data
            found.append(data)
        return found

    async def silent(self) -> None:
        """Nothing was sent before the answer to what is asked now."""
        await self.asked("statistics", "statistics")

    async def closed(self) -> int | None:
        """The code with which the server has closed."""
        message = await self.socket.receive(PATIENCE)
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED), message
        return self.socket.close_code


@asynccontextmanager
async def talk(site: Site, path: str = WS, **options: Any) -> AsyncIterator[Talk]:
    """A connection; the server has not said anything yet."""
    async with asyncio.timeout(30), site.client.ws_connect(path, **options) as socket:
        yield Talk(socket)


@asynccontextmanager
async def welcomed(site: Site, path: str = WS, **options: Any) -> AsyncIterator[Talk]:
    """A connection of somebody who is known."""
    async with talk(site, path, **options) as found:
        await found.expect("authenticated")
        yield found
