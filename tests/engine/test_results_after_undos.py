"""What items have answered is told again when the undo of their job was undone."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from domain.commands import JobSpec
from domain.outcomes import ItemStatus
from streams import items
from streams.diffs import Change, Run
from streams.items import ItemView, Wanted
from tests.engine.conftest import CALLER, Desk
from tests.engine.windows import WINDOW, narrow

__all__ = ["narrow"]

ITEMS = WINDOW + 100


async def found(desk: Desk, job_id: str, **how: Any) -> list[ItemView]:
    return [view async for view in desk.engine.queries.items("local", job_id, **how)]


def answers(views: list[ItemView]) -> list[Any]:
    return [(view.position, view.status, view.result, view.score) for view in views]


async def undo(desk: Desk, job_id: str, times: int = 1) -> None:
    for _ in range(times):
        await desk.command(job_id, "undo")
        await desk.settle(job_id)


async def added(desk: Desk) -> str:
    """A job of which some items were done at once, some by a retry, and some never."""
    await desk.settle(await desk.submit("stock.create", [{"name": "x"}] * 400))
    additions = [{"id": n, "amount": n % 5} for n in range(1, ITEMS + 1)]
    job_id = await desk.submit("stock.add", additions, options={"chunk_size": 130})
    assert (await desk.settle(job_id)).counts.succeeded == 400
    await desk.settle(await desk.submit("stock.create", [{"name": "y"}] * 250))
    await desk.command(job_id, "retry")
    assert (await desk.settle(job_id)).counts.succeeded == 650
    return job_id


async def test_results_and_scores_are_what_they_were(desk: Desk) -> None:
    job_id = await added(desk)
    before = await found(desk, job_id)
    assert before[17].result is not None
    assert before[17].score == 3.0
    succeeded = Wanted(frozenset({ItemStatus.SUCCEEDED}))
    for _ in range(2):
        await undo(desk, job_id)
        gone = await found(desk, job_id)
        assert {view.result for view in gone} == {None}
        await undo(desk, job_id)
        after = await found(desk, job_id)
        assert answers(after) == answers(before)
        assert {view.chunk for view in after}.isdisjoint({0, 1}), "the undo has the last word"
        some = await found(desk, job_id, wanted=succeeded)
        assert answers(some) == [each for each in answers(before) if each[1] == "succeeded"]
        page = await found(desk, job_id, after=590, limit=20)
        assert answers(page) == answers(before)[591:611]


async def test_what_a_conflict_keeps_from_coming_back_has_no_result(desk: Desk) -> None:
    await desk.settle(await desk.submit("stock.create", [{"name": "x"}] * 10))
    additions = [{"id": n, "amount": 1} for n in range(1, 11)]
    job_id = await desk.submit("stock.add", additions)
    await desk.settle(job_id)
    before = await found(desk, job_id)
    await undo(desk, job_id)
    await desk.settle(await desk.submit("stock.add", [{"id": 4, "amount": 1}]))
    await undo(desk, job_id)
    after = await found(desk, job_id)
    assert (after[3].status, after[3].result) == (ItemStatus.CONFLICT, None)
    others = [view for view in after if view.position != 3]
    assert answers(others) == [each for each in answers(before) if each[0] != 3]


async def test_no_ledger_is_read_twice_for_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = await added(desk)
    await undo(desk, job_id, times=2)
    read: Counter[int] = Counter()
    ledger_of = items.ledger_of

    def counted(connection: Any, job_id: str, chunk: int) -> bytes:
        read[chunk] += 1
        return ledger_of(connection, job_id, chunk)

    monkeypatch.setattr(items, "ledger_of", counted)
    await found(desk, job_id, limit=10, payload=False)
    assert set(read.values()) == {1}


async def test_the_job_is_the_same_as_before_its_undos(desk: Desk) -> None:
    job_id = await added(desk)
    retried = (await desk.job(job_id)).version
    await undo(desk, job_id, times=2)
    for before in (Run(job_id, version=retried), Run(job_id, generation=0)):
        for key in (None, "/id"):
            summary = await desk.engine.queries.diff_summary("local", before, Run(job_id), key=key)
            assert summary.changes == {Change.SAME: ITEMS}, (before, key)


async def test_a_job_behind_it_takes_what_was_answered(desk: Desk) -> None:
    first = await desk.submit("stock.create", [{"name": "x"}] * 20)
    await desk.settle(first)
    await undo(desk, first, times=2)
    after = [{"job_id": first, "consume": {"number": "id"}}]
    spec = JobSpec.model_validate({"operation": "stock.send", "options": {"after": after}})
    second = (await desk.engine.gateway.open(CALLER, spec, key=None)).job_id
    await desk.settle(second)
    ids = [id_ for (id_,) in await desk.rows("SELECT id FROM stock ORDER BY id")]
    taken = await found(desk, second)
    assert [view.item for view in taken] == [{"number": each} for each in ids]
