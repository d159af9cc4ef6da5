"""The scaled stack: api, coordinator and two workers as processes, over a Kafka of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.server import START_SECONDS, Server, process, session_of
from streams.topology import all_topics
from tests.services.kafka import KafkaCluster

PARTITIONS = 4
SYSTEMS = ("annotations", "texts")
PARTS = {
    "api": ("api",),
    "coordinator": ("coordinator", "--instance", "coordinator-1"),
    "worker-1": ("worker", "--instance", "worker-1"),
    "worker-2": ("worker", "--instance", "worker-2"),
}


@asynccontextmanager
async def running_stack(folder: Path, database: str, kafka: KafkaCluster) -> AsyncIterator[Server]:
    """The processes on that database, with topics that are new; all are ready when it begins."""
    await _fresh_topics(kafka)
    settings = {
        "COUNTERMAND_BROKER": kafka.url,
        "COUNTERMAND_DATABASE": database.replace("+psycopg", ""),
        "COUNTERMAND_DATA_DIR": str(folder),
    }
    async with AsyncExitStack() as stack:
        started = {
            name: await stack.enter_async_context(
                process(arguments, folder / f"{name}.log", settings)
            )
            for name, arguments in PARTS.items()
        }
        session = await stack.enter_async_context(session_of(started["api"][1]))
        async with asyncio.timeout(START_SECONDS):
            for _, url in started.values():
                await _ready(session, url)
        yield Server([pid for pid, _ in started.values()], session)


async def _ready(session: aiohttp.ClientSession, url: str) -> None:
    while True:
        async with session.get(f"{url}/health/ready") as response:
            if response.status == 200:
                return
        await asyncio.sleep(0.2)


async def _fresh_topics(kafka: KafkaCluster) -> None:
    """Messages of an earlier round speak of jobs that this database does not have."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        topics = all_topics(SYSTEMS)
        there = set(await admin.list_topics())
        await admin.delete_topics([topic for topic in topics if topic in there])
        while set(await admin.list_topics()) & set(topics):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.1)
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in topics])
    finally:
        await admin.close()
