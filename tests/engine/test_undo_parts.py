"""A part of a job is undone, or over what others wrote since; the rest can be undone later."""

from __future__ import annotations

from typing import Any

import pytest

from domain.commands import RetryJob, UndoJob, UndoSelection
from domain.events import Cause, JobStatus
from domain.outcomes import Counts, ItemStatus
from domain.records import Change, Deletion, Writer
from domain.registry import Registry
from domain.reversal import Part
from streams.diffs import Run
from streams.items import Wanted
from streams.parting import parts_of
from streams.previewing import Page, Previewer, WantedUndo
from streams.queries import Queries
from streams.stores import migrate
from streams.stores.database import Database
from streams.stores.records import SqlRecords
from streams.stores.records.past import Changed
from streams.stores.survey import RecordName
from tests.databases import database, database_url
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url"]


@pytest.fixture
async def stages(database: Database) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(operations))


async def additions(stages: Stages, things: list[int], *, size: int = 3) -> str:
    """A job that has added 1 to each of the things, which had 0 before, in small chunks."""
    await stages.submit("stock.create", [{"name": "x"}] * max(things))
    await stages.run_dry()
    items = [{"id": n, "amount": 1} for n in things]
    job_id = await stages.submit("stock.add", items, options={"chunk_size": size})
    await stages.run_dry()
    return job_id


async def by_hand(
    stages: Stages, *, change: tuple[int, ...] = (), delete: tuple[int, ...] = ()
) -> None:
    def work(records: SqlRecords) -> None:
        records.update(stock, [Change(n, {"amount": 77}) for n in change])
        records.delete(stock, [Deletion(n) for n in delete])

    await stages.database.write(lambda c: work(SqlRecords(c, Writer("local", "anna"), 0.0)))


async def amounts(stages: Stages) -> dict[int, int]:
    return {row[0]: row[1] for row in await stages.rows("SELECT id, amount FROM stock")}


async def undo(stages: Stages, job_id: str, **fields: Any) -> Counts:
    decision = await stages.command(UndoJob, job_id, **fields)
    assert decision.problem is None, decision.problem
    await stages.run_dry()
    return (await stages.job(job_id)).counts


async def parts(stages: Stages, job_id: str, **named: Any) -> tuple[Part, ...]:
    """What an undo of a part would put back."""
    job, select = await stages.job(job_id), UndoSelection.model_validate(named)
    return await stages.database.read(lambda connection: parts_of(connection, job, select))


async def refused(stages: Stages, job_id: str, **fields: Any) -> tuple[str, str]:
    """Code and words of a refusal, after which nothing has changed."""
    before = await stages.kinds(job_id)
    problem = (await stages.command(UndoJob, job_id, **fields)).problem
    assert problem is not None
    assert await stages.kinds(job_id) == before
    return problem["code"], problem["message"]


async def test_only_the_named_items_are_put_back_and_a_whole_undo_takes_the_rest(
    stages: Stages,
) -> None:
    job_id = await additions(stages, list(range(1, 11)))
    assert await undo(stages, job_id, select={"items": [1, 4, 5]}) == Counts(
        rolled_back=3, succeeded=7
    )
    job = await stages.job(job_id)
    assert job.status is JobStatus.ROLLBACK_INCOMPLETE
    assert {n for n, amount in (await amounts(stages)).items() if amount == 0} == {2, 5, 6}
    assert await undo(stages, job_id) == Counts(rolled_back=10)
    assert (await stages.job(job_id)).status is JobStatus.ROLLED_BACK
    assert set((await amounts(stages)).values()) == {0}
    assert await undo(stages, job_id) == Counts(succeeded=10)
    assert (await stages.job(job_id)).status is JobStatus.COMPLETED
    assert set((await amounts(stages)).values()) == {1}


async def test_a_part_that_is_all_ends_as_a_whole_undo_does(stages: Stages) -> None:
    job_id = await additions(stages, [1, 2, 3, 4])
    assert await undo(stages, job_id, select={"chunks": [0, 1]}) == Counts(rolled_back=4)
    assert (await stages.job(job_id)).status is JobStatus.ROLLED_BACK


