"""The grouped errors are those of the items as they stand, and cost one look at the ledgers."""

from __future__ import annotations

from collections import Counter

from domain.outcomes import ItemStatus
from streams.stores.error_groups import MAX_GROUPS, OTHERS, ErrorGroup, Grouping, signature
from tests.engine.conftest import Desk, database_url, desk, settings

__all__ = ["database_url", "desk", "settings"]


async def grouped(desk: Desk, job_id: str) -> dict[tuple[str, str], ErrorGroup]:
    groups = await desk.engine.queries.errors("local", job_id)
    assert [group.count for group in groups] == sorted((g.count for g in groups), reverse=True)
    return {(group.code, group.signature): group for group in groups}


async def by_items(desk: Desk, job_id: str) -> Counter[tuple[str, str]]:
    """The same counts, from the items one by one."""
    counts: Counter[tuple[str, str]] = Counter()
    async for view in desk.engine.queries.items("local", job_id, status=ItemStatus.FAILED):
        assert view.error is not None
        counts[view.error.code, signature(view.error.message)] += 1
    return counts


async def test_an_item_counts_by_the_latest_word_on_it(desk: Desk) -> None:
    additions = [{"id": n, "amount": 1} for n in range(1, 41)]
    additions[3] = {"id": 1, "amount": "much"}
    job_id = await desk.submit("stock.add", additions, options={"chunk_size": 7})
    assert (await desk.settle(job_id)).counts.failed == 40
    first = await grouped(desk, job_id)
    assert first["missing", "there is no thing …"].count == 39
    await desk.settle(await desk.submit("stock.create", [{"name": "x"}] * 20))
    await desk.command(job_id, "retry")
    job = await desk.settle(job_id)
    found = await grouped(desk, job_id)
    assert {key: group.count for key, group in found.items()} == await by_items(desk, job_id)
    assert sum(group.count for group in found.values()) == job.counts.failed == 21
    samples = found["missing", "there is no thing …"].samples
    assert samples == [
        {"item": n, "message": f"there is no thing {n + 1}", "pointer": "/id"} for n in (20, 21, 22)
    ]
    await desk.command(job_id, "undo")
    assert (await desk.settle(job_id)).counts.rolled_back == 19
    assert await grouped(desk, job_id) == found


def test_there_are_no_more_groups_than_a_reader_can_take() -> None:
    grouping = Grouping()
    for number in range(MAX_GROUPS + 50):
        grouping.add("odd", (number, "n" * (number + 1), ""))
    found = {group.signature: group.count for group in grouping.found()}
    assert len(found) == MAX_GROUPS + 1
    assert found[OTHERS] == 50
