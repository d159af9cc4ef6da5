"""Why a broker lets nobody in, as far as that can be told from how it ends the connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka.errors import KafkaConnectionError

from streams.broker_address import parse
from streams.transport.kafka.refusals import refusal


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