async def test_chunks_and_records_name_items_as_well(stages: Stages) -> None:
    job_id = await additions(stages, [1, 2, 3, 4, 5, 6, 2])
    assert (await undo(stages, job_id, select={"chunks": [1]})).rolled_back == 3
    assert (await undo(stages, job_id, select={"records": ["stock/2"]})).rolled_back == 5
    assert await amounts(stages) == {1: 1, 2: 0, 3: 1, 4: 0, 5: 0, 6: 0}


async def test_what_the_job_itself_wrote_later_is_to_be_undone_first(stages: Stages) -> None:
    """Not a conflict, which would be for good: a whole undo still takes it."""
    job_id = await additions(stages, [1, 2, 3, 1])
    wanted = WantedUndo.model_validate({"select": {"items": (0,)}})
    previewer = Previewer(stages.database, stages.registry)
    seen = await previewer.preview(await stages.job(job_id), Page(limit=10), wanted)
    assert (seen.items, seen.failed) == (1, 1)
    assert "undo that first" in seen.obstructions[0].reason
    assert await undo(stages, job_id, select={"items": [0]}) == Counts(succeeded=4)
    assert (await stages.job(job_id)).status is JobStatus.ROLLBACK_INCOMPLETE
    assert await undo(stages, job_id) == Counts(rolled_back=4)
    assert set((await amounts(stages)).values()) == {0}


async def test_a_write_that_stays_keeps_those_before_it_whatever_comes_back_behind(
    stages: Stages,
) -> None:
    job_id = await additions(stages, [1, 1, 1, 1], size=1)
    wanted = WantedUndo.model_validate({"select": {"items": (0, 3)}})
    previewer = Previewer(stages.database, stages.registry)
    seen = await previewer.preview(await stages.job(job_id), Page(limit=10), wanted)
    assert (seen.restored, seen.failed) == (1, 1)
    part = {"items": [0, 3]}
    assert await undo(stages, job_id, select=part) == Counts(rolled_back=1, succeeded=3)
    assert await amounts(stages) == {1: 3}
    assert await undo(stages, job_id) == Counts(rolled_back=4)
    assert await amounts(stages) == {1: 0}


async def test_items_that_share_a_record_are_put_back_together(stages: Stages) -> None:
    job_id = await additions(stages, [1, 1, 2, 3], size=10)
    assert (await undo(stages, job_id, select={"items": [0]})).rolled_back == 2
    assert await amounts(stages) == {1: 0, 2: 1, 3: 1}


async def test_an_undo_of_an_undo_can_be_of_a_part_too(stages: Stages) -> None:
    job_id = await additions(stages, [1, 2, 3, 4])
    await undo(stages, job_id)
    assert await undo(stages, job_id, select={"items": [3]}) == Counts(succeeded=1, rolled_back=3)
    assert await amounts(stages) == {1: 0, 2: 0, 3: 0, 4: 1}
    assert await undo(stages, job_id) == Counts(succeeded=4)
    assert (await stages.job(job_id)).status is JobStatus.COMPLETED


@pytest.mark.parametrize("times", [2, 4])
async def test_items_of_what_was_undone_and_done_again_are_named_as_ever(
    stages: Stages, times: int
) -> None:
    job_id = await additions(stages, [1, 2, 3, 4])
    for _ in range(times):
        await undo(stages, job_id)
    assert (await stages.job(job_id)).status is JobStatus.COMPLETED
    wanted = WantedUndo.model_validate({"select": {"items": (3,)}})
    previewer = Previewer(stages.database, stages.registry)
    seen = await previewer.preview(await stages.job(job_id), Page(limit=10), wanted)
    assert (seen.items, seen.restored) == (1, 1)
    assert await undo(stages, job_id, select={"items": [3]}) == Counts(rolled_back=1, succeeded=3)
    assert await amounts(stages) == {1: 1, 2: 1, 3: 1, 4: 0}
    assert await undo(stages, job_id) == Counts(rolled_back=4)


