"""Session: runs one verb's coroutine with a client, on an event loop of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from streams.cli.client import Client

T = TypeVar("T")


def talk(url: str, verb: Callable[[Client], Awaitable[T]]) -> T:
    """What ``verb`` returns; its errors are those of :class:`~streams.cli.client.Client`."""

    async def spoken() -> T:
        async with Client(url) as client:
            return await verb(client)

    return asyncio.run(spoken())
