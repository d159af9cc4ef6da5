"""The memory transport keeps the contract of transports."""

from __future__ import annotations

import asyncio

import faust
import pytest

from streams.app import FaustSettings, create_faust_app
from streams.transport.memory import MemoryBroker, memory_transport
from streams.transport.memory.consumer import Consumer

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


class MemoryHarness:
    """A broker in this process."""

    patience = 30.0
    quiet = 0.1

    def __init__(self) -> None:
        self.broker = MemoryBroker()

    async def create_topic(self, topic: str, partitions: int) -> None:
        self.broker.create_topic(topic, partitions)

    def make_app(self, app_id: str, settings: FaustSettings, *, producer_only: bool) -> faust.App:
        return create_faust_app(
            app_id=app_id,
            broker_url=str(self.broker.url),
            transport=memory_transport(self.broker),
            settings=settings,
            producer_only=producer_only,
        )

    async def crash(self, app: faust.App) -> None:
        assert isinstance(app.consumer, Consumer)
        app.consumer.abandon()
        async with asyncio.timeout(self.patience):
            await app.stop()

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        offsets = self.broker.committed(group)
        return {log.tp.partition: offsets.get(log.tp, 0) for log in self.broker.partitions(topic)}


@pytest.fixture
def harness() -> MemoryHarness:
    return MemoryHarness()
