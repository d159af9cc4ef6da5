"""The consumer of one app: commits what is done and no more, also before a rebalance."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Final

from aiokafka.errors import (  # type: ignore[import-untyped] # ships none
    CommitFailedError,
    IllegalStateError,
    KafkaError,
)
from aiokafka.structs import OffsetAndMetadata  # type: ignore[import-untyped] # ships none
from faust.transport.drivers import aiokafka as stock
from faust.types import TP, AppT, Message
from mode.utils.locks import Event

from domain.errors import BrokerUnavailable
from streams.transport.errors import UnknownTopicError
from streams.transport.kafka.closing import OPEN_SECONDS, close_consumer
from streams.transport.kafka.in_flight import InFlight

__all__ = ["Consumer"]

COMMIT_SECONDS: Final = 5.0
"""How long a commit may take; the next one makes up for it."""
NEW_TOPIC_SECONDS: Final = 2.0
"""How long a topic that was just created may be unknown to the broker that is asked."""
METADATA_PAUSE: Final = 0.1


class Consumer(stock.Consumer):
    """Reads the app's share of the partitions from Kafka."""

    _thread: "ConsumerThread"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._in_flight = InFlight()
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> "ConsumerThread":
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Read these topics from the next generation on.

        Raises:
            UnknownTopicError: One of them was never created; Faust would read the others and
                say nothing.
        """
        wanted = frozenset(topics)
        await self._thread.call_thread(self._thread.check_topics, wanted)
        await super().subscribe(wanted)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish and commit what is in flight, then give the partitions up.

        Faust forgets the acknowledgements first and commits afterwards, which hands every message
        acknowledged since the last commit to the next owner once more.
        """
        if revoked and not self.app.should_stop:
            self.stop_flow()
            self.app.flow_control.suspend()
            self.app.flow_control.clear()
            await self.wait_empty()
        await super().on_partitions_revoked(revoked)
        self._in_flight.forget(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Begin where the group has committed."""
        self._in_flight.forget(assigned)
        await super().on_partitions_assigned(assigned, generation_id)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:  # noqa: ASYNC109 - Faust's signature
        """Fetch messages, and note each before an agent can see it."""
        async for tp, message in super().getmany(timeout):
            self._in_flight.deliver(tp, message.offset)
            yield tp, message

    async def _seek(self, partition: TP, offset: int) -> None:
        self._in_flight.forget([partition])
        await super()._seek(partition, offset)

    def ack(self, message: Message) -> bool:
        """Mark a message as done.

        Without its compiled extension Faust also acknowledges messages that it skipped because
        they were queued before a rebalance or a stop; those are not done.
        """
        if not message.tracked and not self._is_current(message):
            return False
        return bool(super().ack(message))

    def _is_current(self, message: Message) -> bool:
        app = self.app
        current: bool = message.generation_id == app.consumer_generation_id
        return current and app.flow_control.is_active()

    def _new_offset(self, tp: TP) -> int | None:
        self._acked[tp].clear()
        return self._in_flight.committable(tp, self._acked_index[tp])

    async def _commit_offsets(
        self, offsets: Mapping[TP, int], start_new_transaction: bool = True
    ) -> bool:
        """Commit; what could not be committed is tried again with the next commit.

        Faust takes it for committed.
        """
        before = {tp: self._committed_offset[tp] for tp in offsets}
        committed = False
        try:
            committed = await super()._commit_offsets(offsets, start_new_transaction)
        except TimeoutError:
            self.log.warning("Nothing committed: messages that were sent are not confirmed yet.")
        finally:
            if not committed:
                held = self.assignment()
                self._committed_offset.update({tp: at for tp, at in before.items() if tp in held})
        return committed


class ConsumerThread(stock.AIOKafkaConsumerThread):
    """Runs aiokafka's consumer on a loop of its own, so that heartbeats go on whatever we do."""

    app: AppT

    def __init__(
        self, consumer: Consumer, *, loop: asyncio.AbstractEventLoop, **kwargs: Any
    ) -> None:
        # The loop of the app stands in until the start: many an app has a consumer that is
        # never started, and then nobody would close a loop that was opened here.
        super().__init__(consumer, loop=loop, thread_loop=loop, **kwargs)

    async def start(self) -> None:
        """Open the loop, and start the thread on it."""
        self.loop = self.thread_loop = asyncio.new_event_loop()
        self._close_thread_loop_on_stop = True
        self._stopped, self._crashed = Event(loop=self.loop), Event(loop=self.loop)
        await super().start()

    async def on_start(self) -> None:
        """Find a broker.

        Raises:
            BrokerUnavailable: None answers.
        """
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await super().on_start()
        except (TimeoutError, KafkaError, OSError) as error:
            raise BrokerUnavailable(
                "no Kafka broker answers any more; start one, or mend COUNTERMAND_BROKER"
            ) from error

    async def on_thread_stop(self) -> None:
        """Leave the group, within bounds, and close."""
        # Past Faust's own way of closing, which has no bounds.
        await super(stock.AIOKafkaConsumerThread, self).on_thread_stop()
        if self._consumer is not None:
            await close_consumer(self._consumer)

    async def check_topics(self, topics: frozenset[str]) -> None:
        """Refuse topics that the broker does not know."""
        client = self._ensure_consumer()._client
        asked = time.monotonic()
        while True:
            known = (await client.fetch_all_metadata()).topics()
            missing = sorted(topics - known)
            if not missing:
                return
            if time.monotonic() - asked > NEW_TOPIC_SECONDS:
                raise UnknownTopicError(missing[0])
            await asyncio.sleep(METADATA_PAUSE)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit, in bounded time; only what cannot be mended by another try crashes the app."""
        consumer = self._ensure_consumer()
        wanted = {
            stock.ensure_aiokafka_TP(tp): OffsetAndMetadata(offset, "")
            for tp, offset in offsets.items()
            if tp in self.assignment()
        }
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await consumer.commit(wanted)
        except (TimeoutError, CommitFailedError, IllegalStateError) as error:
            # The broker is away, or the group went on without us.
            self.log.warning("Nothing committed: %r", error)
            return False
        except KafkaError as error:
            await self.crash(error)
            return False
        now = time.monotonic()
        self.tp_last_committed_at.update(dict.fromkeys(offsets, now))
        return True
