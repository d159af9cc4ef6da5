"""The producer of one app: checks a message as Kafka would, and appends it."""

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from aiokafka.partitioner import DefaultPartitioner  # type: ignore[import-untyped] # ships none
from aiokafka.record.default_records import (  # type: ignore[import-untyped] # ships none
    DefaultRecordBatchBuilder,
)
from faust.exceptions import NotReady
from faust.transport import base
from faust.types import TP, HeadersArg, RecordMetadata

from streams.transport.errors import MessageTooLargeError, UnknownPartitionError
from streams.transport.letters import Letter
from streams.transport.memory.broker import MemoryBroker
from streams.transport.memory.log import Headers, PartitionLog, Record

__all__ = ["Producer"]

CREATE_TIME = 0


class Producer(base.Producer):
    """Writes to a `MemoryBroker`; what it accepts, Kafka accepts."""

    def __init__(self, *args: Any, broker: MemoryBroker, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._broker = broker
        self._place = self.partitioner or DefaultPartitioner()

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: HeadersArg | None,
        *,
        transactional_id: str | None = None,  # noqa: ARG002 - Faust's signature
    ) -> Awaitable[RecordMetadata]:
        """Store a message, and return what its metadata can be awaited on.

        Raises:
            UnknownTopicError: The topic was never created.
            UnknownPartitionError: It has no such partition.
            MessageTooLargeError: The message is above `producer_max_request_size`.
            BacklogFullError: No room came within `producer_request_timeout`.
        """
        if not self.started or self.should_stop:
            raise NotReady("the producer runs from start to stop of its app")
        if key is None and value is None:
            raise ValueError("a message needs a key or a value")
        logs = self._broker.partitions(topic)
        stored_headers = _as_pairs(headers)
        size = self._checked_size(topic, key, value, stored_headers)
        log = self._choose(logs, key, partition)
        record = await log.append(
            key=key,
            value=value,
            headers=stored_headers,
            timestamp=int((timestamp or time.time()) * 1000),
            size=size,
            patience=self.request_timeout,
        )
        loop = asyncio.get_running_loop()
        sent: asyncio.Future[RecordMetadata] = loop.create_future()
        # Not at once, so that whoever awaits each message in a loop lets the others run.
        loop.call_soon(_settle, sent, log.tp, record)
        return sent

    async def send_and_wait(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: HeadersArg | None,
        *,
        transactional_id: str | None = None,  # noqa: ARG002 - Faust's signature
    ) -> RecordMetadata:
        """Store a message, and return where it went; raises what `send` raises."""
        return await (await self.send(topic, key, value, partition, timestamp, headers))

    async def send_together(self, topic: str, letters: Sequence[Letter]) -> None:
        """Store messages in their order; raises what `send` raises, and has stored some then."""
        for key, value, headers in letters:
            await self.send_and_wait(topic, key, value, None, None, headers)

    async def flush(self) -> None:
        """Send what `send_soon` has queued."""
        await self.buffer.flush()

    def key_partition(self, topic: str, key: bytes | None) -> TP:
        """Return the partition a message with this key goes to."""
        return self._choose(self._broker.partitions(topic), key, None).tp

    def supports_headers(self) -> bool:
        """Headers are kept."""
        return True

    async def create_topic(
        self,
        topic: str,
        partitions: int,
        *_args: Any,
        **_kwargs: Any,
    ) -> None:
        """Create the topic if the app may; replication and retention have no meaning here."""
        if self.app.conf.topic_allow_declare:
            self._broker.create_topic(topic, partitions)

    def _checked_size(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> int:
        # aiokafka's own measure; it also refuses what is not bytes.
        size: int = DefaultRecordBatchBuilder.estimate_size_in_bytes(key, value, headers)
        if size > self.max_request_size:
            raise MessageTooLargeError(topic, size, self.max_request_size)
        return size

    def _choose(
        self, logs: tuple[PartitionLog, ...], key: bytes | None, partition: int | None
    ) -> PartitionLog:
        if partition is None:
            numbers = range(len(logs))
            return logs[self._place(key, numbers, numbers)]
        if 0 <= partition < len(logs):
            return logs[partition]
        raise UnknownPartitionError(logs[0].tp.topic, partition, len(logs))


def _settle(sent: asyncio.Future[RecordMetadata], tp: TP, record: Record) -> None:
    if not sent.done():
        sent.set_result(
            RecordMetadata(tp.topic, tp.partition, tp, record.offset, record.timestamp, CREATE_TIME)
        )


def _as_pairs(headers: HeadersArg | None) -> Headers:
    if not headers:
        return []
    return list(headers.items() if isinstance(headers, Mapping) else headers)
