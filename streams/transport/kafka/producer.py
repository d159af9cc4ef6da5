"""The producer of one app: refuses what Kafka would refuse, at once and with the remedy."""

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from aiokafka.errors import (  # type: ignore[import-untyped] # ships none
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
from aiokafka.record.default_records import (  # type: ignore[import-untyped] # ships none
    DefaultRecordBatchBuilder,
)
from faust.exceptions import ProducerSendError
from faust.transport.drivers import aiokafka as stock
from faust.types import TP, HeadersArg, RecordMetadata

from domain.errors import BrokerUnavailable
from streams.broker_address import BrokerAddress
from streams.transport.errors import (
    DeliveryFailedError,
    MessageTooLargeError,
    UnknownPartitionError,
    UnknownTopicError,
)
from streams.transport.kafka.closing import OPEN_SECONDS, close_producer
from streams.transport.kafka.keepalive import keep_alive
from streams.transport.kafka.refusals import refusal
from streams.transport.letters import Letter

__all__ = ["Producer"]

NEW_TOPIC_SECONDS: Final = 1.0
"""How long a topic that was just created may be unknown to the broker that is asked."""
NEW_PARTITION_SECONDS: Final = 1.0
"""How long a partition that was just added may be unknown to the broker that is asked."""
METADATA_PAUSE: Final = 0.1


class Producer(stock.Producer):
    """Writes to Kafka; every refusal is a `ProducerSendError` that says what to do."""

    async def on_start(self) -> None:
        """Find a broker.

        Raises:
            BrokerUnavailable: None answers.
        """
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await super().on_start()
        except (TimeoutError, KafkaError, OSError) as error:
            await self._close()
            raise BrokerUnavailable(await self._unreached(error)) from error

    async def _unreached(self, error: Exception) -> str:
        broker: BrokerAddress | None = getattr(self.app, "broker_address", None)
        refused = None if broker is None else await refusal(broker, error)
        servers = ", ".join(stock.server_list(self.transport.url, stock.Transport.default_port))
        return (
            refused
            or f"no Kafka broker answers at {servers}; start one, or mend COUNTERMAND_BROKER"
        )

    def _new_producer(self, transactional_id: str | None = None) -> Any:
        producer = super()._new_producer(transactional_id)
        keep_alive(producer.client)
        return producer

    async def on_stop(self) -> None:
        """Deliver what is pending, within bounds, and close."""
        await self._close()
        await super().on_stop()

    async def _close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await close_producer(producer)

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: HeadersArg | None,
        *,
        transactional_id: str | None = None,
    ) -> Awaitable[RecordMetadata]:
        """Queue a message, and return what its metadata can be awaited on.

        Raises:
            UnknownTopicError: The topic was never created.
            UnknownPartitionError: It has no such partition.
            MessageTooLargeError: The message is above `producer_max_request_size`.
            DeliveryFailedError: No room came within `producer_request_timeout`. What is awaited
                raises this, too, when the broker does not confirm.
        """
        if key is None and value is None:
            raise ValueError("a message needs a key or a value")
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers or [])
        # aiokafka's own measure; it also refuses what is not bytes.
        size = DefaultRecordBatchBuilder.estimate_size_in_bytes(key, value, pairs)
        if size > self.max_request_size:
            raise MessageTooLargeError(topic, size, self.max_request_size)
        partitions = await self._partitions(topic)
        if partition is not None and partition not in partitions:
            await self._find_partition(topic, partition)
        await self._check_sender()
        try:
            queued = asyncio.ensure_future(
                await super().send(
                    topic,
                    key,
                    value,
                    partition,
                    timestamp,
                    pairs,
                    transactional_id=transactional_id,
                )
            )
        except ProducerSendError as error:
            raise DeliveryFailedError(topic, error.__cause__ or error) from error
        sent: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()
        queued.add_done_callback(partial(_settle, sent, topic, size))
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
        transactional_id: str | None = None,
    ) -> RecordMetadata:
        """Send a message, and return where it went; raises what `send` raises."""
        try:
            # aiokafka gives a message up by itself, and does not when its sender is at fault.
            async with asyncio.timeout(2 * self.request_timeout):
                sent = await self.send(
                    topic,
                    key,
                    value,
                    partition,
                    timestamp,
                    headers,
                    transactional_id=transactional_id,
                )
                return await sent
        except TimeoutError as error:
            raise DeliveryFailedError(topic, error) from error

    async def send_together(self, topic: str, letters: Sequence[Letter]) -> None:
        """Send messages in as few requests as their size allows, and wait until all are there.

        Of a partition one batch is under way at a time, and it is stored as a whole or not at
        all: whoever sends all again after an error has nothing overtaken.

        Raises:
            What `send` raises; some messages may have been delivered then.
        """
        for key, value, headers in letters:
            size = DefaultRecordBatchBuilder.estimate_size_in_bytes(key, value, headers)
            if size > self.max_request_size:
                raise MessageTooLargeError(topic, size, self.max_request_size)
        await self._partitions(topic)
        await self._check_sender()
        left = list(letters)
        while left:
            left = await self._send_batches(topic, left)

    async def _send_batches(self, topic: str, letters: Sequence[Letter]) -> list[Letter]:
        """One batch a partition; returns what had no room in those."""
        producer = self._ensure_producer()
        batches: dict[int, Any] = {}
        left: list[Letter] = []
        for letter in letters:
            key, value, headers = letter
            partition = self.key_partition(topic, key).partition
            if partition not in batches:
                batches[partition] = producer.create_batch()
            added = batches[partition].append(key=key, value=value, timestamp=None, headers=headers)
            if added is None:
                # It is closed by that: no later letter of the partition goes before this one.
                left.append(letter)
        try:
            # aiokafka gives a batch up by itself, and does not when its sender is at fault.
            async with asyncio.timeout(2 * self.request_timeout):
                sent = [
                    await producer.send_batch(batch, topic, partition=partition)
                    for partition, batch in batches.items()
                ]
                await asyncio.gather(*sent)
        except (TimeoutError, KafkaError) as error:
            raise _told(error, topic, 0) from error
        return left

    async def flush(self) -> None:
        """Wait until what was sent is confirmed or has failed.

        Raises:
            TimeoutError: Neither happened within `producer_request_timeout`.
        """
        async with asyncio.timeout(self.request_timeout):
            await super().flush()

    def key_partition(self, topic: str, key: bytes | None) -> TP:
        """Return the partition a message with this key goes to."""
        return super().key_partition(topic, key)  # type: ignore[arg-type] # may be None

    async def _partitions(self, topic: str) -> set[int]:
        """Return the partitions of a topic, asking the broker when it was not seen before."""
        client = self._ensure_producer().client
        known: set[int] | None = client.cluster.partitions_for_topic(topic)
        asked = time.monotonic()
        while known is None:
            # Faust's producer would ask for as long as a request may take.
            client.add_topic(topic)
            answered = await client.force_metadata_update()
            known = client.cluster.partitions_for_topic(topic)
            waited = time.monotonic() - asked
            if known is None:
                self._give_up(topic, waited, answered=answered)
                await asyncio.sleep(METADATA_PAUSE)
        return known

    async def _find_partition(self, topic: str, partition: int) -> None:
        """Ask the broker for a partition that others may have heard of before this client.

        Raises:
            UnknownPartitionError: The topic has none of that number.
        """
        client = self._ensure_producer().client
        # What is known of a topic that the client does not track is forgotten by an update.
        client.add_topic(topic)
        with suppress(TimeoutError):
            async with asyncio.timeout(NEW_PARTITION_SECONDS):
                while partition not in _known(client, topic):
                    await client.force_metadata_update()
                    if partition not in _known(client, topic):
                        await asyncio.sleep(METADATA_PAUSE)
        known = _known(client, topic)
        if partition not in known:
            raise UnknownPartitionError(topic, partition, len(known))

    def _give_up(self, topic: str, waited: float, *, answered: bool) -> None:
        """Raise once a topic has been unknown for too long.

        A broker that has just come back answers before it has read which topics there are.
        """
        was_there = topic in getattr(self.app, "topics_seen", ())
        if answered and not was_there and waited > NEW_TOPIC_SECONDS:
            self._ensure_producer().client._topics.discard(topic)
            raise UnknownTopicError(topic)
        if waited > self.request_timeout:
            said = "the broker that answers does not know it" if answered else "no broker answers"
            raise DeliveryFailedError(topic, TimeoutError(said))

    async def _check_sender(self) -> None:
        """Crash the app when aiokafka's sender has ended: it would queue messages for ever."""
        task = self._ensure_producer()._sender.sender_task
        if task.done():
            ended = DeliveryFailedError("any", RuntimeError("the sender of aiokafka has ended"))
            await self.crash(ended)
            raise ended


def _known(client: Any, topic: str) -> set[int]:
    """The partitions of a topic that a client knows; none while it knows no such topic."""
    return client.cluster.partitions_for_topic(topic) or set()


def _settle(
    sent: "asyncio.Future[RecordMetadata]", topic: str, size: int, queued: "asyncio.Future[Any]"
) -> None:
    error = None if queued.cancelled() else queued.exception()
    if sent.done():
        return
    if queued.cancelled():
        sent.cancel()
    elif error is None:
        sent.set_result(queued.result())
    else:
        sent.set_exception(_told(error, topic, size))


def _told(error: BaseException, topic: str, size: int) -> ProducerSendError:
    if isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError):
        told: ProducerSendError = MessageTooLargeError(topic, size, None)
    else:
        told = DeliveryFailedError(topic, error)
    told.__cause__ = error
    return told
