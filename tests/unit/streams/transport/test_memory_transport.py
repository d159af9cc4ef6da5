"""The broker, what it takes, and how an app finds it."""

from __future__ import annotations

import asyncio

import faust
import pytest
from faust.exceptions import NotReady
from faust.transport import by_url

from streams.app import AppCrashedError, FaustSettings, running, start
from streams.topics import MAX_LETTER_BYTES
from streams.transport.errors import (
    BacklogFullError,
    MessageTooLargeError,
    UnknownPartitionError,
    UnknownTopicError,
)
from streams.transport.memory import MemoryBroker, Transport
from tests.unit.streams.transport.apps import WORK, Reader, eventually, make_app, send


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
            MessageTooLargeError, match=f"limit of {MAX_LETTER_BYTES} bytes: send it in several"
        ):
            await send(sender, b"x" * MAX_LETTER_BYTES)
        with pytest.raises(UnknownTopicError, match="create it before"):
            await send(sender, b"value", topic="unknown")
        with pytest.raises(UnknownPartitionError, match="leave the partition out"):
            await send(sender, b"value", partition=7)

    async def test_headers_count_into_the_size(self, sender: faust.App) -> None:
        headers = {"h": b"x" * MAX_LETTER_BYTES}
        with pytest.raises(MessageTooLargeError):
            await sender.producer.send("work", None, b"", None, None, headers)

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
