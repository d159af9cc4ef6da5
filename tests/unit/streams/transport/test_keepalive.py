"""Every connection to Kafka is given up by the kernel when its other end is gone."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from streams.transport.kafka.keepalive import SILENT_SECONDS, keep_alive


@dataclass(eq=False)
class Connection:
    """As aiokafka has them: a writer over a socket."""

    there: socket.socket

    @property
    def _writer(self) -> Any:
        return self

    def connected(self) -> bool:
        return self.there.fileno() != -1

    def get_extra_info(self, name: str) -> Any:
        return getattr(self, {"socket": "there"}[name])


@dataclass
class Client:
    """Hands out one connection."""

    connection: Connection | None

    async def _get_conn(self, node: int, *, group: int = 0) -> Connection | None:
        assert (node, group) == (1, 2)
        return self.connection


@pytest.fixture
def there() -> Iterator[socket.socket]:
    with socket.socket() as opened:
        yield opened


async def test_a_connection_is_given_up_when_nothing_is_acknowledged(there: socket.socket) -> None:
    client = Client(Connection(there))
    keep_alive(client)
    assert await client._get_conn(1, group=2) is client.connection
    silent = there.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    probes = there.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
    idle = there.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
    assert there.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert (silent, idle + probes) == (SILENT_SECONDS * 1000, SILENT_SECONDS)


async def test_a_broker_that_is_away_and_a_connection_that_was_closed_pass(
    there: socket.socket,
) -> None:
    client = Client(None)
    keep_alive(client)
    assert await client._get_conn(1, group=2) is None
    there.close()
    client.connection = Connection(there)
    assert await client._get_conn(1, group=2) is client.connection
