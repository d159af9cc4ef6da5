"""A dry run says what would happen, by the same path, and leaves nothing behind."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import WrongState
from domain.events import JobStatus
from streams.queries import ItemView
from tests.engine.conftest import Desk

DRY = {"dry_run": True}
BUSINESS = ("stock", "history", "writers", "record_tables")


async def _items(desk: Desk, job_id: str) -> list[ItemView]:
    return [view async for view in desk.engine.queries.items("local", job_id)]


async def _stored(desk: Desk) -> dict[str, list[Any]]:
    return {name: sorted(await desk.rows(f"SELECT * FROM {name}")) for name in BUSINESS}


async def _stock(desk: Desk, many: int = 3) -> None:
    items = [{"name": f"n{n}", "amount": n} for n in range(many)]
    await desk.settle(await desk.submit("stock.create", items))


async def test_it_tells_of_each_item_what_would_become_of_it(desk: Desk) -> None:
    await _stock(desk)
    before = await _stored(desk)
    items = [{"id": 1, "amount": 5}, {"id": 99, "amount": 1}, {"id": 1, "amount": 2}, {"id": "x"}]
    job = await desk.settle(await desk.submit("stock.add", items, options=DRY))

    assert job.status is JobStatus.COMPLETED_WITH_ERRORS
    assert job.counts.model_dump() == {
        "pending": 0,
        "succeeded": 0,
        "failed": 2,
        "skipped": 0,
        "rolled_back": 0,
        "conflict": 0,
        "planned": 2,
    }
    views = await _items(desk, job.id)
    assert [view.status.value for view in views] == ["planned", "failed", "planned", "failed"]
    assert [view.error.code if view.error else None for view in views] == [
        None,
        "missing",
        None,
        "invalid",
    ]
    first, _, second, _ = [view.changes for view in views]
    record = {"table": "stock", "id": 1, "change": "updated"}
    assert first == [record | {"version": 1, "before": {"amount": 0}, "after": {"amount": 5}}]
    assert second == [record | {"version": 2, "before": {"amount": 5}, "after": {"amount": 7}}]
    assert await _stored(desk) == before


async def test_new_and_deleted_records_are_told_in_full(desk: Desk) -> None:
    await _stock(desk, 1)
    before = await _stored(desk)
    made = await desk.settle(
        await desk.submit("stock.create", [{"name": "x", "amount": 4}], options=DRY)
    )
    gone = await desk.settle(
        await desk.submit("stock.remove", [{"id": 1, "amount": 0}], options=DRY)
    )

    (new,) = (await _items(desk, made.id))[0].changes
    assert (new["change"], new["id"], new["before"]) == ("inserted", None, None)
    assert new["after"] == {"name": "x", "amount": 4}
    (old,) = (await _items(desk, gone.id))[0].changes
    assert (old["change"], old["id"], old["after"]) == ("deleted", 1, None)
    assert old["before"] == {"name": "n0", "amount": 0}
    assert await _stored(desk) == before


async def test_an_exception_and_what_it_wrote_are_told_of_the_item_at_fault(desk: Desk) -> None:
    numbers = [{"number": number} for number in (6, 7, 8)]
    job = await desk.settle(await desk.submit("stock.raise", numbers, options=DRY))
    views = await _items(desk, job.id)
    assert [view.status.value for view in views] == ["planned", "failed", "planned"]
    assert await desk.rows("SELECT * FROM stock") == []


@pytest.mark.parametrize("operation", ["stock.wait", "stock.send", "stock.square"])
async def test_what_cannot_be_rolled_back_is_only_validated(desk: Desk, operation: str) -> None:
    items = [{"number": 1}, {"number": "none"}]
    job = await desk.settle(await desk.submit(operation, items, options=DRY))
    good, bad = await _items(desk, job.id)
    assert (good.status.value, good.changes, good.result) == ("planned", None, None)
    assert bad.error is not None
    assert bad.error.code == "invalid"


async def test_it_is_neither_undone_nor_retried_into_effect(desk: Desk) -> None:
    items = [{"name": "a"}, {"name": "!"}]
    job = await desk.settle(await desk.submit("stock.create", items, options=DRY))
    for verb in ("undo", "retry"):
        with pytest.raises(WrongState, match=f"{verb} is not possible"):
            await desk.command(job.id, verb)


async def test_small_chunks_share_a_transaction_and_leave_nothing(desk: Desk) -> None:
    await _stock(desk, 40)
    before = await _stored(desk)
    changes = [{"id": n, "amount": n} for n in range(1, 60)]
    for operation, items in (
        ("stock.add", changes),
        ("stock.create", [{"name": f"m{n}"} for n in range(50)]),
    ):
        options = DRY | {"chunk_size": 3}
        job = await desk.settle(await desk.submit(operation, items, options=options))
        assert job.counts.planned == (40 if operation == "stock.add" else 50)
    assert await _stored(desk) == before


async def test_what_items_change_is_told_within_bounds(desk: Desk) -> None:
    job = await desk.settle(await desk.submit("stock.create", [{"name": "y" * 200}], options=DRY))
    assert (await _items(desk, job.id))[0].changes[0]["after"]["name"] == "y" * 200
