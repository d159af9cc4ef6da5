"""The items' statuses are those that the job counts."""

from __future__ import annotations

from collections import Counter

from domain.events import JobStatus
from tests.engine.conftest import Desk


async def _said(desk: Desk, job_id: str) -> Counter[str]:
    return Counter([view.status.value async for view in desk.engine.queries.items("local", job_id)])


async def _counted(desk: Desk, job_id: str) -> Counter[str]:
    counts = (await desk.job(job_id)).counts
    return +Counter(counts.model_dump(exclude={"total"}))


async def test_what_a_cancel_left_is_skipped_with_the_reason(desk: Desk) -> None:
    job_id = await desk.submit("stock.create", [{"name": "x"}] * 20_000, options={"chunk_size": 50})
    await desk.until(job_id, JobStatus.RUNNING)
    await desk.command(job_id, "cancel")

    assert await _said(desk, job_id) == await _counted(desk, job_id)
    views = [view async for view in desk.engine.queries.items("local", job_id)]
    last = views[-1]
    assert last.status.value == "skipped"
    assert last.error is not None
    assert last.error.code == "not_attempted"


async def test_what_waits_for_its_retry_is_pending_and_skipped_by_a_cancel(desk: Desk) -> None:
    additions = [{"id": n, "amount": 1} for n in range(1, 2001)]
    job_id = await desk.submit("stock.add", additions, options={"chunk_size": 10})
    assert (await desk.settle(job_id)).counts.failed == 2000

    await desk.command(job_id, "retry")
    await desk.command(job_id, "pause")
    paused = await _counted(desk, job_id)
    assert paused["pending"] > 0
    assert await _said(desk, job_id) == paused

    await desk.command(job_id, "cancel")
    cancelled = await _counted(desk, job_id)
    assert cancelled["skipped"] == paused["pending"]
    assert await _said(desk, job_id) == cancelled
