"""Items by status, code and record: those that a look at every item finds, and little is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import update

from domain.errors import JobNotFound
from domain.events import JobStatus
from domain.outcomes import ItemStatus
from streams import items
from streams.items import ALL, BYTES, ItemReading, ItemView, Wanted
from streams.stores import survey
from streams.stores.schema import chunk_faults, outcomes
from streams.stores.survey import RecordName
from tests.engine.conftest import Desk

Statuses = frozenset[ItemStatus]
WINDOW = 1000


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of fewer items: there is more than one of them sooner."""
    for module in (survey, items):
        monkeypatch.setattr(module, "WINDOW", WINDOW)


async def found(desk: Desk, job_id: str, wanted: Wanted = ALL, **how: Any) -> list[ItemView]:
    return [view async for view in desk.engine.queries.items("local", job_id, wanted, **how)]


def code_of(view: ItemView) -> str:
    return view.error.code if view.error else ""


async def check_all_filters(desk: Desk, job_id: str) -> None:
    """Every status with every code, and pages of them, against a look at all items."""
    everything = await found(desk, job_id, payload=False)
    assert [view.position for view in everything] == list(range(len(everything)))
    there = {code_of(view) for view in everything} - {""}
    assert there <= set(await desk.engine.queries.codes("local", job_id))
    codes = [None, "timeout", *sorted(there)]
    for statuses in (Statuses(), *(Statuses({status}) for status in ItemStatus)):
        for code in codes:
            for unattempted in (False, True) if code is None else (False,):
                wanted = Wanted(statuses, unattempted, code)
                expected = [v for v in everything if wanted.matches(v.status, code_of(v))]
                assert await found(desk, job_id, wanted, payload=False) == expected, wanted
                await check_pages(desk, job_id, wanted, expected)


