"""What the memory transport does beyond the contract of transports."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import faust
import pytest
from faust.exceptions import NotReady
from faust.transport import by_url
from faust.types import TP, Message

from streams.app import AppCrashedError, FaustSettings, create_faust_app, running, start, stop
from streams.transport.errors import (
    BacklogFullError,
    MessageTooLargeError,
    UnknownPartitionError,
    UnknownTopicError,
)
from streams.transport.memory import MemoryBroker, Transport, memory_transport
from streams.transport.memory.consumer import Consumer
from streams.transport.memory.group import Member

WORK = TP("work", 0)
PROMPT = FaustSettings(commit_interval=0.02, commit_every=10)


def make_app(
    broker: MemoryBroker,
    app_id: str = "group",
    settings: FaustSettings = PROMPT,
    *,
    producer_only: bool = False,
) -> faust.App:
    return create_faust_app(
        app_id=app_id,
        broker_url=str(broker.url),
        transport=memory_transport(broker),
        settings=settings,
        producer_only=producer_only,
    )


class Reader:
    """An agent that notes values, once it is open."""

    def __init__(self, app: faust.App, topic: str = "work") -> None:
        self.values: list[bytes] = []
        self.open = asyncio.Event()
        self.open.set()
        self._noted = asyncio.Condition()
        app.agent(app.topic(topic), name=topic)(self._read)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10), self._noted:
            await self._noted.wait_for(lambda: len(self.values) >= count)

    async def _read(self, stream: faust.StreamT[bytes]) -> None:
        async for value in stream:
            await self.open.wait()
            async with self._noted:
                self.values.append(value)
                self._noted.notify_all()


async def send(app: faust.App, value: bytes, topic: str = "work", partition: int = 0) -> None:
    await app.producer.send_and_wait(topic, None, value, partition, None, None)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


@pytest.fixture
def broker() -> MemoryBroker:
    broker = MemoryBroker()
    broker.create_topic("work", 1)
    return broker


@pytest.fixture
async def sender(broker: MemoryBroker) -> AsyncIterator[faust.App]:
    async with running(make_app(broker, "sender", producer_only=True)) as app:
        yield app


class TestBroker:
    def test_a_topic_may_be_created_twice_but_not_changed(self, broker: MemoryBroker) -> None:
        broker.create_topic("work", 1)
        with pytest.raises(ValueError, match="has 1 partitions, not 2"):
            broker.create_topic("work", 2)
        assert broker.topics == {"work": 1}

    def test_a_topic_needs_a_partition(self, broker: MemoryBroker) -> None:
        with pytest.raises(ValueError, match="at least one partition"):
            broker.create_topic("none", 0)

    def test_the_backlog_holds_at_least_one_message(self) -> None:
        with pytest.raises(ValueError, match="single message may take"):
            MemoryBroker(max_backlog_bytes=1000)

    async def test_lag_and_commits_are_told_by_group(
        self, broker: MemoryBroker, sender: faust.App
    ) -> None:
        app = make_app(broker)
        reader = Reader(app)
        reader.open.clear()
        async with running(app):
            for _ in range(3):
                await send(sender, b"value")
            assert (broker.lag("group"), broker.lag("nobody")) == (3, 0)
            reader.open.set()
            await eventually(lambda: broker.lag("group") == 0)
        assert broker.committed("group") == {WORK: 3}

    async def test_a_group_with_members_is_not_forgotten(self, broker: MemoryBroker) -> None:
        app = make_app(broker)
        Reader(app)
        async with running(app):
            with pytest.raises(ValueError, match="stop group-000000 first"):
                broker.forget_group("group")
        broker.forget_group("group")
        broker.forget_group("never known")
        assert broker.committed("group") == {}


class TestWiring:
    def test_the_address_alone_finds_the_transport(self) -> None:
        assert by_url("memory://local") is Transport

    async def test_an_app_made_from_the_address_alone_has_a_broker_of_its_own(self) -> None:
        apps = [faust.App(f"app-{each}", broker="memory://local") for each in range(2)]
        brokers = [app.transport.broker for app in apps if isinstance(app.transport, Transport)]
        assert len(set(brokers)) == 2

    async def test_a_topic_is_declared_only_by_an_app_that_may(self, broker: MemoryBroker) -> None:
        app = make_app(broker)
        await app.consumer.create_topic("declared", 2, 1)
        assert app.consumer.topic_partitions("declared") is None
        plain = faust.App("plain", broker="memory://local")
        await plain.consumer.create_topic("declared", 2, 1)
        assert plain.consumer.topic_partitions("declared") == 2

    async def test_subscribing_to_an_unknown_topic_fails_the_start(
        self, broker: MemoryBroker
    ) -> None:
        app = make_app(broker)
        Reader(app, "unknown")
        with pytest.raises(AppCrashedError, match="'unknown' does not exist") as caught:
            await start(app)
        assert isinstance(caught.value.__cause__, UnknownTopicError)
        assert len(asyncio.all_tasks()) == 1


class TestSending:
    async def test_errors_tell_the_remedy(self, sender: faust.App) -> None:
        with pytest.raises(
            MessageTooLargeError, match="limit of 1000000 bytes: send it in several"
        ):
            await send(sender, b"x" * 1_000_000)
        with pytest.raises(UnknownTopicError, match="create it before"):
            await send(sender, b"value", topic="unknown")
        with pytest.raises(UnknownPartitionError, match="leave the partition out"):
            await send(sender, b"value", partition=7)

    async def test_headers_count_into_the_size(self, sender: faust.App) -> None:
        with pytest.raises(MessageTooLargeError):
            await sender.producer.send("work", None, b"", None, None, {"h": b"x" * 1_000_000})

    async def test_only_bytes_are_taken(self, sender: faust.App) -> None:
        with pytest.raises(TypeError):
            await send(sender, "text")  # type: ignore[arg-type] # what is under test
        with pytest.raises(ValueError, match="a key or a value"):
            await send(sender, None)  # type: ignore[arg-type] # what is under test

    async def test_nothing_is_sent_before_the_start_or_after_the_stop(
        self, broker: MemoryBroker
    ) -> None:
        app = make_app(broker, producer_only=True)
        with pytest.raises(NotReady):
            await send(app, b"early")
        async with running(app):
            await send(app, b"value")
        with pytest.raises(NotReady):
            await send(app, b"late")

    async def test_faust_topics_send_too(self, broker: MemoryBroker, sender: faust.App) -> None:
        sent = await sender.topic("work").send(key=b"key", value=b"value")
        assert (await sent).offset == 0
        soon = sender.topic("work").send_soon(value=b"soon")
        await sender.producer.flush()
        assert (await soon).offset == 1

    async def test_key_placement_can_be_asked_for(self, broker: MemoryBroker) -> None:
        broker.create_topic("many", 8)
        app = make_app(broker)
        assert app.producer.key_partition("many", b"21").partition == 0x45F2ADD4 % 8
        assert app.consumer.key_partition("many", b"21") == 0x45F2ADD4 % 8
        assert app.consumer.key_partition("many", b"21", 5) == 5
        assert app.consumer.key_partition("unknown", b"21") is None


class TestBackPressure:
    async def test_a_sender_ahead_of_its_readers_waits_and_nothing_is_lost(self) -> None:
        broker = MemoryBroker(max_backlog_bytes=1_000_000)
        broker.create_topic("work", 1)
        app = make_app(broker, settings=FaustSettings(commit_interval=3600, commit_every=1_000_000))
        reader = Reader(app)
        peak = 0
        async with running(app):
            for number in range(200):
                await send(app, b"%04d" % number + b"x" * 50_000)
                peak = max(peak, broker.partitions("work")[0].backlog_bytes)
            await reader.until(200)
        assert [int(value[:4]) for value in reader.values] == list(range(200))
        assert peak <= 1_000_000

    async def test_a_reader_that_stands_still_fails_the_sender(self) -> None:
        broker = MemoryBroker(max_backlog_bytes=1_000_000)
        broker.create_topic("work", 1)
        app = make_app(broker, settings=FaustSettings(request_timeout=0.05))
        reader = Reader(app)
        reader.open.clear()
        async with running(app):
            sending = [asyncio.ensure_future(send(app, b"x" * 50_000)) for _ in range(30)]
            results = await asyncio.gather(*sending, return_exceptions=True)
            reader.open.set()
        refused = [each for each in results if each is not None]
        assert 0 < len(refused) < 30
        with pytest.raises(BacklogFullError, match="groups do not progress: group; or give"):
            raise refused[0]

    async def test_a_topic_that_nobody_reads_never_blocks(self) -> None:
        broker = MemoryBroker(max_backlog_bytes=1_000_000)
        broker.create_topic("work", 1)
        async with running(make_app(broker, producer_only=True)) as app:
            for _ in range(100):
                await send(app, b"x" * 50_000)
        assert broker.partitions("work")[0].backlog_bytes <= 1_000_000


class TestDelivery:
    async def test_an_agent_that_stands_still_holds_no_other_up(self, sender: faust.App) -> None:
        assert isinstance(sender.transport, Transport)
        broker = sender.transport.broker
        broker.create_topic("slow", 32)
        app = make_app(broker, settings=FaustSettings(stream_buffer=16, commit_interval=0.02))
        slow, quick = Reader(app, "slow"), Reader(app, "work")
        slow.open.clear()
        async with running(app):
            for number in range(320):
                await send(sender, b"slow", "slow", number % 32)
            for _ in range(100):
                await send(sender, b"quick")
            await quick.until(100)
            assert slow.values == []
            slow.open.set()
            await slow.until(320)

    async def test_every_partition_gets_its_turn(self, sender: faust.App) -> None:
        assert isinstance(sender.transport, Transport)
        broker = sender.transport.broker
        broker.create_topic("shared", 8)
        for _ in range(500):
            await send(sender, b"busy", "shared", 0)
        for partition in range(1, 8):
            await send(sender, b"rare", "shared", partition)
        app = make_app(broker)
        reader = Reader(app, "shared")
        async with running(app):
            await reader.until(507)
        assert reader.values[:100].count(b"rare") == 7

    async def test_partitions_beyond_one_fetch_get_their_turn_too(self, sender: faust.App) -> None:
        assert isinstance(sender.transport, Transport)
        broker = sender.transport.broker
        broker.create_topic("wide", 100)
        for number in range(2000):
            await send(sender, b"%d" % (number % 100), "wide", number % 100)
        app = make_app(broker, settings=FaustSettings(stream_buffer=16))
        reader = Reader(app, "wide")
        async with running(app):
            await reader.until(2000)
        assert len(set(reader.values[:200])) == 100

    async def test_a_busy_consumer_commits_without_waiting_for_the_interval(
        self, broker: MemoryBroker, sender: faust.App
    ) -> None:
        app = make_app(broker, settings=FaustSettings(commit_interval=3600, commit_every=10))
        Reader(app)
        async with running(app):
            for _ in range(100):
                await send(sender, b"value")
            await eventually(lambda: broker.lag("group") <= 20)

    async def test_a_message_is_delivered_at_once(
        self, broker: MemoryBroker, sender: faust.App
    ) -> None:
        app = make_app(broker)
        reader = Reader(app)
        took = []
        async with running(app):
            for number in range(20):
                began = time.perf_counter()
                await send(sender, b"ping")
                await reader.until(number + 1)
                took.append(time.perf_counter() - began)
        assert min(took) < 0.005

    async def test_a_seek_back_delivers_again(
        self, broker: MemoryBroker, sender: faust.App
    ) -> None:
        app = make_app(broker, settings=FaustSettings(commit_interval=3600, commit_every=10_000))
        reader = Reader(app)
        async with running(app):
            for number in range(5):
                await send(sender, b"%d" % number)
            await reader.until(5)
            await app.consumer.seek_wait({WORK: 3})
            await reader.until(7)
        assert reader.values[5:] == [b"3", b"4"]

    async def test_a_seek_back_before_the_commit_does_not_hold_later_commits_up(
        self, broker: MemoryBroker, sender: faust.App
    ) -> None:
        laggard = broker.group("laggard")
        await laggard.join(laggard.new_member(), frozenset({"work"}), from_start=True, patience=1)
        app = make_app(broker)
        reader = Reader(app)
        async with running(app):
            for number in range(5):
                await send(sender, b"%d" % number)
            await eventually(lambda: broker.committed("group") == {WORK: 5})
            await app.consumer.seek(WORK, 2)
            await send(sender, b"5")
            await reader.until(9)
            await eventually(lambda: broker.committed("group") == {WORK: 6})
        assert reader.values[5:] == [b"2", b"3", b"4", b"5"]

    async def test_a_seek_forward_skips_and_is_committed_past(
        self, broker: MemoryBroker, sender: faust.App
    ) -> None:
        app = make_app(broker)
        reader = Reader(app)
        async with running(app):
            app.consumer.pause_partitions({WORK})
            for number in range(5):
                await send(sender, b"%d" % number)
            await app.consumer.seek(WORK, 3)
            app.consumer.resume_partitions({WORK})
            await reader.until(2)
            await eventually(lambda: broker.committed("group") == {WORK: 5})
        assert reader.values == [b"3", b"4"]

    async def test_offsets_can_be_asked_for(self, broker: MemoryBroker, sender: faust.App) -> None:
        app = make_app(broker)
        reader = Reader(app)
        async with running(app):
            await send(sender, b"value")
            await reader.until(1)
            await eventually(lambda: broker.lag("group") == 0)
            consumer = app.consumer
            assert await consumer.position(WORK) == 1
            assert await consumer.highwaters(WORK) == {WORK: 1}
            assert await consumer.earliest_offsets(WORK) == {WORK: 1}


class TestInterruptedDelivery:
    """Whatever happens while a fetched batch is being delivered, nothing is skipped."""

    async def test_a_seek_amid_a_batch(self, broker: MemoryBroker, sender: faust.App) -> None:
        async def seek_back(consumer: Consumer) -> None:
            await consumer.seek(WORK, 1)

        assert await self.interrupted(broker, sender, seek_back) == [0, 1, 2, 1, 2, 3, 4, 5]

    async def test_a_pause_amid_a_batch(self, broker: MemoryBroker, sender: faust.App) -> None:
        async def pause_for_a_while(consumer: Consumer) -> None:
            consumer.pause_partitions({WORK})
            asyncio.get_running_loop().call_later(0.02, consumer.resume_partitions, {WORK})

        assert await self.interrupted(broker, sender, pause_for_a_while) == [0, 1, 2, 3, 4, 5]

    async def test_a_stopped_flow_amid_a_batch(
        self, broker: MemoryBroker, sender: faust.App
    ) -> None:
        delivered_meanwhile = []

        async def stop_for_a_while(consumer: Consumer) -> None:
            consumer.stop_flow()
            await asyncio.sleep(0.02)
            delivered_meanwhile.append(await consumer.position(WORK))
            asyncio.get_running_loop().call_later(0.02, consumer.resume_flow)

        assert await self.interrupted(broker, sender, stop_for_a_while) == [0, 1, 2, 3, 4, 5]
        assert delivered_meanwhile == [3]

    async def interrupted(
        self,
        broker: MemoryBroker,
        sender: faust.App,
        interruption: Callable[[Consumer], Awaitable[None]],
    ) -> list[int]:
        """Return the offsets delivered when the third delivery is interrupted."""
        app = make_app(broker)
        Reader(app)
        offsets: list[int] = []
        flow: list[bool] = []
        async with running(app):
            consumer = app.consumer
            assert isinstance(consumer, Consumer)

            async def deliver(message: Message) -> None:
                offsets.append(message.offset)
                flow.append(consumer.flow_active and WORK not in consumer._paused_partitions)
                if len(offsets) == 3:
                    await interruption(consumer)

            consumer.callback = deliver
            consumer.pause_partitions({WORK})
            for _ in range(6):
                await send(sender, b"value")
            consumer.resume_partitions({WORK})
            await eventually(lambda: 5 in offsets)
        assert all(flow)
        return offsets


class TestMembership:
    async def test_a_member_that_takes_too_long_is_gone_on_without_and_comes_back(
        self, broker: MemoryBroker, sender: faust.App
    ) -> None:
        broker.create_topic("pair", 2)
        impatient = FaustSettings(commit_interval=0.02, rebalance_timeout=0.1)
        slow_app, quick_app = (make_app(broker, settings=impatient) for _ in range(2))
        slow, quick = Reader(slow_app, "pair"), Reader(quick_app, "pair")
        slow.open.clear()
        async with running(slow_app), running_soon(quick_app):
            await send(sender, b"value", "pair", 0)
            await eventually(lambda: quick.values == [b"value"])
            assert quick_app.consumer.assignment() == {TP("pair", 0), TP("pair", 1)}
            await eventually(lambda: broker.lag("group") == 0)
            slow.open.set()
            await eventually(lambda: len(slow_app.consumer.assignment()) == 1)
            await eventually(lambda: len(quick_app.consumer.assignment()) == 1)

    async def test_a_crashed_app_hands_its_partitions_over(
        self, broker: MemoryBroker, sender: faust.App
    ) -> None:
        crashing, surviving = make_app(broker), make_app(broker)
        Reader(crashing)
        reader = Reader(surviving)
        async with AsyncExitStack() as stack:
            await start(crashing)
            stack.push_async_callback(crashing.stop)
            await stack.enter_async_context(running(surviving))
            await crashing.crash(RuntimeError("on purpose"))
            await send(sender, b"value")
            await reader.until(1)

    async def test_an_app_without_agents_starts_and_stops(self, broker: MemoryBroker) -> None:
        async with running(make_app(broker)) as app:
            assert app.consumer.assignment() == set()

    async def test_a_rebalance_on_the_heels_of_another_repeats_nothing(
        self, broker: MemoryBroker, sender: faust.App
    ) -> None:
        broker.create_topic("many", 4)
        settings = FaustSettings(commit_interval=3600, commit_every=1_000_000)
        app = make_app(broker, settings=settings)
        reader = Reader(app, "many")
        group = broker.group("group")
        hasty, tardy = group.new_member(), group.new_member()
        topics = frozenset({"many"})

        async def join(member: Member) -> None:
            await group.join(member, topics, from_start=True, patience=5)

        async with running(app):
            await join(tardy)
            for _ in range(5):
                for number in range(20):
                    await send(sender, b"value", "many", number % 4)
                joining = asyncio.ensure_future(join(hasty))
                await tardy.rejoin.wait()
                await asyncio.gather(joining, join(tardy))
                # The app learns of its partitions and of their loss at the same moment.
                group.leave(hasty)
                await asyncio.sleep(0.02)
                await join(tardy)
            group.leave(tardy)
            await reader.until(100)
            await asyncio.sleep(0.02)
        assert len(reader.values) == 100

    async def test_an_app_that_stops_amid_a_rebalance_does_not_join_again(
        self, broker: MemoryBroker, sender: faust.App
    ) -> None:
        app = make_app(broker)
        reader = Reader(app)
        reader.open.clear()
        group = broker.group("group")
        guest = group.new_member()
        await start(app)
        await send(sender, b"value")
        await eventually(lambda: len(app.consumer.unacked) == 1)
        joining = asyncio.ensure_future(
            group.join(guest, frozenset({"work"}), from_start=True, patience=5)
        )
        await asyncio.sleep(0.02)
        stopping = asyncio.ensure_future(stop(app, drain=5))
        await asyncio.sleep(0.02)
        reader.open.set()
        assert await stopping
        assert (await joining).partitions == {WORK}
        assert not guest.rejoin.is_set()
        assert group.generation == 2
        assert broker.lag("group") == 0

    async def test_a_member_that_joins_while_another_stops_waits_for_it(
        self, broker: MemoryBroker, sender: faust.App
    ) -> None:
        stopping_app, joining_app = make_app(broker), make_app(broker)
        first, second = Reader(stopping_app), Reader(joining_app)
        first.open.clear()
        await start(stopping_app)
        await send(sender, b"value")
        await eventually(lambda: len(stopping_app.consumer.unacked) == 1)
        stopping = asyncio.ensure_future(stop(stopping_app, drain=5))
        await asyncio.sleep(0.02)
        joining = asyncio.ensure_future(start(joining_app))
        await asyncio.sleep(0.02)
        first.open.set()
        assert await stopping
        await joining
        await asyncio.sleep(0.05)
        assert await stop(joining_app, drain=5)
        assert (first.values, second.values) == ([b"value"], [])

    async def test_a_stop_amid_a_rebalance_is_clean(
        self, broker: MemoryBroker, sender: faust.App
    ) -> None:
        first_app, second_app = make_app(broker), make_app(broker)
        first, second = Reader(first_app), Reader(second_app)
        first.open.clear()
        await start(first_app)
        await send(sender, b"value")
        joining = asyncio.ensure_future(start(second_app))
        await asyncio.sleep(0.05)
        stopping = asyncio.ensure_future(stop(first_app, drain=5))
        await asyncio.sleep(0.05)
        first.open.set()
        assert await stopping
        await joining
        assert await stop(second_app, drain=5)
        assert (first.values, second.values) == ([b"value"], [])


class running_soon:  # noqa: N801 - reads like `running`
    """Starts an app in the background: its start waits for members that are stuck."""

    def __init__(self, app: faust.App) -> None:
        self.app = app

    async def __aenter__(self) -> None:
        await asyncio.sleep(0.02)
        self._starting = asyncio.ensure_future(start(self.app))

    async def __aexit__(self, *_: object) -> None:
        await self._starting
        assert await stop(self.app, drain=5)


class TestFootprint:
    async def test_start_and_stop_are_quick(self, broker: MemoryBroker) -> None:
        starts, stops = [], []
        for number in range(5):
            app = make_app(broker, f"group-{number}")
            Reader(app)
            began = time.perf_counter()
            await start(app)
            started = time.perf_counter()
            assert await stop(app, drain=5)
            starts.append(started - began)
            stops.append(time.perf_counter() - started)
        assert min(starts) < 0.1
        assert min(stops) < 0.05

    async def test_a_stop_leaves_no_task_and_no_listener_behind(self, broker: MemoryBroker) -> None:
        app = make_app(broker)
        Reader(app)
        log = broker.partitions("work")[0]
        async with running(app):
            await send(app, b"value")
            assert len(log._on_append) == len(log._on_pressure) == 1
        assert len(asyncio.all_tasks()) == 1
        assert len(log._on_append) == len(log._on_pressure) == 0

    async def test_an_idle_app_sleeps(self, broker: MemoryBroker) -> None:
        app = make_app(broker, settings=FaustSettings())
        Reader(app)
        async with running(app):
            await asyncio.sleep(0.1)
            began = time.process_time()
            await asyncio.sleep(1)
            assert time.process_time() - began < 0.05

    async def test_nothing_is_kept_of_what_is_done(
        self, broker: MemoryBroker, sender: faust.App
    ) -> None:
        app = make_app(broker)
        reader = Reader(app)
        async with running(app):
            for number in range(20_000):
                await send(sender, b"value")
                if number % 100 == 0:
                    await asyncio.sleep(0)
            await reader.until(20_000)
            await eventually(lambda: broker.lag("group") == 0)
            log, consumer = broker.partitions("work")[0], app.consumer
            assert isinstance(consumer, Consumer)
            assert (log.earliest, log.backlog_bytes) == (20_000, 0)
            assert sum(map(len, (*consumer._acked.values(), *consumer._acked_index.values()))) == 0
            assert len(consumer.unacked) == 0
