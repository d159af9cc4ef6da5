"""Caps in the engine: what is in flight keeps to lower ones, and what waits is woken in time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from domain.commands import AdjustJob, Adjustment
from domain.errors import InvalidCommand, WrongState
from domain.events import JobStatus
from domain.job import Job
from domain.options import Caps
from domain.registry import Registry
from domain.scheduling import DISPATCHES_PER_SLOT, KEPT_IN_COMPANY
from streams.stores import migrate
from streams.stores.database import Database
from tests.databases import database, database_url
from tests.engine.conftest import CALLER, Desk
from tests.engine.stages import Stages, document
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url"]

THINGS = [{"name": "x"}] * 400


@pytest.fixture(params=[False, True], ids=["alone", "shared"])
def stages(database: Database, request: pytest.FixtureRequest) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(operations), shared=request.param)


async def _adjust(stages: Stages, job_id: str, **wanted: Any) -> None:
    """Ask for other caps; raises the refusal."""
    command = AdjustJob(
        command_id=stages.ids.new(), job_id=job_id, tenant="local", actor="tester", **wanted
    )
    stages.bus += await stages.coordinator.handle(command)
    stages.decisions[command.command_id].accepted()


def _works(stages: Stages) -> list[Any]:
    return [message for message in stages.bus if message.topic.startswith("countermand.work.")]


async def test_what_is_in_flight_takes_no_effect_under_a_lower_cap(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", THINGS, options={"chunk_size": 10})
    late = _works(stages)
    assert len(late) > 1
    stages.bus.clear()
    await _adjust(stages, job_id, rate=20, reason="the shop is open")
    job = await stages.job(job_id)
    assert (job.caps, job.epoch, job.open) == (Caps(rate=20), 1, {})
    stages.bus[:] = late
    await stages.run_dry()
    assert (await stages.job(job_id)).counts.pending == 400, "nothing of before"
    assert (await stages.kinds(job_id))[-1] == "job.adjusted"
    told_id, seconds = stages.woken[-1]
    assert told_id == job_id
    assert 0 < seconds <= 0.25


async def test_a_job_is_held_to_its_rate_whoever_looks_at_it(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", THINGS, options={"rate": 20})
    done: list[int] = []
    for _ in range(4):
        await stages.run_dry()
        stages.bus += await stages.sweep.sweep()
        await stages.run_dry()
        done.append((await stages.job(job_id)).counts.succeeded)
        stages.restart()
        stages.clock.pass_seconds(6)
        stages.bus += await stages.coordinator.look(job_id)
    assert done == [5, 25, 45, 65], "a tick's worth, then what is kept of six seconds"


async def test_a_job_that_is_held_back_has_a_timer_should_its_coordinator_die(
    stages: Stages,
) -> None:
    job_id = await stages.submit("stock.create", THINGS, options={"rate": 20})
    timers = "SELECT timer_id, due FROM timers"
    ((timer_id, due),) = await stages.rows(timers)
    assert timer_id == f"{job_id}.due"
    assert 0 < due - stages.clock.now().timestamp() <= 5.25
    await _adjust(stages, job_id, lift=["rate"])
    await stages.run_dry()
    assert await stages.rows(timers) == []
    assert (await stages.job(job_id)).status is JobStatus.COMPLETED


async def test_who_is_held_back_takes_no_place_from_others(stages: Stages) -> None:
    held = await stages.submit("stock.create", THINGS, options={"rate": 0.001}, priority=10)
    others = await stages.submit("stock.create", THINGS, options={"chunk_size": 100})
    sent = [document(message)["job_id"] for message in _works(stages)]
    assert sent.count(held) == 1
    # What it may have beside a job that could have come with more than it has.
    assert sent.count(others) == DISPATCHES_PER_SLOT - KEPT_IN_COMPANY
    await stages.run_dry()
    assert (await stages.job(others)).status is JobStatus.COMPLETED


async def test_a_higher_priority_goes_first_from_then_on(stages: Stages) -> None:
    first = await stages.submit("stock.create", THINGS, options={"chunk_size": 20})
    second = await stages.submit("stock.create", THINGS, options={"chunk_size": 20})
    assert first
    await _adjust(stages, second, priority=10)
    assert (await stages.job(second)).priority == 10
    await stages.run_dry()
    assert (await stages.job(second)).counts.succeeded == 400


async def test_refusals_change_nothing(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", THINGS[:3])
    with pytest.raises(InvalidCommand, match="nothing is to be changed"):
        await _adjust(stages, job_id)
    await stages.run_dry()
    with pytest.raises(WrongState, match="adjust is not possible"):
        await _adjust(stages, job_id, rate=5)
    assert "job.adjusted" not in await stages.kinds(job_id)


async def test_slow_items_that_have_begun_end_and_the_others_go_back(desk: Desk) -> None:
    # One chunk, of which most have not begun for seconds: a slow machine would plan small ones,
    # whose items have all begun when there are to be fewer.
    items = [{"number": n} for n in range(800)]
    job_id = await desk.submit("stock.wait", items, options={"chunk_size": len(items)})
    await desk.when("SELECT 1 FROM chunks WHERE worker IS NOT NULL")
    decision = await desk.engine.gateway.adjust(CALLER, job_id, _wanted(concurrency=2))
    assert decision.problem is None
    assert not (await _with_few_open(desk, job_id, 2)).status.terminal
    await desk.engine.gateway.adjust(CALLER, job_id, _wanted(lift=["concurrency"]))
    job = await desk.settle(job_id)
    assert job.counts.succeeded == len(items)
    rows = await desk.rows("SELECT closing FROM outcomes")
    assert ("revoked",) in rows


async def _with_few_open(desk: Desk, job_id: str, most: int) -> Job:
    """The job once no more of its items than that are at a worker."""
    async with asyncio.timeout(10):
        while True:
            job = await desk.job(job_id)
            if sum(len(chunk.items) for chunk in job.open.values()) <= most:
                return job
            await asyncio.sleep(0.01)


def _wanted(**fields: Any) -> Adjustment:
    return Adjustment.model_validate(fields)
