"""Whose chunk it is: heartbeats, workers that meet, and the sweep that meets a worker."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace

import pytest
from sqlalchemy import Connection, select

from domain.commands import CancelJob
from domain.events import JobStatus
from domain.options import JobOptions
from domain.outcomes import Closing
from domain.planning import MAX_STARTS
from domain.registry import Registry
from streams import topics
from streams.envelope import Outgoing, WorkMode, decode_work, mode_of
from streams.stores import chunks as chunk_store
from streams.stores import migrate, outcomes
from streams.stores.chunks import Claimed
from streams.stores.database import READERS, Database
from streams.stores.overdue import dispatch_again, overdue, wait_longer
from streams.stores.schema import chunks
from streams.worker import AT_ONCE_ITEMS
from tests.databases import database, database_url
from tests.engine.beside import beside, outcome
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url"]

LEASE = 5.0


@pytest.fixture
async def stages(database: Database) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(operations))


async def claimed_by(stages: Stages, worker: str, starts: int = 1) -> Claimed:
    """The one chunk of a job of two items, claimed; its lease begins now."""
    await stages.submit("stock.create", [{"name": "x"}] * 2)
    work = decode_work(stages.bus.pop(0).value)
    claimed: list[Claimed] = []
    for number in range(starts):
        stages.clock.pass_seconds(LEASE + 1)
        claimed = stages.database.write_now(
            lambda connection, number=number: chunk_store.claim(  # type: ignore[misc]
                connection,
                work,
                worker=f"{worker}-{number}",
                now=stages.clock.now().timestamp(),
                lease=LEASE,
            )
        )
    return claimed[0]


async def test_a_lease_renewed_after_the_look_is_kept(stages: Stages) -> None:
    """The sweep looks, the heartbeat comes, the sweep acts."""
    claimed = await claimed_by(stages, "slow")
    stages.clock.pass_seconds(LEASE + 1)
    now = stages.clock.now().timestamp()
    database = stages.database
    late = database.read_now(lambda connection: overdue(connection, now))
    assert [chunk.chunk for chunk in late] == [claimed.chunk]
    database.write_now(lambda connection: chunk_store.prolong(connection, [claimed], now + LEASE))
    again = database.write_now(
        lambda connection: dispatch_again(connection, late, now=now, claim_by=5.0)
    )
    assert again == ([], [])


async def test_a_heartbeat_tells_which_chunks_are_still_its_worker_s(stages: Stages) -> None:
    claimed = await claimed_by(stages, "slow")
    other = replace(claimed, attempt=claimed.attempt + 1)
    until = stages.clock.now().timestamp() + LEASE

    def beat(connection: Connection) -> list[Claimed]:
        return chunk_store.prolong(connection, [claimed, other], until)

    assert stages.database.write_now(beat) == [claimed]
    (await stages.command(CancelJob, claimed.job_id)).accepted()
    assert stages.database.write_now(beat) == []


async def test_what_has_died_in_its_worker_waits_no_longer_than_at_first(stages: Stages) -> None:
    """Only a message that nobody takes may stand behind others."""
    await claimed_by(stages, "dead")
    waits = [await _patience(stages) for _ in range(3)]
    assert waits == [5.0, 10.0, 20.0]


async def _patience(stages: Stages) -> float:
    """How long a chunk that nobody works waits for its claim, when it is sent again."""
    stages.clock.pass_seconds(100)
    now = stages.clock.now().timestamp()
    late = stages.database.read_now(lambda connection: overdue(connection, now))
    _, again = stages.database.write_now(
        lambda connection: dispatch_again(connection, late, now=now, claim_by=5.0)
    )
    stages.database.write_now(lambda connection: wait_longer(connection, again, now))
    claim_by = stages.database.read_now(
        lambda connection: connection.scalar(select(chunks.c.claim_by).where(chunks.c.open))
    )
    return round(float(claim_by) - now, 3)


async def test_a_worker_that_reads_its_items_for_long_keeps_its_lease(stages: Stages) -> None:
    """What many items take on a busy machine is longer than a lease, and nobody has died."""
    most = JobOptions(chunk_size=AT_ONCE_ITEMS + 1)
    job_id = await stages.submit("stock.create", [{"name": "x"}] * most.chunk_size, options=most)
    stages.heartbeat = 0.01
    stages.restart()
    may_read = threading.Event()
    reading = [stages.database.read(lambda _: may_read.wait(20)) for _ in range(READERS)]
    busy = asyncio.gather(*reading, stages.deliver(stages.bus.pop(0)))
    try:
        async with asyncio.timeout(10):
            await leased_beyond(stages, 0.0)
            stages.clock.pass_seconds(LEASE + 1)
            await leased_beyond(stages, stages.clock.now().timestamp())
    finally:
        may_read.set()
        await busy
    await stages.run_dry()
    assert (await stages.job(job_id)).counts.succeeded == most.chunk_size
    assert await stages.rows("SELECT attempt, starts FROM chunks") == [(1, 1)]


async def leased_beyond(stages: Stages, moment: float) -> None:
    """Return when the only chunk is leased for longer than that; takes no reader's thread."""
    until = None
    while until is None or until <= moment:
        await asyncio.sleep(0.01)
        until = await stages.database.write(lambda c: c.scalar(select(chunks.c.lease_until)))


