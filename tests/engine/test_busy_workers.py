"""Workers that are behind: work that waits for its turn is not taken for lost, again and again."""

from __future__ import annotations

import pytest

from domain.events import JobStatus
from domain.options import JobOptions
from domain.registry import Registry
from streams import topics
from streams.envelope import Work, decode_work
from streams.stores import migrate
from streams.stores.database import Database
from tests.databases import database, database_url
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url"]

ONE_BY_ONE = JobOptions(chunk_size=1)
WORK = topics.work("stock")


@pytest.fixture
async def stages(database: Database) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(operations))


async def begun(stages: Stages, count: int) -> str:
    """A job whose first messages have been lost, all of them."""
    items = [{"name": "x"}] * count
    job_id = await stages.submit("stock.create", items, options=ONE_BY_ONE)
    stages.bus.clear()
    return job_id


async def found(stages: Stages) -> list[Work]:
    """What the sweep sends now."""
    return [decode_work(sent.value) for sent in await stages.sweep.sweep() if sent.topic == WORK]


async def test_small_chunks_that_were_lost_share_messages_again(stages: Stages) -> None:
    await begun(stages, 50)
    stages.clock.pass_seconds(6)
    works = await found(stages)
    assert [len(work.chunks) for work in works] == [20, 20, 10]


async def test_what_was_begun_is_sent_by_itself(stages: Stages) -> None:
    job_id = await begun(stages, 9)
    await stages.database.write(
        lambda connection: connection.exec_driver_sql(
            f"UPDATE chunks SET starts = 1 WHERE job_id = '{job_id}' AND chunk = 4"
        )
    )
    stages.clock.pass_seconds(6)
    numbers = [[chunk.chunk for chunk in work.chunks] for work in await found(stages)]
    assert numbers == [[0, 1, 2, 3], [4], [5, 6, 7, 8]]


async def test_each_attempt_waits_longer_for_its_claim(stages: Stages) -> None:
    await begun(stages, 5)
    waits: list[int] = []
    for _ in range(6):
        seconds = 0
        while not await found(stages):
            stages.clock.pass_seconds(1)
            seconds += 1
        waits.append(seconds)
    assert waits == [5, 10, 20, 40, 60, 60]


async def test_a_worker_that_is_slower_than_the_sweep_gets_done(stages: Stages) -> None:
    """A message in four seconds, and whatever waits five seconds is sent again."""
    job_id = await begun(stages, 200)
    rounds = 0
    while (await stages.job(job_id)).status is not JobStatus.COMPLETED:
        rounds += 1
        assert rounds < 200, "it is kept busy with what is too old"
        await stages.deliver(stages.bus.pop(0)) if stages.bus else None
        hints = [message for message in stages.bus if message.topic != WORK]
        stages.bus = [message for message in stages.bus if message.topic == WORK]
        for hint in hints:
            await stages.deliver(hint)
        stages.clock.pass_seconds(4)
        stages.bus += await stages.sweep.sweep()
    assert await stages.rows("SELECT count(*) FROM stock") == [(200,)]
