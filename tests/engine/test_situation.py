"""What is around jobs, as the database tells it: workers, work of others, the past of a job."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from domain.registry import Registry
from domain.waiting import Hold, Waiting
from streams.queries import Queries
from streams.situation import Present, Situation, itself
from streams.stores import migrate, workers
from streams.stores.database import Database
from streams.stores.workers import WorkerRow, live_workers
from tests.databases import database, database_url
from tests.engine.stages import Stages, told_nobody
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url"]

THINGS = [{"name": "x"}] * 400
CHUNKS = {"chunk_size": 20}
HERE = WorkerRow("here", ("stock",), slots=1, process=1)


@pytest.fixture
def stages(database: Database) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(operations))


def _around(stages: Stages, present: Present, *, broker_away: str = "") -> Situation:
    return Situation(
        database=stages.database,
        registry=stages.registry,
        clock=stages.clock,
        present=present,
        broker_away=lambda: broker_away,
        hint=told_nobody,
    )


async def _told(stages: Stages, situation: Situation, job_id: str) -> Waiting:
    told = await situation.waiting(await stages.job(job_id))
    assert told is not None
    return told


async def test_those_that_have_the_places_are_named_but_not_to_other_tenants(
    stages: Stages,
) -> None:
    first, second = [
        await stages.submit("stock.wait", [{"number": n} for n in range(600)]) for _ in range(2)
    ]
    late = await stages.submit("stock.create", THINGS, options=CHUNKS)
    foreign = await stages.submit("stock.create", THINGS, tenant="other", options=CHUNKS)
    situation = _around(stages, itself(HERE))
    told = await _told(stages, situation, late)
    assert told.text == f"the workers have chunks of job {first}, job {second}"
    told = await _told(stages, situation, foreign)
    assert told.reason is Hold.BEHIND
    assert first not in told.text
    assert second not in told.text
    assert await situation.waiting(await stages.job(first)) is None


async def test_a_system_whose_workers_are_silent_has_none(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", THINGS, options=CHUNKS)
    situation = _around(stages, live_workers)
    assert (await _told(stages, situation, job_id)).reason is Hold.NO_WORKER
    now = stages.clock.now().timestamp()
    stages.database.write_now(lambda found: workers.beat(found, HERE, now))
    assert await situation.waiting(await stages.job(job_id)) is None
    assert [worker.name for worker in await situation.workers()] == ["here"]
    stages.clock.pass_seconds(workers.ALIVE_SECONDS + 1)
    assert (await _told(stages, situation, job_id)).reason is Hold.NO_WORKER
    assert await situation.workers() == []


async def test_memory_is_named_when_work_waits_for_it_at_every_worker(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", THINGS, options=CHUNKS)
    situation = _around(stages, live_workers)
    short = replace(HERE, host="north", rss=512 << 20, memory_budget=400 << 20)
    now = stages.clock.now().timestamp()
    workers_ = (replace(short, held_since=now), replace(short, name="there", host="south"))
    for worker in workers_:
        stages.database.write_now(lambda found, worker=worker: workers.beat(found, worker, now))
    assert await situation.waiting(await stages.job(job_id)) is None
    late = replace(workers_[1], held_since=now)
    stages.database.write_now(lambda found: workers.beat(found, late, now))
    told = await _told(stages, situation, job_id)
    assert told.reason is Hold.MEMORY
    assert "(north 512 of 400 MiB, south 512 of 400 MiB)" in told.text


async def test_a_broker_that_is_away_is_named_before_all_else(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", THINGS)
    situation = _around(stages, live_workers, broker_away="no answer")
    assert (await _told(stages, situation, job_id)).text == "the broker is away: no answer"


async def test_shares_are_read_and_set(stages: Stages) -> None:
    situation = _around(stages, itself(HERE))
    assert await situation.weights() == {}
    await situation.weigh("shop", 3)
    assert await situation.weights() == {"shop": 3}


async def test_the_course_of_a_job_is_thinned_evenly(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", THINGS, options={"chunk_size": 1})
    await stages.run_dry()
    queries, last = (
        Queries(stages.database, stages.jobs, stages.registry),
        (await stages.job(job_id)).version,
    )
    for points in (2, 3, 10, 1000):
        course = await queries.course("local", job_id, points)
        versions = [event.originator_version for event in course]
        assert len(versions) <= points
        assert versions == sorted(set(versions))
        assert versions[-1] == last
        gaps = {after - before for before, after in itertools.pairwise(versions[:-1])}
        assert len(gaps) <= 1
    assert versions == list(range(1, last + 1))
