"""The Kafka transport keeps the contract of transports, on a real broker."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import faust
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.consumer.group_coordinator import OffsetCommitRequest
from faust.types import TP

from streams.app import FaustSettings, create_faust_app, held, running
from streams.transport.kafka import Transport
from streams.transport.kafka.consumer import Consumer
from tests.services.kafka import KafkaCluster, create_topic

pytest.register_assert_rewrite("tests.contracts.transport", "tests.contracts.transport_bench")

from tests.contracts.transport import (  # noqa: E402 - its asserts explain themselves only so
    TestCommitting,
    TestContent,
    TestCrash,
    TestExpress,
    TestGroups,
    TestOrder,
    TestPause,
    TestSending,
    TestStopping,
    TestVolume,
    bench,
)
from tests.contracts.transport_bench import (  # noqa: E402 - likewise
    PARTITIONS,
    PROMPT,
    Bench,
)

__all__ = [
    "TestCommitting",
    "TestContent",
    "TestCrash",
    "TestExpress",
    "TestGroups",
    "TestOrder",
    "TestPause",
    "TestSending",
    "TestStopping",
    "TestVolume",
    "bench",
]


class MortalConsumer(Consumer):
    """Can fall silent as a process does that was killed."""

    is_dead = False

    async def die(self) -> None:
        """Send nothing more: no heartbeat, no commit, no farewell."""
        self.is_dead = True
        await self._thread.call_thread(self._fall_silent)

    async def _fall_silent(self) -> None:
        coordinator = self._thread._ensure_consumer()._coordinator
        # Who has no generation has nothing to leave.
        coordinator.generation = OffsetCommitRequest.DEFAULT_GENERATION_ID
        await coordinator.close()

    def assignment(self) -> set[TP]:
        return set() if self.is_dead else super().assignment()

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        return not self.is_dead and await super()._commit(offsets)


class MortalTransport(Transport):
    Consumer = MortalConsumer


class KafkaHarness:
    """The broker of the test process; topics and groups of a test are its own."""

    patience = 30.0
    quiet = 1.0

    def __init__(self, cluster: KafkaCluster, admin: AIOKafkaAdminClient) -> None:
        self.cluster = cluster
        self.admin = admin

    async def create_topic(self, topic: str, partitions: int) -> None:
        await create_topic(self.cluster, topic, partitions)

    def make_app(self, app_id: str, settings: FaustSettings, *, producer_only: bool) -> faust.App:
        return create_faust_app(
            app_id=app_id,
            broker_url=self.cluster.url,
            settings=replace(settings, heartbeat_interval=0.3),
            transport=MortalTransport,
            producer_only=producer_only,
        )

    async def crash(self, app: faust.App) -> None:
        assert isinstance(app.consumer, MortalConsumer)
        await app.consumer.die()
        async with asyncio.timeout(self.patience):
            await app.stop()

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        offsets = await self.admin.list_consumer_group_offsets(group)
        committed = {tp.partition: at.offset for tp, at in offsets.items() if tp.topic == topic}
        return dict.fromkeys(range(PARTITIONS), 0) | committed


@pytest.fixture
async def harness(kafka: KafkaCluster) -> AsyncIterator[KafkaHarness]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        yield KafkaHarness(kafka, admin)
    finally:
        await admin.close()


async def test_a_producer_finds_a_partition_that_was_added_since_it_has_looked(
    harness: KafkaHarness,
) -> None:
    """A worker may have heard of it, and say so, for as long as our metadata's age."""
    topic = f"grown-{uuid.uuid4().hex}"
    await harness.create_topic(topic, 1)
    app = harness.make_app(f"{topic}-sender", PROMPT, producer_only=True)
    async with running(app), asyncio.timeout(harness.patience):
        await app.producer.send_and_wait(topic, b"key", b"value", 0, None, None)
        await harness.admin.create_partitions({topic: NewPartitions(3)})
        sent = await app.producer.send_and_wait(topic, b"key", b"value", 2, None, None)
    assert sent.partition == 2


async def test_a_member_that_was_restarted_in_place_reads_what_was_added_since(
    harness: KafkaHarness,
) -> None:
    """It is given what it held, and is not told that it still leads its group."""
    topic = f"grown-{uuid.uuid4().hex}"
    await harness.create_topic(topic, 1)
    async with asyncio.timeout(harness.patience):
        async with reading(harness, topic) as app:
            await until_held(app, topic, 1)
        async with reading(harness, topic) as app:
            await until_held(app, topic, 1)
            await harness.admin.create_partitions({topic: NewPartitions(3)})
            await until_held(app, topic, 3)


async def test_a_member_that_was_restarted_in_place_reads_what_was_added_while_it_was_away(
    harness: KafkaHarness,
) -> None:
    """All that it ever knows of the topic has the new partitions."""
    topic = f"grown-{uuid.uuid4().hex}"
    await harness.create_topic(topic, 1)
    async with asyncio.timeout(harness.patience):
        async with reading(harness, topic) as app:
            await until_held(app, topic, 1)
        await harness.admin.create_partitions({topic: NewPartitions(3)})
        async with reading(harness, topic) as app:
            await until_held(app, topic, 3)


@asynccontextmanager
async def reading(harness: KafkaHarness, topic: str) -> AsyncIterator[faust.App]:
    """A member of the topic's group that has the same name at each start."""
    settings = replace(PROMPT, instance_id="member", metadata_age=0.5)
    app = harness.make_app(f"{topic}-group", settings, producer_only=False)

    async def read(stream: faust.StreamT[bytes]) -> None:
        async for _ in stream:
            pass

    app.agent(app.topic(topic), name=topic)(read)
    async with running(app):
        yield app


async def until_held(app: faust.App, topic: str, partitions: int) -> None:
    while held(app).get(topic) != list(range(partitions)):  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.05)


GATHERING = 0.3


async def test_a_broker_gathers_for_whoever_asks_it_to(bench: Bench) -> None:
    """Each message waits until those that may come after it have had their time."""
    settings = replace(PROMPT, gathering=GATHERING)
    member = await bench.member(settings=settings)
    loop, values = asyncio.get_running_loop(), [b"first", b"second", b"third"]
    arrived: list[float] = []
    async with asyncio.timeout(bench.harness.patience):
        for value in values:
            await bench.send(value, key=b"one partition")
            await member.until(lambda value=value: value in member.values)
            arrived.append(loop.time())
    assert member.values == values
    # A request for more is with the broker again as soon as the last one was answered.
    waited = [later - earlier for earlier, later in itertools.pairwise(arrived)]
    assert min(waited) > GATHERING / 2
