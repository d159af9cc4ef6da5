"""HTTP: one request at a time to one server, repeated where that is safe, errors typed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import aiohttp

from countermand_client.bodies import Replay
from countermand_client.errors import (
    REPEATABLE,
    ClientError,
    ProblemError,
    UnreachableError,
    problem_of,
)
from countermand_client.patience import Patience, Waits

Query = Sequence[tuple[str, str]]
NDJSON = "application/x-ndjson"
GOODBYE = 10.0
"""So many seconds the server has to answer when a WebSocket is left, or a draft."""


class Http:
    """A session with one server."""

    def __init__(self, url: str, token: str, headers: Mapping[str, str], patience: Patience):
        parts = _parts(url)
        self._base = url.rstrip("/")
        # For words: what stands before it may be a password.
        self._shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
        self._headers = dict(headers)
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._patience = patience
        self._open: aiohttp.ClientSession | None = None
        self._standing: aiohttp.ClientSession | None = None
        """For streams, however many: what is asked would wait for their connections for ever."""

    async def open(self) -> None:
        """Make the sessions."""
        cookies = aiohttp.CookieJar()
        self._open = self._session(aiohttp.TCPConnector(), cookies)
        self._standing = self._session(aiohttp.TCPConnector(limit=0), cookies)

    def _session(
        self, connector: aiohttp.TCPConnector, cookies: aiohttp.CookieJar
    ) -> aiohttp.ClientSession:
        watching = aiohttp.TraceConfig()
        watching.on_request_redirect.append(self._not_followed)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=cookies,
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._patience.connect),
            trace_configs=[watching],
        )

    async def close(self) -> None:
        """Close all connections."""
        for session in (self._open, self._standing):
            if session is not None:
                await session.close()
        self._open = self._standing = None

    def waits(self) -> Waits:
        """The waits between attempts at something."""
        return Waits(self._patience, asyncio.get_running_loop().time, random.random)

    async def get(self, path: str, query: Query = ()) -> Any:
        """The JSON document at a path."""
        return await self._repeated("GET", path, query, {"Accept": "application/json"})

    async def post(
        self,
        path: str,
        query: Query = (),
        *,
        key: str,
        json: Any = None,
        lines: Replay | None = None,
    ) -> Any:
        """Ask for something, by a key that makes it safe to ask again; the answer's JSON."""
        headers = {"Idempotency-Key": key}
        if lines is not None:
            headers["Content-Type"] = NDJSON
        return await self._repeated("POST", path, query, headers, json=json, lines=lines)

    async def once(self, path: str, json: Any, *, headers: Mapping[str, str] | None = None) -> Any:
        """Ask for what has no key to be known by, one time."""
        accepting = {"Accept": "application/json", **(headers or {})}
        async with self.request("POST", path, (), accepting, json=json) as response:
            return await response.json()

    @asynccontextmanager
    async def socket(self, path: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A WebSocket; raises UnreachableError, or the problem that was answered."""
        session = _opened(self._standing)
        # A ping is answered by itself, and is a sign of life: the wait begins anew behind it.
        timeout = aiohttp.ClientWSTimeout(ws_receive=self.silence, ws_close=GOODBYE)
        try:
            async with asyncio.timeout(self._patience.answer):
                opened = await session.ws_connect(self._base + path, timeout=timeout)
        except aiohttp.WSServerHandshakeError as error:
            said = None if error.headers is None else error.headers.get("Retry-After")
            raise problem_of(error.status, {}, _seconds(said)) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            why = self._why(error)
            raise UnreachableError(f"no WebSocket at {self._shown} ({why})") from error
        async with opened:
            yield opened

    async def _repeated(
        self, method: str, path: str, query: Query, headers: Mapping[str, str], **body: Any
    ) -> Any:
        lines: Replay | None = body.pop("lines", None)
        waits = self.waits()
        while True:
            if lines is not None:
                body = {"data": lines.send()}
            try:
                async with self.request(method, path, query, headers, **body) as response:
                    return await response.json()
            except ClientError as error:
                if lines is not None and lines.failure is not None:
                    raise lines.failure from None
                if not await self.rest(waits, error):
                    raise

    async def rest(self, waits: Waits, error: ClientError) -> bool:
        """Wait before the next attempt; False, at once, where another one makes no sense.

        Raised here, the error would know by its traceback who knows it: such a cycle keeps all
        that was to be sent until the garbage collector comes.
        """
        after = None
        if isinstance(error, ProblemError):
            if error.status not in REPEATABLE:
                return False
            after = error.retry_after
        seconds = waits.next(after)
        if seconds is None:
            return False
        await asyncio.sleep(seconds)
        return True

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        query: Query,
        headers: Mapping[str, str],
        *,
        silence: float | None = None,
        **body: Any,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One attempt; raises UnreachableError, or the problem that was answered."""
        session = _opened(self._open if silence is None else self._standing)
        patience = self._patience
        timeout = aiohttp.ClientTimeout(
            total=None,
            # All connections may be in use for long, by items that come slowly.
            connect=max(patience.connect, patience.answer),
            sock_connect=patience.connect,
            sock_read=patience.answer if silence is None else silence,
        )
        asked = session.request(
            method, self._base + path, params=query, headers=headers, timeout=timeout, **body
        )
        try:
            async with asked as response:
                if response.status >= 300:
                    raise await _problem(response)
                yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            why = self._why(error)
            raise UnreachableError(
                f"no answer from {self._shown} ({why}); is the server running there, and is the "
                "address right?"
            ) from error

    def _why(self, error: Exception) -> str:
        return str(error).replace(self._base, self._shown) or type(error).__name__

    async def _not_followed(
        self,
        _session: aiohttp.ClientSession,
        _context: SimpleNamespace,
        redirect: aiohttp.TraceRequestRedirectParams,
    ) -> None:
        """Raise instead of going where a redirect leads, be it of a WebSocket.

        There a POST would be a GET, and whoever answers would see the caller's headers.
        """
        response = redirect.response
        response.close()
        raise ProblemError(response.status, {"code": "redirected", "detail": self._moved(response)})

    def _moved(self, response: aiohttp.ClientResponse) -> str:
        location = response.headers.get("Location")
        if location is None:
            return (
                f"{self._shown} says that it is elsewhere, and not where; ask whoever runs it "
                "for the address"
            )
        here = str(response.url.with_query(None))
        there = urljoin(here, location).partition("?")[0]
        address = there.removesuffix(here.removeprefix(self._shown))
        return f"the server is at {address}; use that address"

    @property
    def silence(self) -> float:
        """How long a stream may bring nothing."""
        return self._patience.silence


def _parts(url: str) -> SplitResult:
    """The parts of an address; raises ValueError, which has no password of one that is none."""
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.netloc and parts.port != 0:
            return parts
    said = url.rpartition("@")[2]
    raise ValueError(f"{said!r} is no address; write it as http://127.0.0.1:8080")


def _opened(session: aiohttp.ClientSession | None) -> aiohttp.ClientSession:
    if session is None:
        raise RuntimeError("use the client as a context manager")
    return session


async def _problem(response: aiohttp.ClientResponse) -> ProblemError:
    try:
        body = await response.json(content_type=None)
    except (ValueError, aiohttp.ClientError):
        body = {}
    known = body if isinstance(body, dict) else {}
    return problem_of(response.status, known, _seconds(response.headers.get("Retry-After")))


def _seconds(said: str | None) -> float | None:
    """What Retry-After asks for; a date, which our servers never send, is passed over."""
    return float(said) if said is not None and said.strip().isdigit() else None
