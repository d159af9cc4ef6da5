"""The consumer of one app: fetches for its agents, tracks what they acknowledged, commits."""

import asyncio
import gc
from collections.abc import Iterable, Mapping
from typing import Any, Final

from faust.types import TP, ConsumerMessage
from faust.types.transports import ServiceT
from mode import Service

from streams.transport.current import CurrentConsumer
from streams.transport.memory.broker import MemoryBroker
from streams.transport.memory.group import Member
from streams.transport.memory.log import PartitionLog, Record
from streams.transport.memory.reading import Reading, Records
from streams.transport.watermark import LowWatermark

__all__ = ["Consumer"]

CREATE_TIME: Final = 0
"""Kafka's code for a timestamp that the producer set."""

PRESSED_COMMIT_INTERVAL: Final = 0.01
"""Seconds between commits while a sender waits for room."""


class Consumer(CurrentConsumer):
    """Reads the app's share of the partitions from a `MemoryBroker`.

    Nothing here polls: a fetch waits for a message, a resumed partition or a new position.
    """

    def __init__(self, *args: Any, broker: MemoryBroker, **kwargs: Any) -> None:
        self._broker = broker
        self._member: Member | None = None
        self._topics: frozenset[str] = frozenset()
        self._generation = 0
        self._reading = Reading()
        self._watermark = LowWatermark()
        self._wake = asyncio.Event()
        self._commit_wanted = asyncio.Event()
        self._flow_resumed = asyncio.Event()
        super().__init__(*args, **kwargs)
        self._group = broker.group(self.app.conf.id)
        self._max_poll_records: int = self.app.conf.broker_max_poll_records or 500

    # Membership

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Read these topics from the next generation on.

        Raises:
            UnknownTopicError: One of them was never created.
        """
        self._topics = frozenset(topics)
        for topic in self._topics:
            self._broker.partitions(topic)
        if self._member is None:
            self._member = self._group.new_member()
            # Awaited here, it would wait for the very subscription that awaits it.
            self.add_future(self._take_part(self._member))
        else:
            self._member.call_back()

    def abandon(self) -> None:
        """Leave the group at once, committing nothing more.

        What was not committed goes to the next owner, as after the death of a process.
        """
        if self._member is not None:
            self._group.leave(self._member)
            self._member = None
        self._adopt(0, frozenset())

    def close(self) -> None:
        """Leave the group."""
        self.abandon()

    async def on_stop(self) -> None:
        """Wait for what is in flight, commit, and leave the group."""
        await super().on_stop()
        self.abandon()

    async def _take_part(self, member: Member) -> None:
        while self._member is member:
            await self._rebalance(member)
            stopped = await self.wait_for_stopped(member.rejoin)  # type: ignore[arg-type]
            if stopped or self.app.should_stop:
                break
        if self.crashed:
            self.abandon()

    async def _rebalance(self, member: Member) -> None:
        app = self.app
        app.on_rebalance_start()
        await self.on_partitions_revoked(self.assignment())
        if self._member is not member:
            return
        generation, partitions = await self._group.join(
            member,
            self._topics,
            from_start=app.conf.consumer_auto_offset_reset == "earliest",
            patience=app.conf.broker_rebalance_timeout,
        )
        self._adopt(generation, partitions)
        app.consumer_generation_id = generation
        self._flow_resumed.clear()
        await self.on_partitions_assigned(set(partitions), generation)
        # Faust resumes in a task of its own and would undo a revocation that began meanwhile.
        await self.wait_for_stopped(self._flow_resumed)  # type: ignore[arg-type]

    def _adopt(self, generation: int, partitions: frozenset[TP]) -> None:
        for log in self._reading.logs.values():
            log.unwatch(self._wake.set, self._commit_wanted.set)
        self._generation = generation
        self._reading = Reading([self._log(tp) for tp in sorted(partitions)])
        self._acked.clear()
        self._acked_index.clear()
        for log in self._reading.logs.values():
            log.watch(self._wake.set, self._commit_wanted.set)
        self._wake.set()

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

    # Delivery

    async def _drain_messages(self, fetcher: ServiceT) -> None:
        try:
            while not (self.should_stop or fetcher.should_stop):
                await self._deliver(await self._next_records())
                if self._commit_every is not None and self._n_acked >= self._commit_every:
                    self._n_acked = 0
                    await self.commit()
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            # The fetcher takes a cancellation for a crash when the app stops amid a rebalance.
            if not self.app.should_stop:
                raise

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Records:  # noqa: ARG002, ASYNC109 - Faust's signature
        try:
            async with asyncio.timeout(timeout):
                return await self._next_records()
        except TimeoutError:
            return {}

    async def _next_records(self) -> Records:
        while True:
            self._wake.clear()
            if self.flow_active:
                records = self._reading.next_batch(self._is_open, self._max_poll_records)
                if records:
                    return records
            await self._wake.wait()

    async def _deliver(self, records: Records) -> None:
        generation = self._generation
        for tp in records:
            self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
        for tp, record in self.scheduler.iterate(records):
            if not self.flow_active or generation != self._generation:
                return
            if self._is_open(tp) and self._reading.take(tp, record):
                await self.callback(self._to_message(tp, record))

    def _is_open(self, tp: TP) -> bool:
        return tp not in self._paused_partitions and tp not in self._buffered_partitions

    def _to_message(self, tp: TP, record: Record) -> ConsumerMessage:
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            record.offset,
            record.timestamp / 1000,
            CREATE_TIME,
            list(record.headers),
            record.key,
            record.value,
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    # Flow

    def stop_flow(self) -> None:
        """Deliver nothing until `resume_flow`."""
        super().stop_flow()
        self._wake.set()

    def resume_flow(self) -> None:
        """Deliver again."""
        super().resume_flow()
        self._flow_resumed.set()
        self._wake.set()

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Deliver again what `pause_partitions` held back."""
        super().resume_partitions(tps)
        self._wake.set()

    def on_buffer_full(self, tp: TP) -> None:
        """Hold the topic back: its partitions share the agent's buffer.

        Holding only this partition back would let the others fill the buffer to the brim, where
        delivery to all other agents of the app would wait for this one.
        """
        self._buffered_partitions.update(
            each for each in self._reading.logs if each.topic == tp.topic
        )

    def on_buffer_drop(self, tp: TP) -> None:
        """Deliver the topic again."""
        self._buffered_partitions.difference_update(
            [each for each in self._buffered_partitions if each.topic == tp.topic]
        )
        self._wake.set()

    # Acknowledging and committing

    def in_hand(self, tp: TP) -> int:
        """How many messages were taken from the broker and are not done, begun or not."""
        position, acked = self._reading.positions.get(tp, 0), self._acked_index[tp]
        return self._watermark.unfinished(tp, acked, position=position)

    def _new_offset(self, tp: TP) -> int | None:
        self._acked[tp].clear()
        return self._watermark.advance(tp, self._acked_index[tp])

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        return self._member is not None and self._group.commit(self._member, offsets)

    async def wait_empty(self) -> None:
        """Wait until every message an agent has begun is acknowledged, and commit."""
        self._clean_unacked_messages()
        while self._unacked_messages and not self.should_stop:
            await self._wait_for_ack(timeout=1.0)
            self._clean_unacked_messages()
        await self.commit_and_end_transactions()

    async def _wait_for_ack(self, timeout: float) -> None:  # noqa: ASYNC109 - Faust's signature
        if self._waiting_for_ack is None or self._waiting_for_ack.done():
            self._waiting_for_ack = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout):
                await asyncio.shield(self._waiting_for_ack)
        except TimeoutError:
            # A message that no agent acknowledges counts as in flight until it is collected.
            gc.collect()

    @Service.task
    async def _commit_under_pressure(self) -> None:
        while not self.should_stop:
            await self._commit_wanted.wait()
            self._commit_wanted.clear()
            while any(log.is_pressed for log in self._reading.logs.values()):
                await self.commit()
                await self.sleep(PRESSED_COMMIT_INTERVAL)

    @Service.task
    async def _commit_livelock_detector(self) -> None:
        """Do without: what stands still shows in the lag of the group."""

    # Positions

    async def perform_seek(self) -> None:
        """Continue from the committed offsets."""
        for tp, offset in (await self.seek_to_committed()).items():
            self._committed_offset[tp] = offset

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Move every position to the committed offset."""
        for tp, log in self._reading.logs.items():
            await self._seek(tp, log.committed(self._group.name) or 0)
        return dict(self._reading.positions)

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Move positions."""
        for tp, offset in partitions.items():
            await self.seek(tp, offset)

    async def _seek(self, partition: TP, offset: int) -> None:
        position = self._reading.seek(partition, offset)
        committed = self._log(partition).committed(self._group.name) or 0
        self._watermark.start(partition, max(position, committed))
        self._wake.set()

    async def position(self, tp: TP) -> int | None:
        """Return the offset of the next message to deliver."""
        return self._reading.positions.get(tp)

    def assignment(self) -> set[TP]:
        """Return the partitions this consumer reads."""
        return set(self._reading.logs)

    def highwater(self, tp: TP) -> int:
        """Return the offset the next message will get."""
        return self._log(tp).highwater

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the offset the next message will get, by partition."""
        return {tp: self._log(tp).highwater for tp in partitions}

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the offset of the oldest message still held, by partition."""
        return {tp: self._log(tp).earliest for tp in partitions}

    # Topics

    def topic_partitions(self, topic: str) -> int | None:
        """Return the number of partitions, None for an unknown topic."""
        return self._broker.topics.get(topic)

    def key_partition(
        self, topic: str, key: bytes | None, partition: int | None = None
    ) -> int | None:
        """Return the partition a message with this key goes to, None for an unknown topic."""
        if topic not in self._broker.topics:
            return None
        if partition is not None:
            return partition
        producer = self.app.producer
        return producer.key_partition(topic, key).partition  # type: ignore[arg-type] # may be None

    async def create_topic(self, topic: str, partitions: int, *args: Any, **kwargs: Any) -> None:
        """Create the topic if the app may."""
        await self.app.producer.create_topic(topic, partitions, *args, **kwargs)

    def _log(self, tp: TP) -> PartitionLog:
        return self._broker.partitions(tp.topic)[tp.partition]

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)
