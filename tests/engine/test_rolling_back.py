"""A job that fails, or is cancelled, puts back by itself what it has done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from domain.commands import CancelJob, ResumeJob, UndoJob
from domain.events import JobStatus
from domain.outcomes import Counts
from domain.records import Change, Writer
from domain.registry import Registry
from streams import topics
from streams.stores import migrate
from streams.stores.database import Database
from streams.stores.records import SqlRecords
from tests.databases import database, database_url
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url"]

ROLL_BACK: Mapping[str, Any] = {"chunk_size": 2, "on_error": "roll_back"}


@pytest.fixture
async def stages(database: Database) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(operations))


def things(count: int, *, bad: tuple[int, ...] = ()) -> list[dict[str, Any]]:
    return [{"name": "!" if n in bad else "x", "amount": 1} for n in range(count)]


async def left(stages: Stages) -> int:
    ((many,),) = await stages.rows("SELECT count(*) FROM stock")
    return int(many)


async def problem(stages: Stages, job_id: str) -> str:
    decision = stages.decisions[f"{job_id}.submit"]
    assert decision.problem is not None
    return str(decision.problem["code"])


async def test_one_failure_rolls_a_job_back(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", things(10, bad=(5,)), options=ROLL_BACK)
    await stages.run_dry()
    job = await stages.job(job_id)
    assert job.status is JobStatus.ROLLED_BACK
    assert (job.counts.rolled_back, job.counts.failed, job.counts.total) == (
        10 - job.counts.failed - job.counts.skipped,
        1,
        10,
    )
    assert await left(stages) == 0
    kinds = await stages.kinds(job_id)
    stopped = kinds.index("job.stopped")
    assert kinds[stopped + 1] == "job.undo_started"
    assert job.limit is not None
    assert job.reason == "limit: an item failed"


async def test_a_rollback_can_be_undone_as_any_other(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", things(6, bad=(5,)), options=ROLL_BACK)
    await stages.run_dry()
    await stages.command(UndoJob, job_id)
    await stages.run_dry()
    job = await stages.job(job_id)
    assert job.status is JobStatus.FAILED
    assert await left(stages) == job.counts.succeeded > 0


async def test_what_is_tolerated_stays(stages: Stages) -> None:
    options = {**ROLL_BACK, "tolerate": [{"failed": 1}]}
    kept = await stages.submit("stock.create", things(6, bad=(3,)), options=options)
    back = await stages.submit("stock.create", things(6, bad=(3, 4)), options=options)
    await stages.run_dry()
    assert (await stages.job(kept)).status is JobStatus.COMPLETED_WITH_ERRORS
    assert (await stages.job(back)).status is JobStatus.ROLLED_BACK
    assert await left(stages) == 5


async def test_a_job_that_has_done_nothing_has_failed(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", things(4, bad=(0, 1, 2, 3)), options=ROLL_BACK)
    await stages.run_dry()
    job = await stages.job(job_id)
    assert (job.status, job.counts.succeeded) == (JobStatus.FAILED, 0)


async def test_a_rollback_with_a_conflict_names_it(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", things(8, bad=(7,)), options=ROLL_BACK)
    while await left(stages) == 0:
        await stages.deliver(stages.bus.pop(0))
    change = [Change(1, {"amount": 77})]
    await stages.database.write(
        lambda c: SqlRecords(c, Writer("local", "anna"), 0.0).update(stock, change)
    )
    await stages.run_dry()
    job = await stages.job(job_id)
    assert (job.status, job.counts.conflict) == (JobStatus.ROLLED_BACK, 1)
    assert await left(stages) == 1


async def test_a_cancel_puts_back_what_was_done(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", things(300), options={"chunk_size": 2})
    while await left(stages) < 2:
        await stages.deliver(stages.bus.pop(0))
    decision = await stages.command(CancelJob, job_id, roll_back=True, reason="wrong file")
    assert decision.problem is None
    assert (await stages.job(job_id)).status is JobStatus.ROLLING_BACK
    assert (await stages.command(ResumeJob, job_id)).problem is not None
    await stages.run_dry()
    job = await stages.job(job_id)
    assert (job.status, job.reason) == (JobStatus.ROLLED_BACK, "wrong file")
    assert job.counts.rolled_back + job.counts.skipped == 300
    assert job.counts.rolled_back >= 2
    assert job.counts.skipped
    assert await left(stages) == 0
    await stages.command(UndoJob, job_id)
    await stages.run_dry()
    assert (await stages.job(job_id)).status is JobStatus.CANCELLED


async def test_a_cancel_before_the_start_has_nothing_to_put_back(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", things(4))
    stages.bus.clear()
    await stages.command(CancelJob, job_id, roll_back=True)
    job = await stages.job(job_id)
    assert (job.status, job.counts) == (JobStatus.CANCELLED, Counts(skipped=4))


async def test_what_cannot_be_undone_is_refused_before(stages: Stages) -> None:
    items = [{"number": 1}]
    job_id = await stages.submit("stock.wait", items, options={"on_error": "roll_back"})
    assert await problem(stages, job_id) == "not_reversible"
    pauses = {"on_error": "roll_back", "tolerate": [{"failed": 1, "then": "pause"}]}
    job_id = await stages.submit("stock.create", things(1), options=pauses)
    assert await problem(stages, job_id) == "invalid"
    running = await stages.submit("stock.wait", items)
    decision = await stages.command(CancelJob, running, roll_back=True)
    assert decision.problem is not None
    assert decision.problem["code"] == "not_reversible"
    assert (await stages.job(running)).status is JobStatus.RUNNING


@pytest.mark.parametrize("dies_at", range(1, 24, 2))
async def test_processes_that_die_in_between_leave_nothing_behind(
    stages: Stages, dies_at: int
) -> None:
    """After each so many messages everything in memory is gone, and half of the messages."""
    job_id = await stages.submit("stock.create", things(10, bad=(9,)), options=ROLL_BACK)
    delivered = 0
    while stages.bus:
        await stages.deliver(stages.bus.pop(0))
        delivered += 1
        if delivered % dies_at == 0:
            stages.restart()
            stages.bus = [sent for sent in stages.bus if sent.topic == topics.COMMANDS][::2]
    await stages.mend()
    job = await stages.job(job_id)
    assert job.status is JobStatus.ROLLED_BACK
    assert (job.counts.failed, job.counts.pending, job.counts.succeeded) == (1, 0, 0)
    assert await left(stages) == 0


async def test_a_graceful_cancel_lets_what_is_in_flight_end(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", things(300), options={"chunk_size": 2})
    while not (await stages.job(job_id)).open:
        await stages.deliver(stages.bus.pop(0))
    in_flight = sum(len(chunk.items) for chunk in (await stages.job(job_id)).open.values())
    assert (await stages.command(CancelJob, job_id, graceful=True)).problem is None
    assert (await stages.job(job_id)).status is JobStatus.CANCELLING
    again = (await stages.command(CancelJob, job_id, graceful=True)).problem
    assert again is not None
    assert again["code"] == "wrong_state"
    await stages.run_dry()
    job = await stages.job(job_id)
    assert job.status is JobStatus.CANCELLED
    assert job.counts == Counts(succeeded=in_flight, skipped=300 - in_flight)
    assert await left(stages) == in_flight


async def test_a_graceful_cancel_can_still_be_made_at_once(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", things(300), options={"chunk_size": 2})
    while not (await stages.job(job_id)).open:
        await stages.deliver(stages.bus.pop(0))
    await stages.command(CancelJob, job_id, graceful=True)
    await stages.command(CancelJob, job_id)
    job = await stages.job(job_id)
    assert (job.status, job.counts) == (JobStatus.CANCELLED, Counts(skipped=300))
    await stages.run_dry()
    assert await left(stages) == 0


async def test_a_graceful_cancel_ends_though_its_worker_has_died(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", things(300), options={"chunk_size": 2})
    while not (await stages.job(job_id)).open:
        await stages.deliver(stages.bus.pop(0))
    await stages.command(CancelJob, job_id, graceful=True, roll_back=True)
    stages.restart()
    stages.bus.clear()
    await stages.mend()
    job = await stages.job(job_id)
    assert job.status is JobStatus.ROLLED_BACK
    assert job.counts.rolled_back + job.counts.skipped == 300
    assert await left(stages) == 0
