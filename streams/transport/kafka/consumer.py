"""The consumer of one app: delivers in order, commits what is done and no more."""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiokafka.errors import ConsumerStoppedError  # type: ignore[import-untyped] # ships none
from faust.transport.drivers import aiokafka as stock
from faust.types import TP
from faust.types.transports import ServiceT

from streams.transport.current import CurrentConsumer
from streams.transport.kafka.in_flight import InFlight
from streams.transport.kafka.thread import ConsumerThread, Fetched

__all__ = ["Consumer"]

IDLE_SECONDS: Final = 1.0
"""How long to wait for a partition that may be read before looking again."""


class Consumer(CurrentConsumer, stock.Consumer):
    """Reads the app's share of the partitions from Kafka."""

    _thread: ConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._in_flight = InFlight()
        self._held: dict[TP, deque[Any]] = {}
        self._wake = asyncio.Event()
        self._flow_resumed = asyncio.Event()
        super().__init__(*args, **kwargs)
        self._max_poll_records: int = self.app.conf.broker_max_poll_records or 500

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # Membership

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
        if not self.app.should_stop:
            self.stop_flow()
            self.app.flow_control.suspend()
            self.app.flow_control.clear()
            await self._thread.call_thread(self._thread.break_off_fetch)
            await self.wait_empty()
        await super().on_partitions_revoked(revoked)
        self._in_flight.forget(revoked)
        self._held.clear()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Begin where the group has committed, and return when delivery has begun.

        Faust begins in a task of its own, which would undo a rebalance that came meanwhile.
        """
        self._in_flight.forget(assigned)
        self._flow_resumed.clear()
        await super().on_partitions_assigned(assigned, generation_id)
        if not self.app.should_stop:
            await self._thread.call_thread(self._thread.watch_partitions)
            await self.wait_for_stopped(self._flow_resumed)  # type: ignore[arg-type]

    # Delivery

    async def _drain_messages(self, fetcher: ServiceT) -> None:
        """Deliver until the app stops.

        Faust's own loop remembers the last offset of a partition and drops what is before it. A
        message that was under way during a rebalance makes it drop all that the rebalance had
        thrown back.
        """
        try:
            while not (self.should_stop or fetcher.should_stop):
                await self._deliver(*await self._next_records())
                if self._commit_every is not None and self._n_acked >= self._commit_every:
                    self._n_acked = 0
                    await self.commit()
                await asyncio.sleep(0)
        except (asyncio.CancelledError, ConsumerStoppedError):
            # The fetcher takes a cancellation for a crash when the app stops amid a rebalance.
            if not self.app.should_stop:
                raise

    async def _next_records(self) -> Fetched:
        self._wake.clear()
        if not self.flow_active:
            await self._wait_for_wake()
            return 0, {}
        ready = {tp: list(held) for tp, held in self._held.items() if self._is_open(tp)}
        if ready:
            for tp in ready:
                del self._held[tp]
            return self.app.consumer_generation_id, ready
        wanted = {tp for tp in self.assignment() if self._is_open(tp)}
        if not wanted:
            await self._wait_for_wake()
            return 0, {}
        return await self._fetch(wanted)

    async def _fetch(self, partitions: set[TP]) -> Fetched:
        thread = self._thread
        fetching = asyncio.ensure_future(
            thread.call_thread(thread.fetch, partitions, self._max_poll_records)
        )
        woken = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({fetching, woken}, return_when=asyncio.FIRST_COMPLETED)
            if not fetching.done():
                # There are more partitions to read than it waits for.
                await thread.call_thread(thread.break_off_fetch)
            fetched: Fetched = await fetching
            return fetched
        finally:
            woken.cancel()

    async def _wait_for_wake(self) -> None:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _deliver(self, generation: int, records: Mapping[TP, list[Any]]) -> None:
        for tp in records:
            self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
        for tp, record in self.scheduler.iterate(records):
            if not self.flow_active or generation != self.app.consumer_generation_id:
                # A rebalance has begun or is over: the next owner begins at what is committed.
                return
            if tp in self._held or not self._is_open(tp):
                self._held.setdefault(tp, deque()).append(record)
            else:
                self._in_flight.deliver(tp, record.offset)
                await self.callback(self._to_message(tp, record))

    def _is_open(self, tp: TP) -> bool:
        return tp not in self._paused_partitions and tp not in self._buffered_partitions

    # Flow

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
            each for each in self.assignment() if each.topic == tp.topic
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
        held = len(self._held.get(tp, ()))
        return held + self._in_flight.unfinished(tp, self._acked_index[tp])

    async def _seek(self, partition: TP, offset: int) -> None:
        self._in_flight.forget([partition])
        self._held.pop(partition, None)
        await super()._seek(partition, offset)

    def _new_offset(self, tp: TP) -> int | None:
        self._acked[tp].clear()
        return self._in_flight.committable(tp, self._acked_index[tp])

    async def wait_empty(self) -> None:
        """Wait until every message an agent has begun is acknowledged, and commit."""
        await super().wait_empty()
        # Faust leaves it at a commit that is under way, which may not know of the last message.
        await self.commit()

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
