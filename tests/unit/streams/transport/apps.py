"""Small apps over a memory broker, for the tests of its transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import faust
from faust.types import TP

from streams.app import FaustSettings, create_faust_app
from streams.transport.memory import MemoryBroker, memory_transport

__all__ = ["PROMPT", "WORK", "Reader", "eventually", "make_app", "send"]

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
