"""Slow operations whose function dies, hangs or is slow to refuse: others go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain.operation import Context
from domain.outcomes import Done
from domain.registry import Registry
from streams.bootstrap import embedded
from streams.calls import Calls
from streams.clock import SystemClock
from streams.settings import Settings
from tests.engine.calling import RELEASE, hang, operations
from tests.engine.conftest import Desk
from tests.engine.stock import Number


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
    job_id = await desk.submit("calls.stick", [{"number": number} for number in range(6)])
    job = await desk.settle(job_id, 60)
    assert (job.counts.succeeded, job.counts.failed) == (3, 3)
    (group,) = await desk.engine.queries.errors("local", job_id)
    assert group.code == "timeout"


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

    async def call(number: int) -> object:
        async with calls.place(hang) as place:
            return await place.call(_context(), Number(number=number))

    try:
        with pytest.raises(TimeoutError):
            await call(0)
        assert await asyncio.gather(*(call(2) for _ in range(20))) == [Done(2)] * 20
        assert reasons == []
        with pytest.raises(TimeoutError):
            await call(0)
        assert reasons == ["all 2 threads of calls.hang hang"]
        waiting = asyncio.ensure_future(call(2))
        await asyncio.sleep(0.2)
        assert not waiting.done(), "it must not be told that it took too long"
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
