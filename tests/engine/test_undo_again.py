"""An undo that a passing fault has broken can be repeated, and then puts back all that stands."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from pydantic import BaseModel
from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table

from domain.events import Cause, JobStatus
from domain.operation import Context, operation
from domain.outcomes import Counts, Done, Result
from domain.records import Change, Writer
from domain.registry import Registry
from streams import topics
from streams.previewing import Page, Preview, Previewer
from streams.stores import migrate
from streams.stores import outcomes as outcome_store
from streams.stores.database import Database
from streams.stores.records import SqlRecords
from streams.stores.schema import outcomes
from tests.databases import database, database_url
from tests.engine.stages import Stages
from tests.engine.test_undo_parts import undo

__all__ = ["database", "database_url"]

tables = MetaData()


def _table(name: str) -> Table:
    return Table(
        name,
        tables,
        Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        Column("tenant", String(100), nullable=False),
        Column("version", Integer, nullable=False),
        Column("amount", Integer, nullable=False),
    )


tubs, tins = _table("tubs"), _table("tins")


class Filling(BaseModel):
    """Tubs and tins into which one more is put."""

    tubs: Sequence[int] = ()
    tins: Sequence[int] = ()


@operation("store.fill", item=Filling, tables=[tubs, tins])
def fill(ctx: Context, item: Filling) -> Result:
    """Put one more into each: twice would be seen."""
    for table, ids in ((tubs, item.tubs), (tins, item.tins)):
        now = ctx.store.fetch(table, list(ids))
        more = [Change(n, {"amount": now[n]["amount"] + 1}, position=ctx.position) for n in ids]
        ctx.store.update(table, more)
    return Done()


@pytest.fixture
async def stages(database: Database) -> Stages:
    migrate.create_missing(database, [tubs, tins])
    made = Stages(database, Registry([fill]))

    def work(records: SqlRecords) -> None:
        for table in (tubs, tins):
            records.insert(table, ["amount"], [(0,)] * 4, range(4))

    await database.write(lambda c: work(SqlRecords(c, Writer("local", "maker"), 0.0)))
    return made


def narrow(stages: Stages) -> Stages:
    """The same, as long as nobody declares the tins."""
    declared = replace(fill, tables=(tubs,))
    return Stages(stages.database, Registry([declared]), clock=stages.clock, ids=stages.ids)


async def filled(stages: Stages, *items: dict[str, list[int]], size: int = 1) -> str:
    job_id = await stages.submit("store.fill", items, options={"chunk_size": size})
    await stages.run_dry()
    assert (await stages.job(job_id)).status is JobStatus.COMPLETED
    return job_id


async def amounts(stages: Stages, table: str = "tubs") -> list[int]:
    return [row[0] for row in await stages.rows(f"SELECT amount FROM {table} ORDER BY id")]


async def preview(stages: Stages, job_id: str) -> Preview:
    previewer = Previewer(stages.database, stages.registry)
    return await previewer.preview(await stages.job(job_id), Page(limit=100))


async def meddle(stages: Stages, table: Table, record: int) -> None:
    """Somebody edits by hand."""
    change = Change(record, {"amount": 77})
    await stages.database.write(
        lambda c: SqlRecords(c, Writer("local", "anna"), 0.0).update(table, [change])
    )


async def damage(stages: Stages, job_id: str, chunk: int) -> bytes:
    """What a chunk has overwritten cannot be read; returns what it was."""
    ((kept,),) = await stages.rows(
        f"SELECT images FROM outcomes WHERE job_id = '{job_id}' AND chunk = {chunk}"
    )
    await set_images(stages, job_id, chunk, b"damaged")
    return bytes(kept)


async def set_images(stages: Stages, job_id: str, chunk: int, images: bytes) -> None:
    of_chunk = (outcomes.c.job_id == job_id) & (outcomes.c.chunk == chunk)
    await stages.database.write(
        lambda c: c.execute(outcomes.update().where(of_chunk).values(images=images))
    )


async def test_what_a_fault_kept_back_is_put_back_with_all_before_it(stages: Stages) -> None:
    job_id = await filled(stages, {"tubs": [1]}, {"tubs": [1, 2]}, {"tubs": [3]})
    images = await damage(stages, job_id, 1)
    assert await undo(stages, job_id) == Counts(succeeded=2, rolled_back=1)
    assert (await stages.job(job_id)).status is JobStatus.ROLLBACK_INCOMPLETE
    await set_images(stages, job_id, 1, images)
    assert await undo(stages, job_id) == Counts(rolled_back=3)
    assert (await stages.job(job_id)).status is JobStatus.ROLLED_BACK
    assert await amounts(stages) == [0, 0, 0, 0]


async def test_what_a_fault_kept_back_is_done_again_with_all_behind_it(stages: Stages) -> None:
    job_id = await filled(stages, {"tubs": [1]}, {"tubs": [1, 2]})
    assert await undo(stages, job_id) == Counts(rolled_back=2)
    # Chunk 3 has put chunk 0 back, and what it has overwritten is the first to be done again.
    images = await damage(stages, job_id, 3)
    assert await undo(stages, job_id) == Counts(rolled_back=2)
    assert (await stages.job(job_id)).status is JobStatus.ROLLBACK_INCOMPLETE
    await set_images(stages, job_id, 3, images)
    assert await undo(stages, job_id) == Counts(succeeded=2)
    assert (await stages.job(job_id)).status is JobStatus.COMPLETED
    assert await amounts(stages) == [2, 1, 0, 0]


@pytest.mark.parametrize("force", [False, True])
async def test_the_preview_says_who_waits_for_a_table_that_is_missing(
    stages: Stages, force: bool
) -> None:
    """The chunks share a transaction, in which nobody can read yet how the others went."""
    items = [{"tubs": [1]}, {"tubs": [1], "tins": [1]}, {"tubs": [1]}, {"tubs": [2]}]
    job_id = await filled(stages, *items)
    without = narrow(stages)
    seen = await preview(without, job_id)
    assert (seen.restored, seen.failed, seen.conflict) == (2, 2, 0)
    first, second = (one.reason for one in seen.obstructions)
    assert first.startswith("written_later: tubs/1 was changed by chunk 1 of the same job")
    assert second.startswith("table_unknown")
    terms = {"force": True, "reason": "so"} if force else {}
    assert await undo(without, job_id, **terms) == Counts(rolled_back=2, succeeded=2)
    assert await amounts(stages) == [2, 0, 0, 0]
    again = await preview(without, job_id)
    assert (again.restored, again.failed, again.conflict) == (0, 2, 0)
    assert await undo(without, job_id) == Counts(rolled_back=2, succeeded=2)
    assert (await preview(stages, job_id)).restored == 2
    assert await undo(stages, job_id) == Counts(rolled_back=4)
    assert await amounts(stages) == [0, 0, 0, 0]
    assert await amounts(stages, "tins") == [0, 0, 0, 0]


async def test_what_was_written_before_a_conflict_is_one_for_good(stages: Stages) -> None:
    items = [{"tubs": [1]}, {"tubs": [1, 2]}, {"tubs": [3]}]
    job_id = await filled(stages, *items)
    await meddle(stages, tubs, 2)
    seen = await preview(stages, job_id)
    assert (seen.restored, seen.conflict, seen.failed) == (1, 2, 0)
    assert await undo(stages, job_id) == Counts(rolled_back=1, conflict=2)
    assert (await stages.job(job_id)).status is JobStatus.ROLLED_BACK
    assert await amounts(stages) == [2, 77, 0, 0]


async def test_a_conflict_of_an_earlier_undo_is_one_for_what_was_written_before_it(
    stages: Stages,
) -> None:
    job_id = await filled(stages, {"tubs": [1]}, {"tubs": [1, 2]}, {"tubs": [3]})
    await meddle(stages, tubs, 2)
    part = {"items": [1]}
    assert await undo(stages, job_id, select=part) == Counts(succeeded=2, conflict=1)
    seen = await preview(stages, job_id)
    assert (seen.restored, seen.conflict, seen.failed) == (1, 1, 0)
    assert await undo(stages, job_id) == Counts(rolled_back=1, conflict=2)


async def test_who_waits_for_a_fault_learns_of_the_conflict_behind_it(stages: Stages) -> None:
    """The chunk in the way has one item in conflict and another that a fault kept back."""
    items = [{"tubs": [1]}, {"tubs": [4]}, {"tubs": [1, 2]}, {"tins": [1]}]
    job_id = await filled(stages, *items, size=2)
    await meddle(stages, tubs, 2)
    without = narrow(stages)
    seen = await preview(without, job_id)
    assert (seen.restored, seen.conflict, seen.failed) == (1, 1, 2)
    assert await undo(without, job_id) == Counts(rolled_back=1, conflict=1, succeeded=2)
    seen = await preview(stages, job_id)
    assert (seen.restored, seen.conflict, seen.failed) == (1, 1, 0)
    assert await undo(stages, job_id) == Counts(rolled_back=2, conflict=2)
    assert (await stages.job(job_id)).status is JobStatus.ROLLED_BACK


async def test_a_clock_that_is_set_back_does_not_turn_an_undo_round(stages: Stages) -> None:
    """Chunks of an operation that works in order have followed one another, whatever it says."""
    items = [{"tubs": [1]}] * 100 + [{"tubs": [1, 2]}] * 100
    job_id = await stages.submit("store.fill", items, options={"chunk_size": 100})
    await worked_while_the_clock_goes_back(stages)
    job = await stages.job(job_id)
    assert (job.status, [effect.chunk for effect in job.applied]) == (JobStatus.COMPLETED, [0, 1])
    assert await undo(stages, job_id) == Counts(rolled_back=200)
    assert await amounts(stages) == [0, 0, 0, 0]
    assert await undo(stages, job_id) == Counts(succeeded=200)
    assert await amounts(stages) == [200, 100, 0, 0]


async def worked_while_the_clock_goes_back(stages: Stages) -> None:
    """All work that is on the bus is done before anybody records how it went."""
    work = [message for message in stages.bus if message.topic.startswith(topics.work(""))]
    stages.bus = [message for message in stages.bus if message not in work]
    assert len(work) == 2
    for message in work:
        await stages.deliver(message)
        stages.clock.pass_seconds(-2)
    await stages.run_dry()
    await stages.mend(rounds=3)


async def test_chunks_that_were_recorded_the_wrong_way_round_are_put_back_all_the_same(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by an earlier release, after its clock was set back."""
    monkeypatch.setattr(
        outcome_store, "in_turn", lambda closed: sorted(closed, key=lambda one: -one.chunk)
    )
    items = [{"tubs": [1]}] * 100 + [{"tubs": [1, 2]}] * 100
    job_id = await stages.submit("store.fill", items, options={"chunk_size": 100})
    await worked_while_the_clock_goes_back(stages)
    monkeypatch.undo()
    assert [effect.chunk for effect in (await stages.job(job_id)).applied] == [1, 0]
    seen = await preview(stages, job_id)
    assert (seen.restored, seen.failed, seen.conflict) == (100, 100, 0)
    assert await undo(stages, job_id) == Counts(rolled_back=100, succeeded=100)
    assert (await stages.job(job_id)).status is JobStatus.ROLLBACK_INCOMPLETE
    assert await undo(stages, job_id) == Counts(rolled_back=200)
    assert await amounts(stages) == [0, 0, 0, 0]


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_was_missing_for_a_while_the_preview_says_what_the_undo_then_does(
    stages: Stages, seed: int
) -> None:
    """Nothing is in conflict but behind what somebody else has changed."""
    chance = random.Random(seed)
    items = [
        {
            "tubs": sorted(chance.sample(range(1, 5), chance.randint(0, 2))),
            "tins": sorted(chance.sample(range(1, 5), chance.choice([0, 0, 1]))),
        }
        for _ in range(16)
    ]
    job_id = await filled(stages, *items, size=chance.randint(1, 3))
    meddled = seed % 2 == 1
    if meddled:
        await meddle(stages, tubs, 2)
    for seer in (narrow(stages), stages, stages):
        before = (await stages.job(job_id)).counts
        seen = await preview(seer, job_id)
        assert bool(seen.failed) is (seer is not stages)
        after = await undo(seer, job_id)
        if seen.direction is Cause.REAPPLY:
            assert (seen.restored, seen.failed) == (after.succeeded, after.rolled_back)
        else:
            assert seen.restored == after.rolled_back - before.rolled_back
            assert seen.failed == after.succeeded
        assert seen.conflict == after.conflict - before.conflict
        assert meddled or not after.conflict
    job = await stages.job(job_id)
    assert (job.status, job.counts.rolled_back) == (JobStatus.COMPLETED, 0)
