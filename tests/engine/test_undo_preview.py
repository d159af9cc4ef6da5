"""A preview of an undo says what the undo then does, and writes nothing."""

from __future__ import annotations

import random

import pytest

from domain.commands import UndoJob
from domain.errors import NotReversible, WrongState
from domain.events import Cause, JobStatus
from domain.outcomes import ItemStatus
from domain.records import Change, Deletion, Writer
from domain.registry import Registry
from streams.items import Wanted
from streams.previewing import Page, Preview, Previewer
from streams.queries import Queries
from streams.stores import migrate
from streams.stores.database import Database
from streams.stores.records import SqlRecords
from tests.databases import database, database_url
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url"]


@pytest.fixture
async def stages(database: Database) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(operations))


async def preview(stages: Stages, job_id: str, page: Page) -> Preview:
    return await Previewer(stages.database, stages.registry).preview(await stages.job(job_id), page)


async def additions(stages: Stages, count: int, times: int) -> str:
    """A job that has added to each of ``count`` things ``times`` times, in chunks of 3."""
    await stages.submit("stock.create", [{"name": "x"}] * count)
    await stages.run_dry()
    items = [{"id": n, "amount": 1} for _ in range(times) for n in range(1, count + 1)]
    job_id = await stages.submit("stock.add", items, options={"chunk_size": 3})
    await stages.run_dry()
    return job_id


async def meddle(stages: Stages, *, change: list[int], delete: list[int]) -> None:
    """Somebody edits by hand."""

    def work(records: SqlRecords) -> None:
        records.update(stock, [Change(n, {"amount": 77}) for n in change])
        records.delete(stock, [Deletion(n) for n in delete])

    await stages.database.write(lambda c: work(SqlRecords(c, Writer("local", "anna"), 0.0)))


async def conflicts(stages: Stages, job_id: str) -> dict[int, str]:
    """Position and reason of each item in conflict, as the ledger has it."""
    queries = Queries(stages.database, stages.jobs, stages.registry)
    views = queries.items("local", job_id, Wanted(statuses=frozenset({ItemStatus.CONFLICT})))
    return {view.position: view.error.message async for view in views if view.error}


@pytest.mark.parametrize("seed", range(6))
async def test_it_says_what_the_undo_then_does(stages: Stages, seed: int) -> None:
    chance = random.Random(seed)
    job_id = await additions(stages, 10, times=3)
    touched = chance.sample(range(1, 11), 4)
    await meddle(stages, change=touched[:2], delete=touched[2:])
    before = await stages.rows("SELECT id, amount, version FROM stock ORDER BY id")
    events = await stages.kinds(job_id)
    for _ in ("rollback", "reapply"):
        seen = await preview(stages, job_id, Page(limit=1000))
        assert await stages.kinds(job_id) == events
        assert await stages.rows("SELECT id, amount, version FROM stock ORDER BY id") == before
        known = await conflicts(stages, job_id)
        await stages.command(UndoJob, job_id)
        await stages.run_dry()
        job = await stages.job(job_id)
        fresh = {p: m for p, m in (await conflicts(stages, job_id)).items() if p not in known}
        back = seen.direction is Cause.ROLLBACK
        assert seen.restored == (job.counts.rolled_back if back else job.counts.succeeded)
        assert (seen.conflict, seen.failed, seen.exact) == (len(fresh), 0, True)
        assert fresh == {
            one.position: f"{one.record} was {one.reason}" + (f" by {one.by}" if one.by else "")
            for one in seen.obstructions
        }
        # Somebody meddles with what was put back, before the undo is undone.
        await meddle(stages, change=[n for n in range(1, 11) if n not in touched][:1], delete=[])
        before = await stages.rows("SELECT id, amount, version FROM stock ORDER BY id")
        events = await stages.kinds(job_id)


async def test_obstructions_come_in_pages_and_counts_are_whole(stages: Stages) -> None:
    job_id = await additions(stages, 20, times=1)
    await meddle(stages, change=list(range(1, 16)), delete=[])
    positions: list[int] = []
    after = -1
    while True:
        page = await preview(stages, job_id, Page(limit=4, after=after))
        assert (page.items, page.restored, page.conflict) == (20, 5, 15)
        positions += [one.position for one in page.obstructions]
        if not page.more:
            break
        after = positions[-1]
    assert positions == list(range(15))


async def test_what_an_undo_would_be_refused_for_is_refused(stages: Stages) -> None:
    running = await stages.submit("stock.create", [{"name": "x"}])
    with pytest.raises(WrongState, match="the job is running: undo is not possible"):
        await preview(stages, running, Page(limit=1))
    await stages.run_dry()
    outside = await stages.submit("stock.hang", [{"number": 1}])
    await stages.run_dry()
    job = await stages.job(outside)
    assert job.status is JobStatus.COMPLETED
    sent = await stages.submit("stock.send", [{"number": 1}, {"number": 3}])
    await stages.run_dry()
    seen = await preview(stages, sent, Page(limit=1))
    assert (seen.items, seen.restored, seen.exact) == (2, 2, False)
    await stages.command(UndoJob, sent)
    await stages.run_dry()
    assert (await stages.job(sent)).status is JobStatus.ROLLBACK_INCOMPLETE
    left = await preview(stages, sent, Page(limit=1))
    assert left.items == 1


async def test_a_job_that_changed_nothing_has_nothing_to_undo(stages: Stages) -> None:
    failed = await stages.submit("stock.create", [{"name": "!"}])
    await stages.run_dry()
    with pytest.raises(WrongState, match="nothing that stands"):
        await preview(stages, failed, Page(limit=1))


async def test_no_undo_of_an_undo_by_inverse(stages: Stages) -> None:
    sent = await stages.submit("stock.send", [{"number": 1}])
    await stages.run_dry()
    await stages.command(UndoJob, sent)
    await stages.run_dry()
    with pytest.raises(NotReversible):
        await preview(stages, sent, Page(limit=1))
