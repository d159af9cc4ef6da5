"""Session: runs one verb's coroutine with a client, on an event loop of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from domain.errors import InvalidCommand
from streams import secret_files
from streams.cli.client import Client

T = TypeVar("T")
ACTOR = "COUNTERMAND_ACTOR"
"""Who the caller is, for a server that takes everybody's word."""
TOKEN = "COUNTERMAND_TOKEN"  # noqa: S105 - the name of a variable
"""A token or an API key, for a server that asks for one; an option would show it to all."""
TOKEN_FILE = f"{TOKEN}_FILE"
MAX_TOKEN = 8192


def talk(url: str, verb: Callable[[Client], Awaitable[T]]) -> T:
    """What ``verb`` returns; its errors are those of :class:`~streams.cli.client.Client`."""
    actor, token = os.environ.get(ACTOR, ""), credential()

    async def spoken() -> T:
        async with Client(url, actor=actor, token=token) as client:
            return await verb(client)

    return asyncio.run(spoken())


def credential() -> str:
    """What the environment says that the caller shows; empty when it says nothing."""
    token, place = os.environ.get(TOKEN, ""), os.environ.get(TOKEN_FILE, "")
    if token and place:
        raise InvalidCommand(f"set {TOKEN} or {TOKEN_FILE}, not both")
    if place:
        try:
            token = secret_files.read(Path(place), MAX_TOKEN)
        except ValueError as error:
            raise InvalidCommand(f"{TOKEN_FILE}: {error}") from None
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise InvalidCommand(f"what {TOKEN} or {TOKEN_FILE} has is no token and no API key")
    return token
