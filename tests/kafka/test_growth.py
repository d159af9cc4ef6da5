"""More partitions while jobs are under way: nothing is lost, and the new ones are worked."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.app import FaustSettings
from streams.topics import COMMANDS, DEAD, OUTCOMES, work
from streams.topology import all_topics
from streams.transport.kafka import admin
from tests.kafka.installation import PARTITIONS, SYSTEMS, Installation, installed
from tests.services.kafka import running_kafka
from tests.services.switch import need

PATIENCE = 90.0
GROWN = 2 * PARTITIONS
LARGE = 20_000
JOBS = 20
WORK = work("annotations")


@pytest.fixture
def alone(postgres_database: str, tmp_path: Path) -> Iterator[Installation]:
    """An installation of this test's own, on a broker that nobody else sees grow."""
    need("kafka")
    with running_kafka() as kafka, installed(kafka, postgres_database, tmp_path) as running:
        yield running


@pytest.fixture
async def session(alone: Installation) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(alone.url) as session:
        yield session


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_partitions_grow_with_jobs_in_flight(
    alone: Installation, session: aiohttp.ClientSession
) -> None:
    # The worker has looked as it started, and the coordinator does when it meets a topic. So the
    # worker looks again first, and says that it holds what the coordinator does not know.
    await asyncio.sleep(FaustSettings().metadata_age / 2)
    for job_id in [await submit(session, items) for items in (LARGE // 10, 1, 1)]:
        await ended(session, job_id)
    large = await submit(session, LARGE)
    topics = all_topics(SYSTEMS)
    assert set(await admin.grow(alone.kafka.url, topics, partitions=GROWN)) == set(topics)
    assert (await job(session, large))["finished_at"] is None, "it was in flight"
    small: list[str] = []
    async with asyncio.timeout(PATIENCE):
        # Who sends finds the new partitions within its metadata's age.
        while not all([max(await used(alone, topic)) >= PARTITIONS for topic in (COMMANDS, WORK)]):
            small += [await submit(session, 1) for _ in range(5)]
        small += [await submit(session, 1) for _ in range(JOBS)]
        for job_id in small:
            assert (await ended(session, job_id))["counts"]["succeeded"] == 1
        assert (await ended(session, large))["counts"]["succeeded"] == LARGE
        assert await used(alone, DEAD) == set(), "what was decided is no dead letter"
        assert {said.get("status") for said in await values(alone, OUTCOMES)} == {"accepted", None}


async def submit(session: aiohttp.ClientSession, items: int) -> str:
    body = "\n".join(json.dumps({"name": f"project {number}"}) for number in range(items))
    headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": str(uuid.uuid4())}
    for _ in range(20):
        async with session.post(
            "/api/v1/jobs?operation=annotations.create_projects", data=body, headers=headers
        ) as response:
            answer = await response.json()
        if response.status == 202:
            return str(answer["job_id"])
        assert response.status == 503, answer
    raise AssertionError("nobody decides")


async def ended(session: aiohttp.ClientSession, job_id: str) -> dict[str, dict[str, int]]:
    while True:
        found = await job(session, job_id)
        if found["finished_at"] is not None:
            return found
        await asyncio.sleep(0.1)


async def job(session: aiohttp.ClientSession, job_id: str) -> dict[str, dict[str, int]]:
    async with session.get(f"/api/v1/jobs/{job_id}") as response:
        found: dict[str, dict[str, int]] = await response.json()
    return found


async def used(installation: Installation, topic: str) -> set[int]:
    """The partitions of a topic that have messages."""
    async with AIOKafkaConsumer(bootstrap_servers=installation.bootstrap) as consumer:
        ends = await consumer.end_offsets(places(topic))
    return {partition.partition for partition, end in ends.items() if end}


async def values(installation: Installation, topic: str) -> list[dict[str, Any]]:
    """All that a topic holds now."""
    found: list[dict[str, Any]] = []
    async with AIOKafkaConsumer(bootstrap_servers=installation.bootstrap) as consumer:
        consumer.assign(places(topic))
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(places(topic))
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                found += [json.loads(record.value) for record in records]
    return found


def places(topic: str) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in range(GROWN)]
