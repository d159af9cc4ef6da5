"""Positions on Kafka: where each partition ends, and how far a group has come on it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer  # type: ignore[import-untyped] # ships none
from aiokafka.errors import KafkaError  # type: ignore[import-untyped] # ships none
from aiokafka.structs import TopicPartition  # type: ignore[import-untyped] # ships none

from domain.errors import BrokerUnavailable
from streams import broker_address
from streams.broker_address import Broker
from streams.transport.kafka.closing import close_consumer

__all__ = ["Place", "ends_of"]

SILENCE: Final = 15.0
"""Seconds without an answer after which the broker counts as away."""

Place = tuple[str, int]
"""Topic and partition."""


async def ends_of(address: Broker, partitions: Mapping[str, int]) -> dict[Place, int]:
    """The offset that the next message gets, by place, of topics with so many partitions.

    Raises BrokerUnavailable.
    """
    places = [
        TopicPartition(topic, number)
        for topic, many in partitions.items()
        for number in range(many)
    ]
    broker = broker_address.parse(address)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker.bootstrap, enable_auto_commit=False, **broker.security
    )
    try:
        async with asyncio.timeout(SILENCE):
            await consumer.start()
            ends: Mapping[Any, int] = await consumer.end_offsets(places)
    except (KafkaError, TimeoutError) as error:
        raise BrokerUnavailable(
            f"the broker does not answer ({type(error).__name__}: {error}); see whether it runs"
        ) from error
    finally:
        await close_consumer(consumer)
    return {(place.topic, place.partition): end for place, end in ends.items()}
