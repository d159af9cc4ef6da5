"""The scaled roles in the test's own process: PostgreSQL as ever, the broker in memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from domain.registry import Registry
from streams import app as faust_apps
from streams import topics
from streams.app import create_faust_app
from streams.bootstrap import parts, scaled
from streams.clock import SystemClock
from streams.envelope import Outgoing, Work, WorkChunk, encode
from streams.settings import Settings
from streams.stores.database import Database
from streams.topology import StageName, all_topics
from streams.transport.kafka import admin
from streams.transport.memory import MemoryBroker, memory_transport
from tests.databases import migrated_postgres
from tests.engine.stock import operations
from tests.memory import ENOUGH_MIB

__all__ = ["Roles", "migrated_postgres", "roles"]

REGISTRY = Registry(operations)
WORK = topics.work("stock")
TOLD = topics.COMMANDS
DRAIN = 20.0

T = TypeVar("T")
Handle = Callable[[Work], Awaitable[list[Outgoing]]]


async def until(look: Callable[[], Awaitable[T]], seconds: float = 20.0) -> T:
    """What is found once there is something."""
    async with asyncio.timeout(seconds):
        while True:
            if found := await look():
                return found
            await asyncio.sleep(0.02)


class OffClock(SystemClock):
    """That of another machine, which is off by some seconds."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead)


class Roles:
    """What the processes of one installation share; ``apps`` are those that were made."""

    def __init__(self, url: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.database = Database(url)
        self.clock = OffClock()
        self.apps: list[Any] = []
        self.hard_ends: list[int] = []
        self.broker = MemoryBroker()
        self._url, self._folder, self._patch = url, folder, patch
        for topic in all_topics(REGISTRY.systems):
            self.broker.create_topic(topic, 2)
        patch.setattr(scaled, "app_of", self._app)
        patch.setattr(admin, "require", _nothing)
        patch.setattr(admin, "allowed", _nothing)
        patch.setattr(parts, "SystemClock", lambda: self.clock)
        patch.setattr(os, "_exit", self.hard_ends.append)

    def settings(self, **given: Any) -> Settings:
        """As a process of this installation is started."""
        usual: dict[str, Any] = {"slots": 2, "drain": DRAIN, "broker": "kafka://127.0.0.1:1"}
        usual["worker_memory_budget"] = ENOUGH_MIB
        return Settings(data_dir=self._folder, database=self._url, **usual | given)

    def work_by(self, handle: Handle) -> None:
        """Have all slots of workers handle their messages by that."""
        stage = SimpleNamespace(handle=handle)
        self._patch.setattr(parts, "worker", lambda *_given, **_named: stage)

    async def send(self, slot: int) -> None:
        """Have a slot, which has one partition of two, get a message."""
        (partition,) = await until(partial(self._partitions_of, slot))
        chunks = (WorkChunk(chunk=0, attempt=1),)
        work = Work(job_id="job", operation="stock.create", epoch=1, chunks=chunks)
        producer = self.apps[slot].producer
        await producer.send_and_wait(WORK, b"job", encode(work), partition, None, None)

    async def _partitions_of(self, slot: int) -> list[int]:
        """Once the partitions are shared out."""
        held = [faust_apps.held(app).get(WORK, []) for app in self.apps]
        return held[slot] if all(held) else []

    @property
    def told(self) -> int:
        """How many commands were sent."""
        return sum(partition.highwater for partition in self.broker.partitions(TOLD))

    async def seen(self) -> list[float]:
        """When each worker was last there, by its own word."""

        def look(connection: Any) -> list[float]:
            rows = connection.exec_driver_sql("SELECT seen_at FROM workers").all()
            return [seen_at for (seen_at,) in rows]

        return await self.database.read(look)

    async def until_seen(self) -> float:
        """When the one worker was last there, once it has said so."""
        (seen,) = await until(self.seen)
        return seen

    def _app(self, _settings: Settings, stage: StageName, *, instance: str) -> Any:
        transport = memory_transport(self.broker)
        url = str(self.broker.url)
        app = create_faust_app(app_id=stage.value, broker_url=url, transport=transport)
        self.apps.append(app)
        return app


async def _nothing(*_given: Any) -> None: ...


@pytest.fixture
def roles(
    migrated_postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Roles]:
    made = Roles(migrated_postgres, tmp_path, monkeypatch)
    with made.database:
        yield made
