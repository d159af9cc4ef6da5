"""Workers that are behind: work that waits for its turn is not taken for lost, again and again."""

from __future__ import annotations

import pytest

from domain.errors import BrokerUnavailable
from domain.events import JobStatus
from domain.options import JobOptions
from domain.registry import Registry
from streams import topics
from streams.envelope import Outgoing, Work, decode_work
from streams.stores import chunks as chunk_store
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
    sent: list[Outgoing] = []

    async def send(outgoing: Outgoing) -> None:
        sent.append(outgoing)

    await stages.sweep.run(send)
    return [decode_work(outgoing.value) for outgoing in sent if outgoing.topic == WORK]


async def seconds_until_found(stages: Stages) -> int:
    """How long it takes until the sweep sends something again."""
    seconds = 0
    while not await found(stages):
        stages.clock.pass_seconds(1)
        seconds += 1
    return seconds


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
    waits = [await seconds_until_found(stages) for _ in range(6)]
    assert waits == [5, 10, 20, 40, 60, 60]


async def test_what_could_not_be_sent_is_found_again_as_soon_as_ever(stages: Stages) -> None:
    """The broker is away for minutes, or each process that sweeps dies before it sends."""
    await begun(stages, 5)
    for _ in range(6):
        stages.clock.pass_seconds(6)
        with pytest.raises(BrokerUnavailable):
            await stages.sweep.run(_refuse)
    assert await seconds_until_found(stages) <= 5
    assert await seconds_until_found(stages) == 60, "now it may stand behind others"


async def test_what_was_given_back_before_the_sweep_has_ended_is_found_at_once(
    stages: Stages,
) -> None:
    """A worker takes the message at once, and cannot do it now."""
    await begun(stages, 5)
    for _ in range(3):
        await seconds_until_found(stages)
    stages.clock.pass_seconds(41)

    async def give_back(outgoing: Outgoing) -> None:
        work, now = decode_work(outgoing.value), stages.clock.now().timestamp()
        await stages.database.write(
            lambda connection: chunk_store.hand_back(
                connection,
                chunk_store.claim(connection, work, worker="leaving", now=now, lease=5.0),
            )
        )

    await stages.sweep.run(give_back)
    assert await seconds_until_found(stages) == 0


async def _refuse(_: Outgoing) -> None:
    raise BrokerUnavailable("no broker answers")


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
        await stages.sweep.run(stages.send)
    assert await stages.rows("SELECT count(*) FROM stock") == [(200,)]
