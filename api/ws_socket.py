"""WebSocket: messages on the wire, to clients that may be slow or gone, and close codes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from aiohttp import WSMsgType, web

from api import ws_messages as says
from api.connections import Counts
from api.limits import Limits
from api.meters import Meters
from api.problems import INTERNAL, Problem, RequestRefused, of_error
from domain.errors import CountermandError
from domain.values import Value


class CloseCode(IntEnum):
    """Why a connection was closed; 1000 to 1015 are those of RFC 6455."""

    GOING_AWAY = 1001
    """The server shuts down: connect again."""
    NO_TEXT = 1003
    INTERNAL = 1011
    UNAVAILABLE = 1013
    """Something that the server needs is away: connect again later."""
    UNAUTHENTICATED = 4401
    """No credential, a bad one, or one that holds no more."""
    FORBIDDEN = 4403
    TIMEOUT = 4408
    """Nobody has said who it is in time, or has followed anything for long."""
    TOO_MANY = 4429


class Closing(Exception):
    """The connection ends, with this code and these words."""

    def __init__(self, code: CloseCode, words: str) -> None:
        super().__init__(words)
        self.code = code
        self.words = words


class Gone(Exception):
    """The client has left, or was cut because it reads nothing."""


class Socket:
    """One connection as bytes; whoever does not read is cut, and what is sent is counted."""

    def __init__(self, limits: Limits, meters: Meters, counts: Counts) -> None:
        self._limits = limits
        self._meters = meters
        self._counts = counts
        self._request: web.Request | None = None
        self._response = web.WebSocketResponse(
            timeout=limits.linger,
            heartbeat=limits.ws_ping,
            max_msg_size=limits.ws_message,
            compress=False,
            decode_text=False,
        )

    @property
    def response(self) -> web.WebSocketResponse[bool]:
        """What the handler of the request returns."""
        return self._response

    async def open(self, request: web.Request) -> None:
        """Answer the handshake."""
        self._request = request
        await self._response.prepare(request)

    async def receive(self) -> bytes:
        """The next message; raises Gone, or Closing for what is no text."""
        message = await self._response.receive()
        if message.type is WSMsgType.TEXT:
            self._counts.received += 1
            return bytes(message.data)
        if message.type is WSMsgType.BINARY:
            raise Closing(CloseCode.NO_TEXT, "messages are text, which is JSON")
        raise Gone

    async def send(self, text: bytes) -> None:
        """Raises Gone for a client that reads nothing; what it missed is in the event store."""
        try:
            async with asyncio.timeout(self._limits.write_wait):
                await self._response.send_frame(text, WSMsgType.TEXT)
        except TimeoutError:
            self._meters.cut.inc()
            if self._request is not None and self._request.transport is not None:
                self._request.transport.abort()
            raise Gone from None
        except ConnectionError:
            raise Gone from None
        self._counts.sent += 1

    async def say(self, message: Value) -> None:
        """Send a message of ours."""
        await self.send(says.written(message))

    async def refuse(self, problem: Problem, ref: str = "") -> None:
        """Send what was wrong with a message."""
        fault = says.Fault(
            code=problem.code, detail=problem.detail, pointer=problem.pointer, ref=ref
        )
        await self.say(says.Error(data=fault))

    async def close(self, closing: Closing) -> None:
        """End the connection; the client has a few seconds to agree."""
        words = closing.words.encode()[:120].decode(errors="ignore")
        await self._response.close(code=closing.code, message=words.encode())


def problem_of(error: Exception, limits: Limits) -> Problem:
    """What the other routes would answer."""
    if isinstance(error, RequestRefused):
        return error.problem
    if isinstance(error, CountermandError):
        return of_error(error, limits.retry_after)
    raise error


_CODES: Final[Mapping[int, CloseCode]] = {
    401: CloseCode.UNAUTHENTICATED,
    403: CloseCode.FORBIDDEN,
    429: CloseCode.TOO_MANY,
    503: CloseCode.UNAVAILABLE,
}
"""By the status that the other routes would answer with."""


def closing_of(problem: Problem, *, known: bool) -> Closing:
    """How a connection ends that cannot go on after that; ``known`` says if the client is."""
    # A first message that is malformed says of nobody who it is.
    unsaid = not known and problem.status < INTERNAL
    other = CloseCode.UNAUTHENTICATED if unsaid else CloseCode.INTERNAL
    return Closing(_CODES.get(problem.status, other), problem.detail)
