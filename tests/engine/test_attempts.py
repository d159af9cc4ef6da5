"""Failed items are tried again when they have waited, whatever dies or is lost meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from domain.commands import CancelJob, PauseJob, ResumeJob, RetryJob, UndoJob
from domain.events import JobStatus
from domain.outcomes import ItemStatus
from domain.registry import Registry
from streams.envelope import Outgoing
from streams.queries import Queries
from streams.stores import migrate
from streams.stores.database import Database
from streams.timers import AGAIN_SECONDS, Timers
from tests.databases import database, database_url
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url"]

POLICY = {"retry": {"attempts": 3, "delay": 8, "factor": 1}, "chunk_size": 4}


@pytest.fixture
def stages(database: Database) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(operations))


@pytest.fixture
def timers(stages: Stages) -> Timers:
    async def send(outgoing: Outgoing) -> None:
        stages.bus.append(outgoing)

    return Timers(database=stages.database, clock=stages.clock, send=send)


async def _add_to_what_is_missing(stages: Stages, **options: Any) -> str:
    items = [{"id": number, "amount": 1} for number in range(1, 13)]
    job_id = await stages.submit("stock.add", items, options={**POLICY, **options})
    await stages.run_dry()
    return job_id


async def _create(stages: Stages, things: int) -> None:
    await stages.submit("stock.create", [{"name": "x"}] * things)
    await stages.run_dry()


async def _due(stages: Stages) -> list[Any]:
    return await stages.rows("SELECT timer_id, due FROM timers")


async def test_they_are_tried_again_and_the_counts_never_take_a_failure_back(
    stages: Stages, timers: Timers
) -> None:
    job_id = await _add_to_what_is_missing(stages)
    job = await stages.job(job_id)
    assert (job.status, job.counts.pending, job.counts.failed) == (JobStatus.RUNNING, 12, 0)
    assert await timers.fire() == 0, "it is not time yet"

    await _create(stages, 9)
    stages.clock.pass_seconds(5)
    assert await timers.fire() == 1, "half of 8 s"
    await stages.run_dry()
    job = await stages.job(job_id)
    assert (job.counts.succeeded, job.counts.pending, job.counts.failed) == (9, 3, 0)
    assert {chunk for (chunk,) in await stages.rows("SELECT cause FROM chunks")} == {
        "apply",
        "retry",
    }

    stages.clock.pass_seconds(5)
    await timers.fire()
    await stages.run_dry()
    job = await stages.job(job_id)
    assert (job.status, job.counts.failed) == (JobStatus.COMPLETED_WITH_ERRORS, 3)
    assert await _due(stages) == []
    assert await stages.rows("SELECT sum(amount) FROM stock") == [(9,)]


async def test_a_restart_loses_none(stages: Stages, timers: Timers) -> None:
    job_id = await _add_to_what_is_missing(stages)
    stages.restart()
    await _create(stages, 12)
    stages.clock.pass_seconds(5)
    await timers.fire()
    await stages.run_dry()
    assert (await stages.job(job_id)).status is JobStatus.COMPLETED


async def test_a_lost_hint_is_sent_again(stages: Stages, timers: Timers) -> None:
    job_id = await _add_to_what_is_missing(stages)
    await _create(stages, 12)
    stages.clock.pass_seconds(5)
    assert await timers.fire() == 1
    stages.bus.clear()
    assert await timers.fire() == 0
    stages.clock.pass_seconds(AGAIN_SECONDS + 0.1)
    assert await timers.fire() == 1
    await stages.run_dry()
    assert (await stages.job(job_id)).status is JobStatus.COMPLETED


async def test_a_hint_that_comes_too_early_or_twice_does_nothing(
    stages: Stages, timers: Timers
) -> None:
    job_id = await _add_to_what_is_missing(stages)
    version = (await stages.job(job_id)).version
    stages.bus += await stages.coordinator.look(job_id)
    await stages.run_dry()
    assert (await stages.job(job_id)).version == version
    stages.clock.pass_seconds(5)
    await timers.fire()
    stages.bus += list(stages.bus)
    await _create(stages, 12)
    assert (await stages.kinds(job_id)).count("job.attempts_due") == 1


async def test_a_paused_job_has_no_timer_and_goes_on_where_it_stood(
    stages: Stages, timers: Timers
) -> None:
    job_id = await _add_to_what_is_missing(stages)
    assert len(await _due(stages)) == 1
    await stages.command(PauseJob, job_id)
    assert await _due(stages) == []
    await _create(stages, 12)
    stages.clock.pass_seconds(60)
    assert await timers.fire() == 0

    await stages.command(ResumeJob, job_id)
    await timers.fire()
    await stages.run_dry()
    assert (await stages.job(job_id)).status is JobStatus.COMPLETED


async def test_after_a_cancel_what_waited_has_failed_and_nothing_fires(
    stages: Stages, timers: Timers
) -> None:
    job_id = await _add_to_what_is_missing(stages)
    await stages.command(CancelJob, job_id)
    job = await stages.job(job_id)
    assert (job.status, job.counts.failed) == (JobStatus.CANCELLED, 12)
    assert await _due(stages) == []
    stages.clock.pass_seconds(60)
    assert await timers.fire() == 0


async def test_an_item_that_waits_is_pending_and_its_attempts_say_why(stages: Stages) -> None:
    job_id = await _add_to_what_is_missing(stages)
    queries = Queries(stages.database, stages.jobs, stages.registry)
    views = [view async for view in queries.items("local", job_id)]
    assert {view.status for view in views} == {ItemStatus.PENDING}
    (attempt,) = (await queries.item_past("local", job_id, 3)).attempts
    assert (attempt.entry.status, attempt.entry.code) == (ItemStatus.FAILED, "missing")
    assert await queries.errors("local", job_id) == [], "it is not failed yet"


async def test_a_job_without_a_policy_reads_no_ledger_and_sets_no_timer(stages: Stages) -> None:
    job_id = await stages.submit("stock.add", [{"id": 1, "amount": 1}] * 4)
    await stages.run_dry()
    job = await stages.job(job_id)
    assert (job.status, job.counts.failed) == (JobStatus.FAILED, 4)
    assert not job.minds_failures
    assert await _due(stages) == []


async def test_every_attempt_at_an_item_is_found_again(stages: Stages, timers: Timers) -> None:
    job_id = await _add_to_what_is_missing(stages)
    queries = Queries(stages.database, stages.jobs, stages.registry)
    for _ in range(2):
        stages.clock.pass_seconds(5)
        await timers.fire()
        await stages.run_dry()
    await _create(stages, 12)
    await stages.command(RetryJob, job_id)
    await stages.run_dry()
    await stages.command(UndoJob, job_id)
    await stages.run_dry()

    past = await queries.item_past("local", job_id, 7)
    told = past.attempts
    assert [
        (attempt.cause.value, attempt.entry.status, attempt.entry.code) for attempt in told
    ] == [
        ("apply", ItemStatus.FAILED, "missing"),
        ("retry", ItemStatus.FAILED, "missing"),
        ("retry", ItemStatus.FAILED, "missing"),
        ("retry", ItemStatus.SUCCEEDED, ""),
        ("rollback", ItemStatus.ROLLED_BACK, ""),
    ]
    assert [attempt.at for attempt in told] == sorted(attempt.at for attempt in told)
    assert past.bodies == [{"id": 8, "amount": 1}]