async def test_of_what_was_undone_twice_a_part_comes_back(stages: Stages) -> None:
    job_id = await additions(stages, [1, 2, 3, 4])
    for _ in range(3):
        await undo(stages, job_id)
    assert await undo(stages, job_id, select={"items": [0, 3]}) == Counts(
        succeeded=2, rolled_back=2
    )
    assert await amounts(stages) == {1: 1, 2: 0, 3: 0, 4: 1}


async def test_items_that_were_undone_in_steps_and_done_again_are_named_as_ever(
    stages: Stages,
) -> None:
    job_id = await additions(stages, [1, 2, 3, 4])
    await undo(stages, job_id, select={"items": [1]})
    await undo(stages, job_id)
    assert await undo(stages, job_id) == Counts(succeeded=4)
    part = {"items": [1, 2]}
    assert await undo(stages, job_id, select=part) == Counts(rolled_back=2, succeeded=2)
    assert await amounts(stages) == {1: 1, 2: 0, 3: 0, 4: 1}
    _, words = await refused(stages, job_id, select={"items": [0, 1]})
    assert "of item 1 nothing stands" in words
    assert await undo(stages, job_id, select={"items": [0]}) == Counts(rolled_back=3, succeeded=1)
    assert await undo(stages, job_id, select={"items": [3]}) == Counts(rolled_back=4)


async def test_items_of_a_part_that_came_back_are_named_as_ever(stages: Stages) -> None:
    job_id = await additions(stages, [1, 2, 3, 4])
    await undo(stages, job_id)
    await undo(stages, job_id, select={"items": [1, 3]})
    await undo(stages, job_id)
    part = {"items": [1, 2]}
    assert await undo(stages, job_id, select=part) == Counts(rolled_back=2, succeeded=2)
    assert await amounts(stages) == {1: 1, 2: 0, 3: 0, 4: 1}


async def test_items_that_were_retried_between_an_undo_and_the_next_are_named_as_well(
    stages: Stages,
) -> None:
    """Those that a retry did stand in its own chunk, the others in chunks that did them again."""
    await stages.submit("stock.create", [{"name": "x"}] * 2)
    await stages.run_dry()
    items = [{"id": n, "amount": 1} for n in (1, 2, 3)]
    job_id = await stages.submit("stock.add", items, options={"chunk_size": 2})
    await stages.run_dry()
    await undo(stages, job_id)
    assert await undo(stages, job_id) == Counts(succeeded=2, failed=1)
    await stages.submit("stock.create", [{"name": "late"}])
    await stages.run_dry()
    assert (await stages.command(RetryJob, job_id)).problem is None
    await stages.run_dry()
    part = {"items": [1, 2]}
    assert await undo(stages, job_id, select=part) == Counts(rolled_back=2, succeeded=1)
    await undo(stages, job_id)
    assert await undo(stages, job_id) == Counts(succeeded=3)
    assert await undo(stages, job_id, select=part) == Counts(rolled_back=2, succeeded=1)
    assert await amounts(stages) == {1: 1, 2: 0, 3: 0}


async def test_items_and_their_records_name_the_same_parts_however_often_they_were_undone(
    stages: Stages,
) -> None:
    job_id = await additions(stages, [1, 2, 3, 4, 5])
    for select in (None, {"items": [1, 4]}, None, None, {"items": [2]}, None, None):
        by_items = [await parts(stages, job_id, items=[n]) for n in (0, 3)]
        by_records = [await parts(stages, job_id, records=[f"stock/{n}"]) for n in (1, 4)]
        assert by_items == by_records
        assert all(by_items)
        await undo(stages, job_id, **({} if select is None else {"select": select}))