async def test_what_a_dead_worker_has_left_is_not_overtaken(stages: Stages) -> None:
    """Of two items on one record the later one wins, whoever dies meanwhile."""
    await stages.submit("stock.create", [{"name": "x"}] * 200)
    await stages.run_dry()
    items = [{"id": number, "amount": 1} for number in range(1, 201)]
    job_id = await stages.submit("stock.add", items)
    first, second = (one for one in stages.bus if one.topic == topics.work("stock"))
    stages.bus.clear()

    def die(connection: Connection) -> list[Claimed]:
        now = stages.clock.now().timestamp()
        work = decode_work(first.value)
        return chunk_store.claim(
            connection, work, worker="dead", now=now, lease=LEASE, in_order=True
        )

    assert [one.chunk for one in stages.database.write_now(die)] == [0]
    await stages.deliver(second)
    assert await stages.rows("SELECT sum(amount) FROM stock") == [(0,)], "it is not its turn"
    await stages.mend()
    assert (await stages.job(job_id)).status is JobStatus.COMPLETED
    assert await stages.rows("SELECT sum(amount) FROM stock") == [(200,)]
    order = f"SELECT chunk FROM outcomes WHERE job_id = '{job_id}' ORDER BY sequence"
    assert await stages.rows(order) == [(0,), (1,)]
    started = f"SELECT starts FROM chunks WHERE job_id = '{job_id}' ORDER BY chunk"
    assert await stages.rows(started) == [(2,), (1,)], "a start that was no turn does not count"


async def test_a_suspect_that_is_sent_again_is_exclusive_again(stages: Stages) -> None:
    """One more death convicts it, whoever has died of what."""
    await claimed_by(stages, "dying", starts=MAX_STARTS)
    stages.clock.pass_seconds(LEASE + 1)
    await stages.sweep.run(stages.send)
    (sent,) = work_of(stages)
    assert mode_of(sent.headers) is WorkMode.EXCLUSIVE
    stages.bus.clear()
    stages.clock.pass_seconds(LEASE + 1)
    await stages.sweep.run(stages.send)
    (again,) = work_of(stages)
    assert mode_of(again.headers) is WorkMode.EXCLUSIVE
    assert decode_work(again.value).chunks[0].attempt > decode_work(sent.value).chunks[0].attempt


def work_of(stages: Stages) -> list[Outgoing]:
    return [message for message in stages.bus if message.topic == topics.work("stock")]


async def test_of_two_workers_on_one_attempt_one_writes(stages: Stages) -> None:
    """A doubled hint, and a lease that ran out while its worker was stopped."""
    claimed = await claimed_by(stages, "doubled", starts=2)
    found: list[list[Claimed]] = []

    def first(connection: Connection) -> threading.Thread:
        assert chunk_store.held(connection, [claimed]) == [claimed]
        second = beside(
            stages.database, lambda other: found.append(chunk_store.held(other, [claimed]))
        )
        time.sleep(0.3)
        outcomes.insert_outcomes(connection, [outcome(claimed)])
        return second

    stages.database.write_now(first).join(10)
    assert found == [[]]


async def test_a_chunk_is_no_killer_while_its_effect_is_written(stages: Stages) -> None:
    claimed = await claimed_by(stages, "late", starts=3)
    stages.clock.pass_seconds(LEASE + 1)
    now = stages.clock.now().timestamp()
    (killer,) = stages.database.read_now(lambda c: overdue(c, now))
    assert killer.is_killer

    def effect(connection: Connection) -> threading.Thread:
        assert chunk_store.held(connection, [claimed]) == [claimed]
        sweep = beside(stages.database, lambda c: stages.sweep.close_killers([killer], now, c))
        time.sleep(0.3)
        outcomes.insert_outcomes(connection, [outcome(claimed)])
        return sweep

    stages.database.write_now(effect).join(10)
    ((closing,),) = await stages.rows("SELECT closing FROM outcomes")
    assert closing == Closing.DONE
