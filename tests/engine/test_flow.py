"""One batch from end to end in one process: worked, failed, retried, undone, stopped."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from domain.errors import UnknownOperation, WrongState
from domain.events import JobStatus
from domain.operation import Context
from domain.outcomes import ItemStatus, Result
from domain.registry import Registry
from streams.bootstrap import embedded
from streams.items import Wanted
from streams.settings import Settings
from tests.engine.conftest import Desk
from tests.engine.stock import Number, wait

FAILED = Wanted(frozenset({ItemStatus.FAILED}))


async def test_a_job_is_worked_and_every_item_has_its_result(desk: Desk) -> None:
    things = [{"name": f"thing {n}", "amount": n} for n in range(2500)]
    things[17] = {"name": "!bad"}
    things[2000] = {"nome": "typo"}
    job = await desk.settle(await desk.submit("stock.create", things))
    assert job.status is JobStatus.COMPLETED_WITH_ERRORS
    assert (job.counts.succeeded, job.counts.failed, job.counts.total) == (2498, 2, 2500)
    failed = [view async for view in desk.engine.queries.items("local", job.id, FAILED)]
    assert [(view.position, view.error and view.error.code) for view in failed] == [
        (17, "refused"),
        (2000, "invalid"),
    ]
    assert await desk.rows("SELECT count(*), sum(amount) FROM stock") == [
        (2498, sum(range(2500)) - 17 - 2000)
    ]


async def test_a_caller_s_chunk_size_bounds_the_failure_domain(desk: Desk) -> None:
    job = await desk.settle(
        await desk.submit("stock.create", [{"name": "x"}] * 1000, options={"chunk_size": 100})
    )
    assert job.next_chunk == 10
    assert job.counts.succeeded == 1000


async def test_an_exception_fails_its_item_and_no_other(desk: Desk) -> None:
    job = await desk.settle(await desk.submit("stock.raise", [{"number": n} for n in range(50)]))
    assert (job.counts.succeeded, job.counts.failed) == (45, 5)
    assert await desk.rows("SELECT count(*) FROM stock") == [(45,)]


async def test_undo_puts_back_and_undo_of_the_undo_applies_again(desk: Desk) -> None:
    await desk.settle(await desk.submit("stock.create", [{"name": "x", "amount": 1}] * 300))
    added = await desk.submit("stock.add", [{"id": n, "amount": 10} for n in range(1, 301)])
    await desk.settle(added)
    assert await desk.rows("SELECT sum(amount) FROM stock") == [(3300,)]
    await desk.command(added, "undo")
    job = await desk.settle(added)
    assert job.status is JobStatus.ROLLED_BACK
    assert job.counts.rolled_back == 300
    assert await desk.rows("SELECT sum(amount) FROM stock") == [(300,)]
    await desk.command(added, "undo")
    job = await desk.settle(added)
    assert job.status is JobStatus.COMPLETED
    assert job.counts.succeeded == 300
    assert await desk.rows("SELECT sum(amount) FROM stock") == [(3300,)]


async def test_retry_works_the_failed_items_only(desk: Desk) -> None:
    additions = [{"id": n, "amount": 1} for n in range(1, 11)]
    job_id = await desk.submit("stock.add", additions)
    assert (await desk.settle(job_id)).status is JobStatus.FAILED
    await desk.settle(await desk.submit("stock.create", [{"name": "x"}] * 6))
    await desk.command(job_id, "retry")
    job = await desk.settle(job_id)
    assert (job.counts.succeeded, job.counts.failed) == (6, 4)
    await desk.settle(await desk.submit("stock.create", [{"name": "x"}] * 4))
    await desk.command(job_id, "retry")
    job = await desk.settle(job_id)
    assert job.status is JobStatus.COMPLETED
    assert await desk.rows("SELECT sum(amount) FROM stock") == [(10,)]


async def test_after_a_confirmed_pause_nothing_takes_effect(desk: Desk) -> None:
    job_id = await desk.submit("stock.create", [{"name": "x"}] * 20_000, options={"chunk_size": 50})
    await desk.until(job_id, JobStatus.RUNNING)
    await desk.command(job_id, "pause")
    job = await desk.job(job_id)
    assert job.status is JobStatus.PAUSED
    assert not job.open
    before = await desk.rows("SELECT count(*) FROM stock")
    assert before == [(job.counts.succeeded,)]
    await asyncio.sleep(0.3)
    assert await desk.rows("SELECT count(*) FROM stock") == before
    await desk.command(job_id, "resume")
    job = await desk.settle(job_id)
    assert job.counts.succeeded == 20_000
    assert await desk.rows("SELECT count(*) FROM stock") == [(20_000,)]


async def test_cancel_keeps_what_was_done_and_skips_the_rest(desk: Desk) -> None:
    job_id = await desk.submit("stock.create", [{"name": "x"}] * 20_000, options={"chunk_size": 50})
    await desk.until(job_id, JobStatus.RUNNING)
    await desk.command(job_id, "cancel")
    job = await desk.job(job_id)
    assert job.status is JobStatus.CANCELLED
    assert job.counts.succeeded + job.counts.skipped == 20_000
    assert await desk.rows("SELECT count(*) FROM stock") == [(job.counts.succeeded,)]


async def test_slow_items_run_at_once_and_keep_their_results(settings: Settings) -> None:
    """None of them goes on before all have begun for which the operation has places."""
    inside, most, all_are_there = 0, 0, asyncio.Event()

    async def meet(context: Context, item: Number) -> Result:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        if inside == wait.concurrency:
            all_are_there.set()
        try:
            await all_are_there.wait()
            result: Result = await wait.apply(context, item)
        finally:
            inside -= 1
        return result

    meeting = replace(wait, apply=meet, timeout=60.0)
    async with embedded(settings, Registry([meeting])) as engine:
        desk = Desk(engine)
        job_id = await desk.submit("stock.wait", [{"number": n} for n in range(200)])
        job = await desk.settle(job_id)
        views = [view async for view in engine.queries.items("local", job_id, limit=3)]
    assert job.counts.succeeded == 200
    assert most == wait.concurrency
    assert [view.result for view in views] == [
        {"number": n, "key": f"{job_id}:{n}"} for n in range(3)
    ]
    assert all(view.duration_ms and view.duration_ms >= 200 for view in views)


async def test_work_for_processors_runs_in_other_processes(desk: Desk) -> None:
    job = await desk.settle(await desk.submit("stock.square", [{"number": n} for n in range(20)]))
    assert job.counts.succeeded == 20


async def test_undo_by_inverse_names_what_could_not_be_taken_back(desk: Desk) -> None:
    job_id = await desk.submit("stock.send", [{"number": n} for n in range(10)])
    await desk.settle(job_id)
    await desk.command(job_id, "undo")
    job = await desk.settle(job_id)
    assert job.status is JobStatus.ROLLBACK_INCOMPLETE
    assert (job.counts.rolled_back, job.counts.succeeded) == (9, 1)


async def test_commands_in_the_wrong_state_are_refused_with_what_is_possible(desk: Desk) -> None:
    job_id = await desk.submit("stock.create", [{"name": "x"}])
    await desk.settle(job_id)
    with pytest.raises(WrongState, match=r"completed.*possible: archive, hold, shred, undo"):
        await desk.command(job_id, "resume")


async def test_an_unknown_operation_is_refused_by_name(desk: Desk) -> None:
    with pytest.raises(UnknownOperation, match=r"stock\.create"):
        await desk.submit("stock.crate", [{}])
