"""Sending: one message to one address, within bounds of time and size, and no further.

A redirect is not followed, and of the answer nothing but the status is kept or even read: what
the receiver's network says inside is nobody's business who can read our lists.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from streams.webhooks.addresses import REFUSED, Addresses
from streams.webhooks.lookup import GetAddresses, Lookup

SECONDS: Final = 15.0
"""What a receiver has for its answer: the least that the scheme asks senders to grant."""
CONNECT_SECONDS: Final = 5.0
AT_ONCE: Final = 64
"""Messages of all tenants together."""
AGENT: Final = "Countermand-Webhooks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is posted, and where to."""

    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """The status, or why there is none; ``after`` is when the receiver wants to be asked again."""

    status: int | None
    error: str | None = None
    after: float | None = None

    @property
    def taken(self) -> bool:
        """Whether the receiver has taken the message."""
        return self.status is not None and 200 <= self.status < 300


Post = Callable[[Message], Awaitable[Answer]]


@asynccontextmanager
async def posting(
    addresses: Addresses, get_addresses: GetAddresses = socket.getaddrinfo
) -> AsyncIterator[Post]:
    """What posts messages, to the addresses that may be sent to."""
    connector = aiohttp.TCPConnector(
        resolver=Lookup(AT_ONCE, get_addresses),
        socket_factory=addresses.socket,
        use_dns_cache=False,
        force_close=True,
        limit=AT_ONCE,
    )
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=SECONDS, sock_connect=CONNECT_SECONDS),
        headers={"User-Agent": AGENT},
        auto_decompress=False,
        trust_env=False,
    ) as session:

        async def post(message: Message) -> Answer:
            if urlsplit(message.url).scheme != "https" and not addresses.http:
                return Answer(None, "the address is not https")
            return await _posted(session, message)

        yield post


async def _posted(session: aiohttp.ClientSession, message: Message) -> Answer:
    headers = {**message.headers, "Content-Type": "application/json"}
    try:
        response = await session.post(
            message.url, data=message.body, headers=headers, allow_redirects=False
        )
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Answer(None, _reason(error))
    # Its body is not read: the connection ends here.
    response.close()
    status = response.status
    if 300 <= status < 400:
        return Answer(status, "it sends elsewhere, where nothing is sent")
    return Answer(status, None, _seconds(response.headers.get("Retry-After", "")))


def _reason(error: Exception) -> str:
    """Why there is no answer, without what the error says of names and addresses."""
    if isinstance(error, TimeoutError):
        return f"no answer within {SECONDS:g} s"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "there is no host of that name"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return "its certificate is not valid for that name"
    if isinstance(error, aiohttp.ClientConnectorError):
        refused = isinstance(error.os_error, PermissionError)
        return REFUSED if refused else "nobody takes the connection"
    if isinstance(error, ValueError):
        return "it is no address"
    return "the connection broke before an answer"


def _seconds(text: str) -> float | None:
    """A wait in whole seconds; a date is left aside."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 9 else None