async def check_pages(
    desk: Desk, job_id: str, wanted: Wanted, expected: Sequence[ItemView]
) -> None:
    for start in {0, len(expected) // 2} if expected else ():
        after = expected[start].position
        page = await found(desk, job_id, wanted, after=after, limit=7, payload=False)
        assert page == expected[start + 1 : start + 8]


async def test_each_filter_finds_what_a_look_at_every_item_finds(desk: Desk) -> None:
    things = [{"name": "x"}] * 800
    await desk.settle(await desk.submit("stock.create", things))
    additions = [{"id": n, "amount": 1} for n in range(1, WINDOW + 300)]
    additions[7] = {"id": 3, "amount": "much"}
    job_id = await desk.submit("stock.add", additions, options={"chunk_size": 180})
    job = await desk.settle(job_id)
    assert job.counts.failed > 400
    await check_all_filters(desk, job_id)

    await desk.settle(await desk.submit("stock.create", [{"name": "y"}] * 300))
    await desk.command(job_id, "retry")
    await desk.command(job_id, "pause")
    await check_all_filters(desk, job_id)
    await desk.command(job_id, "resume")
    await desk.settle(job_id)
    await desk.settle(await desk.submit("stock.add", [{"id": 40, "amount": 1}]))
    await desk.command(job_id, "undo")
    assert (await desk.settle(job_id)).counts.conflict == 1
    await check_all_filters(desk, job_id)
    await desk.command(job_id, "undo")
    await desk.settle(job_id)
    await check_all_filters(desk, job_id)


async def test_what_a_cancel_left_is_unattempted(desk: Desk) -> None:
    job_id = await desk.submit("stock.create", [{"name": "x"}] * 3000, options={"chunk_size": 10})
    await desk.until(job_id, JobStatus.RUNNING)
    await desk.command(job_id, "cancel")
    left = await found(desk, job_id, Wanted(unattempted=True), payload=False)
    assert {code_of(view) for view in left} == {"not_attempted"}
    assert len(left) == (await desk.job(job_id)).counts.skipped
    await check_all_filters(desk, job_id)


async def test_skipped_items_have_their_code(desk: Desk) -> None:
    await desk.settle(await desk.submit("stock.create", [{"name": "x"}] * 5))
    gone = [{"id": n, "amount": 0} for n in range(1, 11)]
    job_id = await desk.submit("stock.remove", gone)
    assert (await desk.settle(job_id)).counts.skipped == 5
    assert [v.position for v in await found(desk, job_id, Wanted(code="skipped"))] == [
        5,
        6,
        7,
        8,
        9,
    ]
    await check_all_filters(desk, job_id)


async def test_only_the_ledgers_that_may_have_it_are_read(desk: Desk) -> None:
    things: list[dict[str, Any]] = [{"name": "x"} for _ in range(2 * WINDOW)]
    things[123], things[1800] = {"name": "!"}, {"nome": "x"}
    job_id = await desk.submit("stock.create", things, options={"chunk_size": 100})
    await desk.settle(job_id)
    failed = Wanted(Statuses({ItemStatus.FAILED}))
    everything = await found(desk, job_id, failed)
    await desk.engine.database.write(
        # Nobody could read these.
        lambda c: c.execute(update(outcomes).where(outcomes.c.failed == 0).values(ledger=b""))
    )
    assert await found(desk, job_id, failed) == everything
    assert [view.position for view in everything] == [123, 1800]
    await desk.engine.database.write(
        lambda c: c.execute(
            update(outcomes)
            .where(outcomes.c.job_id == job_id, outcomes.c.chunk.in_(_with_code("invalid")))
            .values(ledger=b"")
        )
    )
    assert await found(desk, job_id, Wanted(code="refused")) == everything[:1]
    assert await found(desk, job_id, Wanted(Statuses({ItemStatus.CONFLICT}))) == []


def _with_code(code: str) -> Any:
    return (
        chunk_faults.select()
        .with_only_columns(chunk_faults.c.chunk)
        .where(chunk_faults.c.codes == f'["{code}"]'.encode())
        .scalar_subquery()
    )


async def test_the_items_that_wrote_to_a_record_are_found(desk: Desk) -> None:
    await desk.settle(await desk.submit("stock.create", [{"name": "x"}] * 100))
    (first,), *_ = await desk.rows("SELECT min(id) FROM stock")
    additions = [{"id": first + n % 50, "amount": 1} for n in range(WINDOW + 200)]
    additions[60] = {"id": first + 10, "amount": "much"}
    job_id = await desk.submit("stock.add", additions, options={"chunk_size": 333})
    await desk.settle(job_id)
    expected = [n for n in range(10, len(additions), 50) if n != 60]
    wanted = Wanted(record=RecordName("stock", first + 10))
    assert [view.position for view in await found(desk, job_id, wanted)] == expected
    page = await found(desk, job_id, wanted, after=expected[3], limit=2)
    assert [view.position for view in page] == expected[4:6]

    failed = Wanted(Statuses({ItemStatus.FAILED}), record=wanted.record)
    assert await found(desk, job_id, failed) == []
    for nobody in (RecordName("stock", first + 70), RecordName("shelf", first)):
        assert await found(desk, job_id, Wanted(record=nobody)) == []

    await desk.command(job_id, "undo")
    await desk.settle(job_id)
    back = Wanted(Statuses({ItemStatus.ROLLED_BACK}), record=wanted.record)
    assert [view.position for view in await found(desk, job_id, back)] == expected


async def test_items_come_back_as_they_were_sent_and_not_more_at_once_than_fits(
    desk: Desk,
) -> None:
    size = BYTES // 150
    things = [{"name": f"!{n}", "amount": n, "more": "x" * size} for n in range(400)]
    job_id = await desk.submit("stock.create", things)
    await desk.settle(job_id)
    views = await found(desk, job_id)
    assert [view.item for view in views] == things
    standing = await desk.engine.queries.standing("local", job_id)
    reading = ItemReading(standing, ALL, payload=True)
    first, sizes = 0, []
    while first < 400:
        read, first = await desk.engine.database.read(
            lambda connection, first=first: reading.read(connection, first, 400, None)
        )
        sizes.append(sum(len(view.line) for view in read))
    assert len(sizes) >= 2
    assert max(sizes) < BYTES + 2 * (size + 100)


async def test_another_tenants_items_and_codes_are_not_there(desk: Desk) -> None:
    job_id = await desk.submit("stock.create", [{"name": "x"}])
    with pytest.raises(JobNotFound):
        await desk.engine.queries.codes("other", job_id)
    with pytest.raises(JobNotFound):
        [view async for view in desk.engine.queries.items("other", job_id)]
