"""The Kafka transport where a broker is away, a topic is missing or a message is refused."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import faust
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.consumer.fetcher import OffsetResetStrategy
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaConnectionError
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, ensure_aiokafka_TP
from faust.types import TP

from domain.errors import BrokerUnavailable
from streams.app import AppCrashedError, FaustSettings, create_faust_app, running, start, stop
from streams.transport.errors import (
    DeliveryFailedError,
    MessageTooLargeError,
    UnknownPartitionError,
    UnknownTopicError,
)
from streams.transport.kafka.producer import NEW_TOPIC_SECONDS
from tests.services.kafka import KafkaCluster, create_topic
from tests.unit.streams.transport.apps import Reader

PROMPT = FaustSettings(
    commit_interval=0.1,
    commit_every=10,
    session_timeout=1.5,
    heartbeat_interval=0.3,
    request_timeout=3.0,
)


@dataclass
class Place:
    """A topic of a test's own."""

    cluster: KafkaCluster
    topic: str

    def app(self, name: str = "group", *, producer_only: bool = False) -> faust.App:
        return create_faust_app(
            app_id=f"{self.topic}-{name}",
            broker_url=self.cluster.url,
            settings=PROMPT,
            producer_only=producer_only,
        )

    async def committed(self, app: faust.App) -> int:
        async with administration(self.cluster) as admin:
            offsets = await admin.list_consumer_group_offsets(app.conf.id)
        return sum(max(at.offset, 0) for at in offsets.values())


class administration:  # noqa: N801 - used like a function
    def __init__(self, cluster: KafkaCluster) -> None:
        self._admin = AIOKafkaAdminClient(bootstrap_servers=cluster.bootstrap)

    async def __aenter__(self) -> AIOKafkaAdminClient:
        await self._admin.start()
        return self._admin

    async def __aexit__(self, *_: object) -> None:
        await self._admin.close()


@pytest.fixture
async def place(kafka: KafkaCluster) -> Place:
    topic = f"work-{uuid.uuid4().hex}"
    await create_topic(kafka, topic, **{"max.message.bytes": "100000"})
    return Place(kafka, topic)


@pytest.fixture
async def sender(place: Place) -> AsyncIterator[faust.App]:
    async with running(place.app("sender", producer_only=True)) as app:
        yield app


async def send(app: faust.App, topic: str, value: bytes | None, partition: int = 0) -> None:
    await app.producer.send_and_wait(topic, None, value, partition, None, None)


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counting needs no paths


class TestRefusals:
    async def test_errors_tell_the_remedy(self, place: Place, sender: faust.App) -> None:
        with pytest.raises(MessageTooLargeError, match="limit of 1010000 bytes: send it in"):
            await send(sender, place.topic, b"x" * 1_010_000)
        with pytest.raises(UnknownTopicError, match="countermand topics create"):
            await send(sender, f"{place.topic}-unknown", b"value")
        with pytest.raises(UnknownPartitionError, match="leave the partition out"):
            await send(sender, place.topic, b"value", partition=7)
        with pytest.raises(ValueError, match="a key or a value"):
            await send(sender, place.topic, None)

    async def test_a_topic_that_takes_less_than_we_do_says_so(
        self, place: Place, sender: faust.App
    ) -> None:
        with pytest.raises(MessageTooLargeError, match="above what its broker allows: send it in"):
            await send(sender, place.topic, b"x" * 200_000)
        await send(sender, place.topic, b"value")

    async def test_an_unknown_topic_is_not_asked_for_again(
        self, place: Place, sender: faust.App
    ) -> None:
        with pytest.raises(UnknownTopicError):
            await send(sender, f"{place.topic}-unknown", b"value")
        assert sender.producer._producer.client._topics == set()

    async def test_a_topic_that_was_there_is_waited_for(
        self, place: Place, sender: faust.App
    ) -> None:
        """A broker that has just come back answers before it has read which topics there are."""
        topic = f"{place.topic}-back"
        sender.topics_seen = frozenset([topic])
        sending = asyncio.create_task(send(sender, topic, b"value"))
        await asyncio.sleep(NEW_TOPIC_SECONDS + 0.5)
        assert not sending.done()
        await create_topic(place.cluster, topic)
        await sending

    async def test_a_topic_that_was_there_and_stays_away_is_no_missing_one(
        self, place: Place, sender: faust.App
    ) -> None:
        topic = f"{place.topic}-away"
        sender.topics_seen = frozenset([topic])
        sender.producer.request_timeout = NEW_TOPIC_SECONDS + 0.2
        with pytest.raises(DeliveryFailedError, match="does not know it"):
            await send(sender, topic, b"value")

    async def test_subscribing_to_an_unknown_topic_fails_the_start(self, place: Place) -> None:
        app = place.app()
        Reader(app, place.topic)
        Reader(app, f"{place.topic}-unknown")
        with pytest.raises(AppCrashedError, match=r"unknown' does not exist.*topics create"):
            await start(app)
        assert len(asyncio.all_tasks()) == 1


