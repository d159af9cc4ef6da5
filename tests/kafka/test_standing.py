"""Each role is not ready when one of its partitions stands, over Kafka and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from streams import app as faust_apps
from streams.stores.database import Database
from tests.api.standing import (
    PARTITIONS,
    TOPICS,
    WAYS,
    Role,
    says_where_it_stands_and_ends,
    standing,
)
from tests.services.kafka import KafkaCluster, create_topic, running_kafka

pytestmark = pytest.mark.service("kafka", "postgresql")


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaCluster]:
    """A broker of their own: they read the topics of an installation, no two the same."""
    with running_kafka() as kafka:
        for topic in TOPICS:
            asyncio.run(create_topic(kafka, topic, PARTITIONS))
        yield kafka


@pytest.fixture(params=WAYS)
async def role(
    request: pytest.FixtureRequest,
    broker: KafkaCluster,
    migrated_postgres: str,
    tmp_path: Path,
) -> AsyncIterator[Role]:
    app = faust_apps.create_faust_app(app_id=request.param, broker_url=broker.url)
    with Database(migrated_postgres) as database:
        async with standing(WAYS[request.param], database, tmp_path, app) as role:
            yield role


async def test_a_partition_that_stands_beside_one_that_moves_is_told(
    role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    await says_where_it_stands_and_ends(role, monkeypatch)
