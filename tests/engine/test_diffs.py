"""Two runs compared: of two jobs, of two generations, of a job with its past."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from domain.errors import InvalidCommand, JobNotFound
from domain.item_keys import key_of, parts_of
from domain.ranges import Ranges
from streams.diffs import Change, Difference, Run
from streams.items import Standing
from streams.keyed_diffs import MOST, pairs_by_key
from streams.stores.survey import Survey
from tests.engine.conftest import Desk
from tests.engine.windows import WINDOW, narrow

__all__ = ["narrow"]

EVERY = frozenset(Change)
ITEMS = WINDOW + 300


async def found(desk: Desk, this: Run, other: Run, **how: Any) -> list[Difference]:
    return [one async for one in desk.engine.queries.diff("local", this, other, **how)]


async def check_summary(desk: Desk, this: Run, other: Run) -> Counter[Change]:
    """The summary is that of all items, which are those of both runs, in order."""
    everything = await found(desk, this, other, changes=EVERY)
    assert [one.position for one in everything] == list(range(len(everything)))
    summary = await desk.engine.queries.diff_summary("local", this, other)
    assert summary.changes == Counter(one.change for one in everything)
    assert summary.moves == Counter(
        (one.this.status, one.other.status)
        for one in everything
        if one.change is Change.STATUS and one.this and one.other
    )
    different = [one for one in everything if one.change is not Change.SAME]
    assert await found(desk, this, other) == different
    return summary.changes


async def test_two_jobs_are_compared_item_by_item(desk: Desk) -> None:
    numbers: list[dict[str, Any]] = [{"number": n} for n in range(ITEMS)]
    first = await desk.submit("stock.send", numbers)
    numbers[4] = {"number": "four"}
    numbers[WINDOW + 7] = {"number": 0}
    second = await desk.submit("stock.send", numbers[:-20], options={"chunk_size": 900})
    await desk.settle(first)
    await desk.settle(second)

    assert await check_summary(desk, Run(first), Run(first)) == {Change.SAME: ITEMS}
    assert await check_summary(desk, Run(first), Run(second)) == {
        Change.SAME: ITEMS - 22,
        Change.STATUS: 1,
        Change.RESULT: 1,
        Change.ONLY_THIS: 20,
    }
    back = await check_summary(desk, Run(second), Run(first))
    assert back[Change.ONLY_OTHER] == 20
    status, result, *rest = await found(desk, Run(first), Run(second))
    assert (status.position, status.change, len(rest)) == (4, Change.STATUS, 20)
    assert status.other is not None
    assert status.other.error is not None
    assert result.position == WINDOW + 7
    assert result.this is not None
    assert result.this.result == {"sent": WINDOW + 7}
    page = await found(desk, Run(first), Run(second), after=4, limit=3)
    assert page == [result, *rest[:2]]
    only = await found(desk, Run(first), Run(second), changes={Change.RESULT})
    assert only == [result]


async def test_generations_and_versions_of_a_job_are_runs(desk: Desk) -> None:
    additions: list[dict[str, Any]] = [{"id": n, "amount": 1} for n in range(1, 101)]
    job_id = await desk.submit("stock.add", additions, options={"chunk_size": 7})
    failed = await desk.settle(job_id)
    assert failed.counts.failed == 100
    await desk.settle(await desk.submit("stock.create", [{"name": "x"}] * 60))
    await desk.command(job_id, "retry")
    retried = await desk.settle(job_id)
    assert retried.counts.succeeded == 60
    await desk.command(job_id, "undo")
    undone = await desk.settle(job_id)
    assert undone.counts.rolled_back == 60

    now = Run(job_id)
    assert await check_summary(desk, Run(job_id, generation=0), now) == {
        Change.STATUS: 60,
        Change.SAME: 40,
    }
    assert await check_summary(desk, Run(job_id, generation=1), now) == {Change.SAME: 100}
    before = Run(job_id, version=failed.version)
    assert await check_summary(desk, before, Run(job_id, version=retried.version)) == {
        Change.STATUS: 60,
        Change.SAME: 40,
    }
    assert (await check_summary(desk, Run(job_id, version=1), before))[Change.STATUS] == 100


async def test_what_is_no_run_is_refused(desk: Desk) -> None:
    job_id = await desk.submit("stock.create", [{"name": "x"}])
    job = await desk.settle(job_id)
    with pytest.raises(InvalidCommand, match="generations 0 to 0") as refusal:
        await found(desk, Run(job_id), Run(job_id, generation=1))
    assert refusal.value.pointer == "/other_generation"
    for run in (Run("nobody"), Run(job_id, version=job.version + 1)):
        with pytest.raises(JobNotFound):
            await found(desk, Run(job_id), run)
    with pytest.raises(JobNotFound):
        await desk.engine.queries.diff_summary("other", Run(job_id), Run(job_id))


async def test_items_are_paired_by_a_key(desk: Desk) -> None:
    numbers: list[dict[str, Any]] = [{"number": n} for n in range(WINDOW + 50)]
    first = await desk.submit("stock.send", [*numbers, {"number": 7}, {"nummer": 1}])
    shuffled = numbers[::-1]
    shuffled[10] = {"number": -1}
    second = await desk.submit("stock.send", shuffled)
    await desk.settle(first)
    await desk.settle(second)

    lost = WINDOW + 39
    runs = Run(first), Run(second)
    found_by_key = await found(desk, *runs, key="/number", changes=EVERY)
    assert Counter(one.change for one in found_by_key) == {
        Change.SAME: WINDOW + 49,
        Change.ONLY_THIS: 3,
        Change.ONLY_OTHER: 1,
    }
    assert all(
        one.this.result == one.other.result
        for one in found_by_key
        if one.this is not None and one.other is not None
    )
    only = [one.this.position for one in found_by_key if one.this and one.other is None]
    assert only == [lost, WINDOW + 50, WINDOW + 51], "of two sevens the first meets the other's"
    assert found_by_key[-1].other is not None
    assert found_by_key[-1].other.position == 10
    page = await found(desk, *runs, key="/number", after=lost, limit=2)
    assert page == [one for one in found_by_key if one.change is not Change.SAME][1:3]
    summary = await desk.engine.queries.diff_summary("local", *runs, key="/number")
    assert summary.changes[Change.SAME] == WINDOW + 49


@pytest.mark.parametrize(
    ("line", "pointer", "key"),
    [
        (b'{"a": {"b/c": [1, {"x": 2, "w": 1}]}}', "/a/b~1c/1", b'{"w":1,"x":2}'),
        (b'{"a": 1}', "/b", None),
        (b'{"a": null}', "/a", None),
        (b'{"a": [1]}', "/a/1", None),
        (b'{"a": [1]}', "/a/-1", None),
        (b'{"": 1}', "/", b"1"),
        (b"no json", "/a", None),
    ],
)
def test_a_key_is_the_value_at_a_pointer(line: bytes, pointer: str, key: bytes | None) -> None:
    assert key_of(line, parts_of(pointer)) == key


async def test_runs_too_large_for_keys_are_refused(desk: Desk) -> None:
    large = Standing("large", MOST + 1, Ranges(), Ranges(), Survey())
    small = Standing("small", 1, Ranges(), Ranges(), Survey())
    for runs in ((small, large), (large, small)):
        with pytest.raises(InvalidCommand, match="by position") as refusal:
            await desk.engine.database.read(lambda c, runs=runs: pairs_by_key(c, *runs, "/id"))
        assert refusal.value.pointer == "/key"