class TestLeftOver:
    """What comes too late, after a rebalance or a commit that took too long."""

    async def test_partitions_that_went_to_others_are_no_crash(self, place: Place) -> None:
        app = place.app()
        Reader(app, place.topic)
        async with running(app):
            thread = app.consumer._thread
            assert not await thread.commit({TP("elsewhere", 3): 7})
            assert not app.should_stop

    async def test_a_place_that_is_looked_for_is_no_crash(self, place: Place) -> None:
        """As when the broker has removed what would be read next."""
        app = place.app()
        Reader(app, place.topic)
        async with running(app):
            thread = app.consumer._thread
            held = TP(place.topic, 0)

            async def looked_at_meanwhile() -> None:
                assignment = thread._ensure_consumer()._subscription.subscription.assignment
                state = assignment.state_value(ensure_aiokafka_TP(held))
                # It was read before; else Faust does not look any further.
                state.timestamp = time.monotonic() * 1000
                state.await_reset(OffsetResetStrategy.EARLIEST)
                assert not state.has_valid_position
                app.consumer.verify_event_path(time.monotonic(), held)

            await thread.call_thread(looked_at_meanwhile)
            assert not app.should_stop

    async def test_a_refusal_that_nobody_waits_for_is_a_line(
        self, place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def refused() -> None:
            raise GroupCoordinatorNotAvailableError

        async def left_alone() -> None:
            task = asyncio.ensure_future(refused())
            await asyncio.wait({task})
            del task
            gc.collect()

        app = place.app()
        Reader(app, place.topic)
        async with running(app):
            thread = app.consumer._thread
            # Whoever ran before in this process may have set up a log of its own.
            monkeypatch.setattr(thread.logger, "disabled", False)
            monkeypatch.setattr(thread.logger, "handlers", [caplog.handler])
            monkeypatch.setattr(thread.logger, "propagate", False)
            monkeypatch.setattr(thread.logger, "level", logging.WARNING)
            await thread.call_thread(left_alone)
        told = [r for r in caplog.records if "Nobody waits" in r.getMessage()]
        assert len(told) == 1
        assert not any(record.exc_info for record in caplog.records)


class TestBrokerAway:
    async def test_a_start_without_a_broker_says_so_and_leaves_nothing(self, place: Place) -> None:
        unreachable = create_faust_app(app_id="group", broker_url="kafka://127.0.0.1:1")
        Reader(unreachable, place.topic)
        with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1; start one"):
            await start(unreachable)
        before = open_files()
        again = create_faust_app(app_id="group", broker_url="kafka://127.0.0.1:1")
        Reader(again, place.topic)
        with pytest.raises(BrokerUnavailable):
            await start(again)
        assert open_files() == before
        assert len(asyncio.all_tasks()) == 1

    async def test_a_broker_that_goes_while_an_app_starts_is_told_in_a_line_each(
        self,
        place: Place,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        async def gone(_: object) -> None:
            raise KafkaConnectionError("gone")

        app = place.app()
        Reader(app, place.topic)
        with monkeypatch.context() as patched:
            patched.setattr(AIOKafkaConsumerThread, "on_start", gone)
            with pytest.raises(BrokerUnavailable, match="no Kafka broker answers any more"):
                await start(app)
        assert "Traceback" not in capfd.readouterr().err
        errors = {type(record.exc_info[1]) for record in caplog.records if record.exc_info}
        assert errors == {BrokerUnavailable}, "one that is shown by its words"
        assert len(asyncio.all_tasks()) == 1

    @pytest.mark.crash
    async def test_work_goes_on_by_itself_when_the_broker_is_back(
        self, place: Place, sender: faust.App
    ) -> None:
        (broker,) = place.cluster.brokers
        app = place.app()
        reader = Reader(app, place.topic)
        async with running(app):
            await send(sender, place.topic, b"before")
            await reader.until(1)
            await asyncio.to_thread(broker.kill)
            with pytest.raises(DeliveryFailedError, match=r"was not confirmed.*send it again"):
                await send(sender, place.topic, b"lost")
            await asyncio.to_thread(broker.start)
            await send(sender, place.topic, b"after")
            await eventually(lambda: b"after" in reader.values)
            assert not app.crashed
            # While the group comes together again nothing is committed; the next commit makes
            # up for it. A stop amid that leaves it to the next owner, who gets it once more.
            async with asyncio.timeout(30):
                while await place.committed(app) != 2:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.2)

    @pytest.mark.crash
    async def test_an_app_can_stop_while_the_broker_is_away(self, place: Place) -> None:
        (broker,) = place.cluster.brokers
        app = place.app()
        reader = Reader(app, place.topic)
        await start(app)
        await send(app, place.topic, b"value")
        await reader.until(1)
        await asyncio.to_thread(broker.kill)
        try:
            assert await stop(app, drain=30)
            assert len(asyncio.all_tasks()) == 1
        finally:
            await asyncio.to_thread(broker.start)

    @pytest.mark.slow
    async def test_an_app_can_stop_while_the_broker_is_frozen(self, place: Place) -> None:
        (broker,) = place.cluster.brokers
        app = place.app()
        Reader(app, place.topic)
        await start(app)
        broker.freeze()
        try:
            sending = asyncio.ensure_future(send(app, place.topic, b"value"))
            assert await stop(app, drain=30)
            with pytest.raises(DeliveryFailedError):
                await sending
            with pytest.raises(BrokerUnavailable):
                await start(place.app("late"))
            assert len(asyncio.all_tasks()) == 1
        finally:
            broker.thaw()
