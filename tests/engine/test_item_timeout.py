"""Items of slow operations that take longer than their job allows."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from domain.errors import InvalidCommand
from domain.events import JobStatus
from domain.operation import Context, operation
from domain.outcomes import Done, Result
from domain.registry import Registry
from streams.queries import Queries
from streams.stores.database import Database
from tests.databases import database, database_url
from tests.engine.conftest import Desk, desk, settings
from tests.engine.stages import Stages
from tests.engine.stock import Number

__all__ = ["database", "database_url", "desk", "settings"]

IMPATIENT: Mapping[str, Any] = {"item_timeout": 0.02}


async def codes(queries: Queries, job_id: str) -> set[tuple[str, bool]]:
    views = [view async for view in queries.items("local", job_id)]
    return {(view.error.code, view.error.retryable) for view in views if view.error}


async def test_an_item_that_takes_longer_than_its_job_allows_fails(desk: Desk) -> None:
    items = [{"number": n} for n in range(5)]
    job = await desk.settle(await desk.submit("stock.wait", items, options=IMPATIENT))
    assert (job.status, job.counts.failed) == (JobStatus.FAILED, 5)
    assert await codes(desk.engine.queries, job.id) == {("timeout", True)}
    patient = await desk.settle(await desk.submit("stock.wait", items, options={"item_timeout": 4}))
    assert patient.counts.succeeded == 5


async def test_it_is_tried_again_by_the_policy_of_the_job(desk: Desk) -> None:
    options = {**IMPATIENT, "retry": {"attempts": 2, "delay": 0}}
    job = await desk.settle(await desk.submit("stock.wait", [{"number": 1}], options=options))
    assert (job.counts.failed, job.next_chunk) == (1, 2)


async def test_the_timeout_is_that_of_the_job_and_no_other_s(desk: Desk) -> None:
    one = await desk.submit("stock.wait", [{"number": 1}], options=IMPATIENT)
    other = await desk.submit("stock.wait", [{"number": 1}])
    assert (await desk.settle(one)).counts.failed == 1
    assert (await desk.settle(other)).counts.succeeded == 1


@pytest.mark.parametrize(
    ("operation", "seconds", "reason"),
    [("stock.add", 1.0, "is not slow"), ("stock.wait", 5.5, "gives an item 5 s")],
)
async def test_what_cannot_be_kept_to_is_refused(
    desk: Desk, operation: str, seconds: float, reason: str
) -> None:
    with pytest.raises(InvalidCommand, match=reason) as refused:
        await desk.submit(operation, [{"number": 1}], options={"item_timeout": seconds})
    assert refused.value.pointer == "/options/item_timeout"


async def results(stages: Stages, count: int) -> None:
    """Return when that many items have a result."""
    async with asyncio.timeout(20):
        while await stages.rows("SELECT count(*) FROM item_results") < [(count,)]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_it_ends_no_process_whose_threads_have_their_time(database: Database) -> None:
    """The job is less patient than its operation, and others have threads there as well."""
    may_end, left = threading.Event(), list[float]()

    @operation("stock.blocking", item=Number, slow=True, concurrency=2)
    def blocking(ctx: Context, item: Number) -> Result:
        left.append(ctx.deadline - ctx.clock.monotonic())
        may_end.wait(20)
        return Done(item.number)

    stages = Stages(database, Registry([blocking]))
    items = [{"number": n} for n in range(4)]
    job_id = await stages.submit("stock.blocking", items, options=IMPATIENT)
    await stages.run_dry()
    try:
        await results(stages, 2)
        assert stages.hung == []
        assert len(left) <= 2, "places are free when their threads are"
    finally:
        may_end.set()
    await stages.work_out()
    job = await stages.job(job_id)
    assert job.status.terminal
    assert job.counts.failed >= 2
    assert stages.hung == []
    assert max(left) <= IMPATIENT["item_timeout"], "the deadline is that of the job"


@pytest.mark.parametrize(("items", "reasons"), [(1, []), (2, ["all 2 threads of stock.asks hang"])])
async def test_the_validation_of_an_item_keeps_to_its_timeout(
    database: Database, items: int, reasons: list[str]
) -> None:
    may_end = threading.Event()

    def stuck(_ctx: Context, _item: Number) -> None:
        may_end.wait(20)

    @operation("stock.asks", item=Number, slow=True, concurrency=2, timeout=0.3, validate=stuck)
    async def asks(_ctx: Context, item: Number) -> Result:
        return Done(item.number)

    stages = Stages(database, Registry([asks]))
    job_id = await stages.submit("stock.asks", [{"number": n} for n in range(items)])
    try:
        async with asyncio.timeout(15):
            await stages.work_out()
            while stages.hung != reasons:  # noqa: ASYNC110 - that is how one asks it
                await asyncio.sleep(0.01)
    finally:
        may_end.set()
        await stages.slow.close()
    assert (await stages.job(job_id)).counts.failed == items
    queries = Queries(stages.database, stages.jobs, stages.registry)
    assert await codes(queries, job_id) == {("timeout", True)}
