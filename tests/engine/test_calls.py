"""Slow operations whose function dies, hangs or is slow to refuse: others go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from domain.operation import Context, Operation
from domain.outcomes import Done
from domain.registry import Registry
from streams.bootstrap import embedded
from streams.calls import Calls
from streams.clock import SystemClock
from streams.settings import Settings
from tests.engine.calling import BEGUN, RELEASE, hang, operations
from tests.engine.conftest import Desk
from tests.engine.stock import Number

HURRIED = replace(hang, timeout=0.1)
"""Has the same places and threads, for the calls whose time is to be up."""


@pytest.fixture
async def desk(data_dir: Path) -> AsyncIterator[Desk]:
    async with embedded(Settings(data_dir=data_dir), Registry(operations)) as engine:
        yield Desk(engine)


async def test_who_takes_its_process_down_takes_no_other_item_along(desk: Desk) -> None:
    job_id = await desk.submit("calls.die", [{"number": number} for number in range(5, 10)])
    job = await desk.settle(job_id, 60)
    assert (job.counts.succeeded, job.counts.failed) == (4, 1)
    (group,) = await desk.engine.queries.errors("local", job_id)
    assert (group.code, group.samples[0]["item"]) == ("worker_died", 2)
    assert "mend what ends it" in group.signature


async def test_a_process_that_hangs_is_replaced(desk: Desk) -> None:
    """More items hang than there are processes, whose time is short; that of the others is not."""
    hanging = [{"number": number} for number in (0, 2, 4)]
    stuck = await desk.submit("calls.stick", hanging, options={"item_timeout": 0.5})
    others = await desk.submit("calls.stick", [{"number": number} for number in (1, 3, 5)])
    assert (await desk.settle(stuck, 60)).counts.failed == 3
    (group,) = await desk.engine.queries.errors("local", stuck)
    assert group.code == "timeout"
    assert (await desk.settle(others, 30)).counts.succeeded == 3


@pytest.mark.parametrize("kind", ["calls.hang", "calls.ask"])
async def test_validation_does_not_run_in_the_event_loop(desk: Desk, kind: str) -> None:
    job = await desk.settle(await desk.submit(kind, [{"number": n} for n in range(1, 5)]))
    assert (job.counts.succeeded, job.counts.failed) == (2, 2)


@pytest.mark.parametrize("place", ["thread", "loop", "process"])
async def test_what_would_end_a_task_or_a_process_fails_its_item(desk: Desk, place: str) -> None:
    job_id = await desk.submit(f"calls.escape_{place}", [{"number": n} for n in range(5)])
    job = await desk.settle(job_id)
    assert (job.counts.succeeded, job.counts.failed) == (2, 3)
    groups = await desk.engine.queries.errors("local", job_id)
    assert {group.code for group in groups} == {"handler_error"}


async def test_a_thread_that_hangs_keeps_its_place_until_it_ends() -> None:
    reasons: list[str] = []
    calls = Calls(reasons.append)
    RELEASE.clear()

    async def call(number: int, operation: Operation = hang) -> object:
        async with calls.place(operation) as place:
            return await place.call(_context(), Number(number=number))

    async def hang_one() -> None:
        BEGUN.clear()
        calling = asyncio.ensure_future(call(0, HURRIED))
        await asyncio.sleep(0)
        # The loop stands still: what has not begun when its time is up is not begun any more.
        assert BEGUN.wait(20)
        with pytest.raises(TimeoutError):
            await calling

    try:
        await hang_one()
        assert await asyncio.gather(*(call(2) for _ in range(20))) == [Done(2)] * 20
        assert reasons == []
        await hang_one()
        assert reasons == ["all 2 threads of calls.hang hang"]
        waiting, hurried = (asyncio.ensure_future(call(2, one)) for one in (hang, HURRIED))
        await asyncio.sleep(2 * HURRIED.timeout)
        assert not hurried.done(), "it must not be told that it took too long"
        hurried.cancel()
    finally:
        RELEASE.set()
    assert await waiting == Done(2)
    calls.close()


def _context() -> Context:
    clock = SystemClock()
    return Context(
        job_id="job",
        tenant="local",
        actor="tester",
        params=None,
        chunk=0,
        attempt=1,
        positions=[0],
        deadline=clock.monotonic() + 1,
        clock=clock,
    )
