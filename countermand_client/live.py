"""Live: one WebSocket that follows jobs, tags or all of a tenant, and leaves them again."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import aiohttp

from countermand_client.errors import UnreachableError
from countermand_client.models import Message

AGAIN = "connect again, and follow behind the last position"


class AsyncLive:
    """Says what is wanted, and is iterated for what comes: :class:`Message` after message.

    ``follow`` and ``leave`` return as soon as they are sent; ``subscribed``, ``unsubscribed`` and
    ``error`` come among the messages, with the ``ref`` that was given. A connection that is lost,
    or brings no sign of life for the ``silence`` of the client's patience, ends the iteration
    with UnreachableError: connect again, and follow behind the last ``position`` that came.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def follow(self, *, after: int | None = None, ref: str = "", **topic: Any) -> None:
        """Have events of ``job_id=``, ``tag=`` or ``all=True``: new ones, or behind a position."""
        behind = {} if after is None else {"after": after}
        await self._say("subscribe", {**topic, **behind, "ref": ref})

    async def leave(self, *, ref: str = "", **topic: Any) -> None:
        """Have them no more."""
        await self._say("unsubscribe", {**topic, "ref": ref})

    async def broadcast(self, text: str) -> None:
        """Say something to all connections of the tenant; takes ``administer``."""
        await self._say("broadcast", {"text": text})

    async def ask_statistics(self, *, ref: str = "") -> None:
        """Have a message ``statistics`` about this connection."""
        await self._say("statistics", {"ref": ref})

    def __aiter__(self) -> AsyncIterator[Message]:
        return self.messages()

    async def messages(self) -> AsyncGenerator[Message, None]:
        """What comes, as iterating the connection gives it."""
        try:
            async for frame in self._socket:
                if frame.type is aiohttp.WSMsgType.TEXT:
                    yield Message.model_validate_json(frame.data)
        except TimeoutError as error:
            raise UnreachableError(f"the WebSocket gives no sign of life; {AGAIN}") from error
        except (ConnectionError, aiohttp.ClientError) as error:
            # To read includes to answer pings, also one whose sender is gone by now.
            raise UnreachableError(f"the WebSocket was lost ({error}); {AGAIN}") from error
        raise UnreachableError(f"the WebSocket was closed ({self._socket.close_code}); {AGAIN}")

    async def _say(self, kind: str, data: dict[str, Any]) -> None:
        try:
            await self._socket.send_str(json.dumps({"type": kind, "data": data}))
        except (ConnectionError, aiohttp.ClientError) as error:
            raise UnreachableError("the WebSocket is closed; connect again") from error
