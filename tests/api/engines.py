"""Engines: the real one in the test's own process, as one part or in its parts.

What differs between them is here; the tests of :mod:`tests.api.test_real_engine` know nothing
of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from domain.registry import Registry
from streams.bootstrap import Engine, embedded, scaled
from streams.settings import Settings
from streams.topology import all_topics
from streams.tracing import Tracing
from streams.transport.kafka import admin
from streams.vitals import Vitals
from tests.engine.stock import operations
from tests.memory import ENOUGH_MIB
from tests.services.kafka import KafkaCluster

PARTITIONS = 4
READY_SECONDS = 60.0

Start = Callable[[], AbstractAsyncContextManager[Engine]]
"""Starts an engine that goes on where the one before it ended."""


def in_one_part(folder: Path, tracing: Tracing | None = None, **settings: Any) -> Start:
    """On SQLite, without a broker."""
    more = {"worker_memory_budget": ENOUGH_MIB} | settings
    return lambda: embedded(Settings(data_dir=folder, **more), Registry(operations), tracing)


async def in_its_parts(
    folder: Path, database: str, kafka: KafkaCluster, tracing: Tracing | None = None, **more: Any
) -> Start:
    """Edge, two coordinators and a worker, over a broker that has no other topics."""
    registry = Registry(operations)
    topics = all_topics(registry.systems)
    await admin.create(kafka.url, topics, partitions=PARTITIONS)

    def settings(name: str) -> Settings:
        return Settings(
            data_dir=folder,
            database=database,
            broker=kafka.url,
            instance=name,
            **({"worker_memory_budget": ENOUGH_MIB} | more),
        )

    @asynccontextmanager
    async def start() -> AsyncIterator[Engine]:
        async with AsyncExitStack() as stack:
            engine = await stack.enter_async_context(scaled.api(settings("api"), registry, tracing))
            parts = [
                await stack.enter_async_context(part(settings(name), registry, tracing))
                for part, name in (
                    (scaled.coordinator, "coordinator-1"),
                    (scaled.coordinator, "coordinator-2"),
                    (scaled.worker, "worker-1"),
                )
            ]
            await _ready([engine.vitals, *parts])
            yield engine

    return start


async def _ready(all_vitals: list[Vitals]) -> None:
    """Wait until each of the parts takes work."""
    async with asyncio.timeout(READY_SECONDS):
        for vitals in all_vitals:
            while not (await vitals.health()).ready:  # noqa: ASYNC110 - that is how one asks it
                await asyncio.sleep(0.02)
