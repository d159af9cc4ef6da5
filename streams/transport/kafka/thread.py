"""The thread that speaks to Kafka, so that heartbeats go on whatever the agents do."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from aiokafka.coordinator.protocol import (  # type: ignore[import-untyped] # ships none
    ConsumerProtocolMemberAssignment,
)
from aiokafka.errors import (  # type: ignore[import-untyped] # ships none
    CommitFailedError,
    IllegalStateError,
    KafkaError,
)
from aiokafka.protocol.admin import (  # type: ignore[import-untyped] # ships none
    DescribeGroupsRequest,
)
from aiokafka.structs import OffsetAndMetadata  # type: ignore[import-untyped] # ships none
from faust.transport.drivers import aiokafka as stock
from faust.types import TP
from mode.utils.locks import Event

from domain.errors import BrokerUnavailable
from streams.transport.errors import UnknownTopicError
from streams.transport.kafka.closing import OPEN_SECONDS, close_consumer
from streams.transport.kafka.keepalive import keep_alive

__all__ = ["ConsumerThread", "Fetched"]

FETCH_SECONDS: Final = 1.0
COMMIT_SECONDS: Final = 5.0
"""How long a commit may take; the next one makes up for it."""
NEW_TOPIC_SECONDS: Final = 2.0
"""How long a topic that was just created may be unknown to the broker that is asked."""
RETURN_SECONDS: Final = 30.0
"""How long a broker that came back may take until it knows of all topics that were there."""
METADATA_PAUSE: Final = 0.1
DESCRIBE_SECONDS: Final = 2.0
"""For the answer of a broker what a group shares."""
GATHERED_BYTES: Final = 1 << 18
"""So much a broker hands over at once, however long it may gather."""

Fetched = tuple[int, Mapping[TP, list[Any]]]
"""Records, and the generation of the group in which they were taken from aiokafka."""


class ConsumerThread(stock.AIOKafkaConsumerThread):
    """Runs aiokafka's consumer on a loop of its own."""

    _fetching: "asyncio.Task[Fetched] | None" = None

    def __init__(
        self, consumer: stock.Consumer, *, loop: asyncio.AbstractEventLoop, **kwargs: Any
    ) -> None:
        # The loop of the app stands in until the start: many an app has a consumer that is
        # never started, and then nobody would close a loop that was opened here.
        super().__init__(consumer, loop=loop, thread_loop=loop, **kwargs)

    async def start(self) -> None:
        """Open the loop, and start the thread on it."""
        self.loop = self.thread_loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(self._unheard)
        self._close_thread_loop_on_stop = True
        self._stopped, self._crashed = Event(loop=self.loop), Event(loop=self.loop)
        await super().start()

    def _start_thread(self) -> None:
        """Run until it is stopped or crashes, which the app has been told by then."""
        try:
            super()._start_thread()
        except Exception:
            if not self._crashed.is_set():
                self.log.exception("The thread did not stop in order.")

    def on_crash(self, msg: str, *fmt: Any, **kwargs: Any) -> None:
        """Leave it to the log, which `crash` writes to; Faust prints a traceback as well."""

    def _stopped_set(self) -> None:
        """Say that it is to stop, which one that has crashed has done already."""
        if self.thread_loop.is_closed():
            self._stopped.set()
        else:
            super()._stopped_set()

    def _unheard(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A line for a broker's refusal that nobody waited for any more, instead of a traceback.

        aiokafka shields the request of a commit, which so outlives a commit that took too long.
        """
        error = context.get("exception")
        if isinstance(error, KafkaError):
            self.log.warning("Nobody waits for it any more: %r", error)
        else:
            loop.default_exception_handler(context)

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

    def _create_worker_consumer(self, transport: stock.Transport) -> Any:
        """As Faust does, which has no setting for what a broker gathers."""
        consumer = super()._create_worker_consumer(transport)
        keep_alive(consumer._client)
        gathering: float = getattr(self.app, "gathering", 0.0)
        if gathering:
            consumer._fetch_min_bytes = GATHERED_BYTES
            consumer._fetch_max_wait_ms = int(gathering * 1000)
        return consumer

    async def on_thread_stop(self) -> None:
        """Leave the group, within bounds, and close."""
        # Past Faust's own way of closing, which has no bounds.
        await super(stock.AIOKafkaConsumerThread, self).on_thread_stop()
        if self._consumer is not None:
            await close_consumer(self._consumer)

    def close(self) -> None:
        """Leave it to the stop of the app.

        Faust closes from here when a rebalance meets that stop, on the loop of the app, which
        is not the one that the connections belong to; none of them is closed then.
        """

    async def check_topics(self, topics: frozenset[str]) -> None:
        """Refuse topics that the broker does not know."""
        client = self._ensure_consumer()._client
        asked = time.monotonic()
        while True:
            known = (await client.fetch_all_metadata()).topics()
            missing = sorted(topics - known)
            if not missing:
                return
            if time.monotonic() - asked > self._unknown_for(missing):
                raise UnknownTopicError(missing[0])
            await asyncio.sleep(METADATA_PAUSE)

    def _unknown_for(self, topics: list[str]) -> float:
        """How long these may be unknown, in seconds.

        A broker that has just come back answers before it has read which topics there are.
        """
        were_there = frozenset(topics) <= getattr(self.app, "topics_seen", frozenset())
        return RETURN_SECONDS if were_there else NEW_TOPIC_SECONDS

    async def watch_partitions(self) -> None:
        """Have this member, too, ask for a new assignment when its topics get more partitions.

        aiokafka has only the leader look, and a static member that has led and was restarted is
        not told that it leads. It is given back what it had, which may be older than what its
        client has heard of partitions: what the group shares is what it looks for changes of.
        """
        consumer = self._ensure_consumer()
        coordinator = consumer._coordinator
        if coordinator._group_subscription is not None:
            return
        topics = frozenset(consumer.subscription())
        shared = await self._shared(coordinator, topics)
        if coordinator._group_subscription is None:
            coordinator._group_subscription = set(topics)
            coordinator._metadata_snapshot = shared or coordinator._get_metadata_snapshot()

    async def _shared(self, coordinator: Any, topics: frozenset[str]) -> dict[str, int]:
        """How many partitions of each topic the members of the group have; nothing if unknown."""
        try:
            async with asyncio.timeout(DESCRIBE_SECONDS):
                asked = DescribeGroupsRequest([coordinator.group_id])
                ((_, _, state, _, _, members),) = (await coordinator._send_req(asked)).groups
        except (TimeoutError, KafkaError) as error:
            self.log.warning("The group does not say what it shares: %r", error)
            return {}
        if state != "Stable":
            # Another assignment is on its way.
            return {}
        parts = Counter(part.topic for _, _, _, _, given in members for part in _partitions(given))
        return {topic: parts[topic] for topic in topics}

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Look whether a partition is read, unless its place is being looked for.

        It is when the broker has removed what would be read next. aiokafka says by an assertion
        that it has no place, whereupon Faust would crash the app, for what it only logs.
        """
        try:
            super().verify_event_path(now, tp)
        except AssertionError:
            self.log.debug("The place on %r is being looked for.", tp)

    async def fetch(self, partitions: set[TP], count: int) -> Fetched:
        """Wait for records of these partitions, for a second or until it is broken off.

        What aiokafka hands over is gone from its buffer. So it must not do so between a
        rebalance and the moment when delivery begins, when nobody would deliver it.
        """
        if not self.consumer.flow_active:
            return 0, {}
        fetching = self._fetching = asyncio.ensure_future(self._take(partitions, count))
        await asyncio.wait({fetching})
        return (0, {}) if fetching.cancelled() else fetching.result()

    async def break_off_fetch(self) -> None:
        """Have the `fetch` that is under way return."""
        fetching = self._fetching
        if fetching is not None and not fetching.done():
            fetching.cancel()
            await asyncio.wait({fetching})

    async def _take(self, partitions: set[TP], count: int) -> Fetched:
        records = await self._fetch_records(
            self._ensure_consumer(),
            stock.ensure_aiokafka_TPset(partitions),
            timeout=FETCH_SECONDS,
            max_records=count,
        )
        return self.app.consumer_generation_id, records

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit, in bounded time; only what cannot be mended by another try crashes the app."""
        consumer = self._ensure_consumer()
        wanted = {
            stock.ensure_aiokafka_TP(tp): OffsetAndMetadata(offset, "")
            for tp, offset in offsets.items()
            if tp in self.assignment()
        }
        if not wanted:
            # All of them went to others meanwhile; aiokafka refuses to commit nothing.
            return False
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
        self.tp_last_committed_at.update(dict.fromkeys(offsets, time.monotonic()))
        return True


def _partitions(given: bytes) -> list[Any]:
    """What a member was given; one that was given nothing has no assignment either."""
    if not given:
        return []
    partitions: list[Any] = ConsumerProtocolMemberAssignment.decode(given).partitions()
    return partitions
