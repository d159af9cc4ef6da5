"""Session: runs one verb's coroutine with a client, on an event loop of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

from streams.cli.client import Client

T = TypeVar("T")
ACTOR = "COUNTERMAND_ACTOR"
"""Who the caller is, for a server that asks."""


def talk(url: str, verb: Callable[[Client], Awaitable[T]]) -> T:
    """What ``verb`` returns; its errors are those of :class:`~streams.cli.client.Client`."""
    actor = os.environ.get(ACTOR, "")

    async def spoken() -> T:
        async with Client(url, actor=actor) as client:
            return await verb(client)

    return asyncio.run(spoken())
