"""Clients: what strangers speak to Kafka with, aiokafka and confluent-kafka, each as it comes.

Imports nothing of ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, Self

import confluent_kafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

PATIENCE = 60.0
Headers = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Message:
    """What a topic holds."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Reader(Protocol):
    """Reads a topic's partitions, each in its order."""

    async def next(self) -> Message:
        """The next message; raises TimeoutError when none comes in good time."""
        ...


class Client(Protocol):
    """A connection to the broker; also the context manager that opens and closes it."""

    async def send(self, message: Message) -> None:
        """Send, and return when the broker has it."""
        ...

    def reading(self, topic: str, *, past: bool) -> Any:
        """A context with a :class:`Reader`: from the first message on, or of what comes now."""
        ...


class Aiokafka:
    """Plain aiokafka."""

    def __init__(self, bootstrap: str, **settings: Any) -> None:
        self._bootstrap = bootstrap
        self._settings = settings

    async def __aenter__(self) -> Self:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap, acks="all", **self._settings
        )
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()

    async def send(self, message: Message) -> None:
        await self._producer.send_and_wait(
            message.topic, message.value, key=message.key, headers=list(message.headers)
        )

    @asynccontextmanager
    async def reading(self, topic: str, *, past: bool) -> AsyncIterator[Reader]:
        reset = "earliest" if past else "latest"
        async with AIOKafkaConsumer(
            topic, bootstrap_servers=self._bootstrap, auto_offset_reset=reset
        ) as consumer:
            if not past:
                # Else it would be the end as of the first look.
                await consumer.seek_to_end()
            yield _AiokafkaReader(consumer)


class _AiokafkaReader:
    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def next(self) -> Message:
        async with asyncio.timeout(PATIENCE):
            found = await self._consumer.getone()
        return Message(found.topic, found.key, found.value, found.headers)


class Confluent:
    """confluent-kafka, whose calls block and so have threads of their own."""

    def __init__(self, bootstrap: str, **settings: Any) -> None:
        self._server = {"bootstrap.servers": bootstrap}
        self._settings = settings

    async def __aenter__(self) -> Self:
        self._producer = confluent_kafka.Producer(
            {**self._server, "acks": "all", "linger.ms": 0, **self._settings}
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert await asyncio.to_thread(self._producer.flush, PATIENCE) == 0

    async def send(self, message: Message) -> None:
        failures: list[confluent_kafka.KafkaError | None] = []
        self._producer.produce(
            message.topic,
            message.value,
            message.key,
            headers=list(message.headers),
            on_delivery=lambda error, _message: failures.append(error),
        )
        assert await asyncio.to_thread(self._producer.flush, PATIENCE) == 0
        (failure,) = failures
        if failure is not None:
            raise confluent_kafka.KafkaException(failure)

    @asynccontextmanager
    async def reading(self, topic: str, *, past: bool) -> AsyncIterator[Reader]:
        consumer = confluent_kafka.Consumer(
            {**self._server, "group.id": f"stranger-{id(self)}", "enable.auto.commit": False}
        )
        try:
            await asyncio.to_thread(_assign, consumer, topic, past)
            yield _ConfluentReader(consumer)
        finally:
            await asyncio.to_thread(consumer.close)


def _assign(consumer: confluent_kafka.Consumer, topic: str, past: bool) -> None:
    numbers = consumer.list_topics(topic, PATIENCE).topics[topic].partitions
    places = [confluent_kafka.TopicPartition(topic, number) for number in numbers]
    for place in places:
        first, end = consumer.get_watermark_offsets(place, PATIENCE)
        place.offset = first if past else end
    consumer.assign(places)


class _ConfluentReader:
    def __init__(self, consumer: confluent_kafka.Consumer) -> None:
        self._consumer = consumer
        self._fetched: list[confluent_kafka.Message] = []

    async def next(self) -> Message:
        if not self._fetched:
            self._fetched = await asyncio.to_thread(self._fetch)
        found = self._fetched.pop(0)
        return Message(found.topic(), found.key(), found.value(), found.headers() or ())

    def _fetch(self) -> list[confluent_kafka.Message]:
        first = self._consumer.poll(PATIENCE)
        if first is None:
            raise TimeoutError("nothing came")
        found = [first, *self._consumer.consume(500, 0)]
        for message in found:
            if message.error() is not None:
                raise confluent_kafka.KafkaException(message.error())
        return found
