"""The Kafka transport keeps the core of its contract where the broker asks who comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import faust
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from streams.app import FaustSettings, create_faust_app
from tests.contracts.test_transport_kafka import KafkaHarness, MortalTransport
from tests.services.guarded import (
    ENGINE,
    GROUP,
    SHOWN,
    SIGNED,
    SPOKEN,
    TOPIC,
    GuardedKafka,
    guarded_kafka,
)
from tests.services.switch import need

pytest.register_assert_rewrite("tests.contracts.transport", "tests.contracts.transport_bench")

from tests.contracts.transport import (  # noqa: E402 - its asserts explain themselves only so
    TestContent,
    TestSending,
    bench,
)

__all__ = ["TestContent", "TestSending", "bench"]

pytestmark = pytest.mark.service("kafka")


class GuardedHarness(KafkaHarness):
    """Apps come in by a door; what tests look at, they look at by the open one."""

    def __init__(self, guarded: GuardedKafka, admin: AIOKafkaAdminClient, door: str) -> None:
        super().__init__(guarded.cluster, admin)
        self._guarded = guarded
        self._door = door

    def make_app(self, app_id: str, settings: FaustSettings, *, producer_only: bool) -> faust.App:
        return create_faust_app(
            app_id=app_id,
            broker_url=self._guarded.address(self._door),
            settings=replace(settings, heartbeat_interval=0.3),
            transport=MortalTransport,
            producer_only=producer_only,
        )


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedKafka]:
    need("kafka")
    with guarded_kafka(tmp_path_factory.mktemp("guarded")) as broker:
        asyncio.run(broker.allow(ENGINE, TOPIC, "contract-", ["Read", "Write"]))
        asyncio.run(broker.allow(ENGINE, GROUP, "contract-", ["Read"]))
        yield broker


@pytest.fixture(params=[SIGNED, SHOWN, SPOKEN])
async def harness(
    request: pytest.FixtureRequest, guarded: GuardedKafka
) -> AsyncIterator[GuardedHarness]:
    admin = AIOKafkaAdminClient(bootstrap_servers=guarded.cluster.bootstrap)
    await admin.start()
    try:
        yield GuardedHarness(guarded, admin, request.param)
    finally:
        await admin.close()
