"""How the memory transport delivers, shares partitions, and what it leaves behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import faust
from faust.types import TP, Message

from streams.app import FaustSettings, running, start, stop
from streams.transport.memory import MemoryBroker, Transport
from streams.transport.memory.consumer import Consumer
from streams.transport.memory.group import Member
from tests.unit.streams.transport.apps import WORK, Reader, eventually, make_app, send


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
