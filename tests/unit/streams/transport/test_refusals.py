"""Why a broker lets nobody in, as far as that can be told from how it ends the connection."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import threading
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiokafka.errors import KafkaConnectionError

from streams.broker_address import parse
from streams.broker_security import Access
from streams.transport.kafka import refusals
from streams.transport.kafka.refusals import refusal
from tests.services.authority import LOOPBACK, Authority


@pytest.fixture
async def balancer() -> AsyncIterator[str]:
    """The place of one that has nobody behind it: it takes connections, and ends them."""

    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10_000)
        writer.close()

    async with await asyncio.start_server(end, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"{host}:{port}"


@pytest.mark.parametrize(
    ("scheme", "otherwise"),
    [
        ("kafka", "set COUNTERMAND_BROKER_USER and COUNTERMAND_BROKER_PASSWORD_FILE"),
        ("kafka+ssl", "COUNTERMAND_BROKER has the port at which it speaks TLS"),
    ],
)
async def test_a_broker_that_is_not_up_behind_its_balancer_may_be_just_that(
    balancer: str, scheme: str, otherwise: str
) -> None:
    said = await refusal(parse(f"{scheme}://{balancer}"), KafkaConnectionError())

    assert said is not None
    assert said.startswith(f"Kafka at {balancer} ends the connection ")
    assert "it is not up yet behind its balancer, or " in said
    assert otherwise in said


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[tuple[str, Access]]:
    """The place of a server that says nothing once TLS stands, and whom it trusts."""
    authority = Authority(tmp_path / "authority")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority.issue("server").both)
    over = threading.Event()

    def serve(listening: socket.socket) -> None:
        taken, _ = listening.accept()
        with context.wrap_socket(taken, server_side=True):
            over.wait()

    with socket.create_server((LOOPBACK, 0)) as listening:
        serving = threading.Thread(target=serve, args=[listening])
        serving.start()
        host, port = listening.getsockname()
        yield f"{host}:{port}", Access(ca=authority.ca)
        over.set()
        serving.join()


def test_no_connection_is_left_to_a_broker_that_says_no_farewell(
    silent: tuple[str, Access], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, access = silent
    monkeypatch.setattr(refusals, "ASKING_SECONDS", 0.5)

    with warnings.catch_warnings(record=True) as left:
        warnings.simplefilter("always")
        said = asyncio.run(refusal(parse(f"kafka+ssl://{place}", access), KafkaConnectionError()))
        gc.collect()

    assert said is None
    assert [str(one.message) for one in left] == []
