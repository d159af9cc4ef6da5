"""A connection by TLS is closed as soon as one without: nobody waits for the farewell."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from streams.transport.kafka.closing import CLOSE_SECONDS, close_promptly
from tests.services.authority import LOOPBACK, Authority


@dataclass(eq=False)
class Connection:
    """As aiokafka has them: closed once the other end has said farewell."""

    _writer: asyncio.StreamWriter | None

    async def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
            await writer.wait_closed()


@dataclass
class Client:
    """Closes its connections together."""

    _conns: dict[Any, Connection] = field(default_factory=dict)

    async def close(self) -> None:
        await asyncio.gather(*(connection.close() for connection in self._conns.values()))


@pytest.fixture
async def silent(tmp_path: Path) -> AsyncIterator[tuple[int, ssl.SSLContext]]:
    """The port of a server that reads nothing of what it is sent, and how to speak to it."""
    authority = Authority(tmp_path / "authority")
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(authority.issue("server").both)
    taken: list[asyncio.StreamWriter] = []

    def take(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)
        # Of which the transport is one that reads, though a writer does not say so.
        writer.transport.pause_reading()  # type: ignore[attr-defined] # see above

    server = await asyncio.start_server(take, LOOPBACK, 0, ssl=own)
    async with server:
        yield (
            server.sockets[0].getsockname()[1],
            ssl.create_default_context(cafile=str(authority.ca)),
        )
        for writer in taken:
            writer.transport.abort()


async def test_the_farewell_of_a_broker_that_is_busy_is_not_waited_for(
    silent: tuple[int, ssl.SSLContext],
) -> None:
    port, tls = silent
    _, writer = await asyncio.open_connection(LOOPBACK, port, ssl=tls)
    client = Client({1: Connection(writer), 2: Connection(None)})
    close_promptly(client)

    async with asyncio.timeout(CLOSE_SECONDS):
        await client.close()

    assert writer.transport.is_closing()


async def test_a_connection_without_tls_is_closed_as_ever(tmp_path: Path) -> None:
    said = asyncio.Queue[bytes]()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said.put_nowait(await reader.read())
        writer.close()

    async with await asyncio.start_server(take, LOOPBACK, 0) as server:
        _, writer = await asyncio.open_connection(LOOPBACK, server.sockets[0].getsockname()[1])
        writer.write(b"x" * 1_000_000)
        client = Client({1: Connection(writer)})
        close_promptly(client)

        async with asyncio.timeout(CLOSE_SECONDS):
            await client.close()
            assert len(await said.get()) == 1_000_000
