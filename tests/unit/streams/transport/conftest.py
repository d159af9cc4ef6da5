"""A broker with one topic, and an app that only sends."""

from __future__ import annotations

from collections.abc import AsyncIterator

import faust
import pytest

from streams.app import running
from streams.transport.memory import MemoryBroker
from tests.unit.streams.transport.apps import make_app


@pytest.fixture
def broker() -> MemoryBroker:
    broker = MemoryBroker()
    broker.create_topic("work", 1)
    return broker


@pytest.fixture
async def sender(broker: MemoryBroker) -> AsyncIterator[faust.App]:
    async with running(make_app(broker, "sender", producer_only=True)) as app:
        yield app
