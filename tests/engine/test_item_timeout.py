"""Items of slow operations that take longer than their job allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from domain.errors import InvalidCommand
from domain.events import JobStatus
from tests.databases import database_url
from tests.engine.conftest import Desk, desk, settings

__all__ = ["database_url", "desk", "settings"]

IMPATIENT: Mapping[str, Any] = {"item_timeout": 0.02}


async def codes(desk: Desk, job_id: str) -> set[tuple[str, bool]]:
    views = [view async for view in desk.engine.queries.items("local", job_id)]
    return {(view.error.code, view.error.retryable) for view in views if view.error}


async def test_an_item_that_takes_longer_than_its_job_allows_fails(desk: Desk) -> None:
    items = [{"number": n} for n in range(5)]
    job = await desk.settle(await desk.submit("stock.wait", items, options=IMPATIENT))
    assert (job.status, job.counts.failed) == (JobStatus.FAILED, 5)
    assert await codes(desk, job.id) == {("timeout", True)}
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
