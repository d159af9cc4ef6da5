"""Each role is not ready when one of its partitions stands, over Kafka and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams import app as faust_apps
from streams.bootstrap import parts
from streams.stores.database import Database
from tests.api.standing import PARTITIONS, TOPICS, WAYS, Role, is_told_where_it_stands, standing
from tests.services.kafka import KafkaCluster, running_kafka

pytestmark = pytest.mark.service("kafka", "postgresql")


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaCluster]:
    """A broker of their own: they read the topics of an installation."""
    with running_kafka() as kafka:
        yield kafka


@pytest.fixture(params=WAYS)
async def role(
    request: pytest.FixtureRequest,
    broker: KafkaCluster,
    migrated_postgres: str,
    tmp_path: Path,
) -> AsyncIterator[Role]:
    await _fresh(broker)
    app = faust_apps.create_faust_app(app_id=request.param, broker_url=broker.url)
    with Database(migrated_postgres) as database:
        async with standing(WAYS[request.param], database, tmp_path, app) as role:
            yield role


async def test_a_partition_that_stands_beside_one_that_moves_is_told(
    role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []
    monkeypatch.setattr(parts, "end_hung", ended.append)
    reason = await is_told_where_it_stands(role)
    await parts.watch(role.vitals)
    assert ended == [reason]


async def _fresh(broker: KafkaCluster) -> None:
    """The topics, once; no two roles read the same."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        there = set(await admin.list_topics())
        await admin.create_topics(
            [NewTopic(topic, PARTITIONS, 1) for topic in TOPICS if topic not in there]
        )
    finally:
        await admin.close()