async def test_what_does_not_stand_is_refused_by_name(stages: Stages) -> None:
    job_id = await additions(stages, [1, 2, 3, 4])
    await undo(stages, job_id, select={"items": [1]})
    for select, what in (
        ({"items": [0, 1]}, "of item 1 nothing stands"),
        ({"items": [99]}, "of item 99 nothing stands"),
        ({"chunks": [7]}, "of chunk 7 nothing stands"),
        ({"records": ["stock/99"]}, "of record stock/99 nothing stands"),
        ({"records": ["nowhere/1"]}, "of record nowhere/1 nothing stands"),
        ({"records": ["stock/2"]}, "of record stock/2 nothing stands"),
    ):
        code, words = await refused(stages, job_id, select=select)
        assert (code, what in words) == ("wrong_state", True), words
    code, _ = await refused(stages, job_id, select={"items": [0], "chunks": [0]})
    assert code == "invalid"
    for name in ("items", "chunks", "records"):
        code, words = await refused(stages, job_id, select={name: []})
        assert (code, f"{name} names nothing" in words) == ("invalid", True), words


async def test_force_overwrites_what_others_wrote_and_keeps_it(stages: Stages) -> None:
    job_id = await additions(stages, [1, 2, 3, 4])
    await by_hand(stages, change=(1, 2), delete=(3,))
    before = await amounts(stages)
    wanted = WantedUndo(force=True)
    previewer = Previewer(stages.database, stages.registry)
    seen = await previewer.preview(await stages.job(job_id), Page(limit=10), wanted)
    assert (seen.restored, seen.conflict) == (4, 0)
    assert await undo(stages, job_id, force=True, reason="anna was wrong") == Counts(rolled_back=4)
    assert await amounts(stages) == dict.fromkeys(range(1, 5), 0)
    rows = await stages.rows(
        f"SELECT actor FROM events WHERE job_id = '{job_id}' AND alias = 'job.undo_started'"
    )
    assert rows == [("tester",)]
    assert (await stages.job(job_id)).reason == "anna was wrong"
    assert await undo(stages, job_id) == Counts(succeeded=4)
    assert await amounts(stages) == before


async def test_force_needs_a_reason_and_records(stages: Stages) -> None:
    job_id = await additions(stages, [1])
    assert (await refused(stages, job_id, force=True, reason=" "))[0] == "invalid"
    sent = await stages.submit("stock.send", [{"number": 1}])
    await stages.run_dry()
    assert (await refused(stages, sent, force=True, reason="so"))[0] == "not_reversible"


async def test_force_is_for_one_undo(stages: Stages) -> None:
    job_id = await additions(stages, [1, 2])
    await by_hand(stages, change=(1,))
    await undo(stages, job_id, force=True, reason="so")
    await by_hand(stages, change=(1,))
    assert await undo(stages, job_id) == Counts(succeeded=1, conflict=1)
    assert await amounts(stages) == {1: 77, 2: 1}


async def test_what_is_put_back_in_part_and_by_force_can_be_looked_back_at(
    stages: Stages,
) -> None:
    job_id = await additions(stages, [1, 2, 3, 4, 5, 6])
    await by_hand(stages, change=(2,))
    await undo(stages, job_id, select={"items": [1, 4]}, force=True, reason="anna was wrong")
    queries = Queries(stages.database, stages.jobs, stages.registry)
    back = Wanted(statuses=frozenset({ItemStatus.ROLLED_BACK}))
    assert [view.position async for view in queries.items("local", job_id, back)] == [1, 4]
    wrote = Wanted(record=RecordName("stock", 2))
    assert [view.position async for view in queries.items("local", job_id, wrote)] == [1]
    now, then = Run(job_id), Run(job_id, generation=0)
    summary = await queries.diff_summary("local", now, then)
    assert summary.moves == {(ItemStatus.ROLLED_BACK, ItemStatus.SUCCEEDED): 2}
    versions, _ = await queries.history("local", "stock", 2, limit=2)
    assert [version.write.cause for version in versions] == [Cause.ROLLBACK, None]
    # Of an edit by hand nobody has kept what was there before; of an undo, its image has.
    assert versions[0].changed == {"amount": Changed(77, 0)}
    assert (versions[1].values, versions[1].changed) == ({"name": "x", "amount": 77}, None)
    blamed = (await queries.blame("local", "stock", 2)).columns["amount"]
    assert (blamed.value, blamed.certain) == (0, True)
