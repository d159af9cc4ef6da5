"""A role one of whose partitions stands is not ready, and says which; the watchdog ends it.

Over Kafka: tests/kafka/test_standing.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streams import app as faust_apps
from streams.liveness import Lane, Standing
from streams.stores.database import Database
from streams.transport.memory import MemoryBroker, memory_transport
from streams.vitals import MOST_NAMED, STUCK_SECONDS, Vitals
from tests.api.standing import (
    PARTITIONS,
    PATIENCE,
    TOPICS,
    WAYS,
    Role,
    says_where_it_stands_and_ends,
    standing,
)
from tests.databases import sqlite_database
from tests.engine.stages import HandClock

__all__ = ["sqlite_database"]


@pytest.fixture(params=WAYS)
async def role(
    request: pytest.FixtureRequest, sqlite_database: Database, tmp_path: Path
) -> AsyncIterator[Role]:
    broker = MemoryBroker()
    for topic in TOPICS:
        broker.create_topic(topic, PARTITIONS)
    app = faust_apps.create_faust_app(
        app_id="standing", broker_url=str(broker.url), transport=memory_transport(broker)
    )
    async with standing(WAYS[request.param], sqlite_database, tmp_path, app) as role:
        yield role


async def test_a_partition_that_stands_beside_one_that_moves_is_told(
    role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    await says_where_it_stands_and_ends(role, monkeypatch)


async def test_what_a_partition_has_handled_counts_before_anybody_measures(role: Role) -> None:
    for _ in range(2):
        await role.message(1)
    await role.measured(waiting=2)
    role.clock.pass_seconds(STUCK_SECONDS + 1)
    assert (await role.asked("/health/ready"))[0] == 503
    role.may_end.set()
    async with asyncio.timeout(PATIENCE):
        for _ in range(2):
            await role.done.get()
        while (await role.asked("/health/ready"))[0] != 200:  # noqa: ASYNC110 - it is noted later
            await asyncio.sleep(0.001)
    assert (await role.vitals.health()).waiting == 2, "nobody has measured since"


async def test_of_many_partitions_that_stand_a_few_are_named(sqlite_database: Database) -> None:
    clock, many = HandClock(), MOST_NAMED + 7

    async def all_stand() -> list[Standing]:
        return [Standing("t", number, done=0, waiting=1) for number in range(many)]

    vitals = Vitals(sqlite_database, [Lane("work", clock, all_stand)])
    await vitals.measure()
    clock.pass_seconds(STUCK_SECONDS + 1)
    reasons = (await vitals.health()).reasons
    assert len(reasons) == MOST_NAMED + 1
    assert reasons[-1] == "work: nor on 7 other partitions"
