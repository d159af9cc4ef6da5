"""What an operation leaves behind: what items wrote that took effect, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from pydantic import BaseModel

from domain.commands import RetryJob, UndoJob
from domain.events import JobStatus
from domain.operation import Context, Operation, operation
from domain.outcomes import Conflicted, Done, Failed, Restored, Result, Skipped, UndoResult
from domain.records import Change, Deletion
from domain.registry import Registry
from streams.items import ItemView
from streams.queries import Queries
from streams.stores import migrate
from streams.stores.database import Database
from tests.databases import database, database_url
from tests.engine.stages import Stages
from tests.engine.stock import Addition, Number, create, stock

__all__ = ["database", "database_url"]

COLUMNS = ["name", "amount"]
DEAR = Failed("too_dear", "no", retryable=True)
GONE = Skipped("not wanted")


def _wrote(ctx: Context, item: Number, position: int) -> Result:
    """Has written before it says that 3 is too dear and 5 is not wanted."""
    ctx.store.insert(stock, COLUMNS, [("n", item.number)], [position])
    without_effect: dict[int, Result] = {3: DEAR, 5: GONE}
    return without_effect.get(item.number, Done())


@operation("left.one", item=Number, tables=[stock])
def one(ctx: Context, item: Number) -> Result:
    return _wrote(ctx, item, ctx.position)


@operation("left.all", item=Number, per="chunk", tables=[stock])
def all_of_them(ctx: Context, items: Sequence[Number]) -> list[Result]:
    return [_wrote(ctx, item, place) for item, place in zip(items, ctx.positions, strict=True)]


def _half_back(ctx: Context, item: BaseModel, _result: Any) -> UndoResult:
    """Has written before it says that 1 fails and 2 is somebody else's by now."""
    assert isinstance(item, Number)
    ctx.store.insert(stock, COLUMNS, [("undo", item.number)], [ctx.position])
    left: dict[int, UndoResult] = {
        1: Failed("no", "no"),
        2: Conflicted("stock/1", "anna", "changed"),
    }
    return left.get(item.number, Restored())


@operation("left.inverse", item=Number, tables=[stock], inverse=_half_back)
def inverse(_ctx: Context, _item: Number) -> Result:
    return Done()


@operation("left.unnamed", item=Addition, tables=[stock])
def unnamed(ctx: Context, item: Addition) -> Result:
    """Leaves out whose changes they are."""
    ctx.store.update(stock, [Change(item.id, {"amount": item.amount})])
    if item.amount == 9:
        ctx.store.delete(stock, [Deletion(item.id)])
    return Done()


@operation("left.unnamed_all", item=Addition, per="chunk", tables=[stock])
def unnamed_all(ctx: Context, items: Sequence[Addition]) -> list[Result]:
    ctx.store.update(stock, [Change(item.id, {"amount": item.amount}) for item in items])
    return [Done() for _ in items]


@operation("left.counted", item=Addition, per="chunk", tables=[stock])
def counted(ctx: Context, items: Sequence[Addition]) -> list[Result]:
    """Takes the place in the chunk for that in the job."""
    changes = [Change(i.id, {"amount": i.amount}, position=n) for n, i in enumerate(items)]
    ctx.store.update(stock, changes)
    return [Done() for _ in items]


@operation("left.counted_gone", item=Addition, per="chunk", tables=[stock])
def counted_gone(ctx: Context, items: Sequence[Addition]) -> list[Result]:
    ctx.store.delete(stock, [Deletion(i.id, position=n) for n, i in enumerate(items)])
    return [Done() for _ in items]


@operation("left.counted_new", item=Addition, per="chunk", tables=[stock])
def counted_new(ctx: Context, items: Sequence[Addition]) -> list[Result]:
    ctx.store.insert(stock, COLUMNS, [("new", i.amount) for i in items], range(len(items)))
    return [Done() for _ in items]


@operation("left.counted_parts", item=Addition, per="chunk", read_only=True)
def counted_parts(ctx: Context, items: Sequence[Addition]) -> list[Result]:
    for number, _ in enumerate(items):
        ctx.made.add(number, b"part")
    return [Done() for _ in items]


Write = Callable[[Context, Addition], object]
WRITES: dict[str, Write] = {
    "insert": lambda ctx, _: ctx.store.insert(stock, COLUMNS, [("x", 1)], [ctx.position]),
    "update": lambda ctx, i: ctx.store.update(stock, [Change(i.id, {"amount": 5})]),
    "delete": lambda ctx, i: ctx.store.delete(stock, [Deletion(i.id, position=ctx.position)]),
}


def _reading(name: str, write: Write) -> Operation:
    @operation(f"left.reading_{name}", item=Addition, read_only=True)
    def reading(ctx: Context, item: Addition) -> Result:
        write(ctx, item)
        return Done()

    return reading


def _judging(name: str, write: Write) -> Operation:
    def judge(ctx: Context, item: Addition) -> None:
        write(ctx, item)

    @operation(f"left.judging_{name}", item=Addition, tables=[stock], validate=judge)
    def judging(_ctx: Context, _item: Addition) -> Result:
        return Done()

    return judging


def _part(ctx: Context, _item: Addition) -> None:
    ctx.made.add(ctx.position, b"part")


OPERATIONS = (
    *(create, one, all_of_them, inverse),
    *(unnamed, unnamed_all, counted, counted_gone, counted_new, counted_parts),
    *(_reading(name, write) for name, write in WRITES.items()),
    *(_judging(name, write) for name, write in (WRITES | {"part": _part}).items()),
)


@pytest.fixture
async def stages(database: Database) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(OPERATIONS))


async def views(stages: Stages, job_id: str) -> list[ItemView]:
    queries = Queries(stages.database, stages.jobs, stages.registry)
    return [view async for view in queries.items("local", job_id)]


async def worked(stages: Stages, kind: str, items: Sequence[Any], **options: Any) -> str:
    job_id = await stages.submit(kind, items, options=options)
    await stages.work_out()
    return job_id


async def amounts(stages: Stages) -> list[int]:
    return [amount for (amount,) in await stages.rows("SELECT amount FROM stock ORDER BY id")]


async def things(stages: Stages, count: int) -> list[dict[str, int]]:
    """Items of things that are there, each with the amount 0."""
    await worked(stages, "stock.create", [{"name": "x"}] * count)
    return [{"id": n, "amount": 7} for n in range(1, count + 1)]


NUMBERS = [{"number": number} for number in range(1, 8)]
BOTH = pytest.mark.parametrize("kind", ["left.one", "left.all"])


@BOTH
@pytest.mark.parametrize("chunk_size", [2, 7])
async def test_what_fails_or_is_skipped_has_written_nothing(
    stages: Stages, kind: str, chunk_size: int
) -> None:
    job_id = await worked(stages, kind, NUMBERS, chunk_size=chunk_size)
    assert sorted(await amounts(stages)) == [1, 2, 4, 6, 7]
    found = await views(stages, job_id)
    failed = [(v.position, v.error.code) for v in found if v.error]
    assert failed == [(2, "too_dear"), (4, "skipped")]
    assert (await stages.job(job_id)).counts.succeeded == 5


@BOTH
async def test_a_retry_of_it_doubles_nothing_and_an_undo_leaves_nothing(
    stages: Stages, kind: str
) -> None:
    job_id = await worked(stages, kind, NUMBERS)
    await stages.command(RetryJob, job_id)
    await stages.work_out()
    assert sorted(await amounts(stages)) == [1, 2, 4, 6, 7]
    await stages.command(UndoJob, job_id)
    await stages.work_out()
    assert await amounts(stages) == []
    assert (await stages.job(job_id)).counts.rolled_back == 5


@BOTH
async def test_a_dry_run_tells_no_change_of_it(stages: Stages, kind: str) -> None:
    job_id = await worked(stages, kind, NUMBERS, dry_run=True)
    told = [len(view.changes or []) for view in await views(stages, job_id)]
    assert told == [1, 1, 0, 1, 0, 1, 1]


async def test_an_inverse_that_does_not_restore_has_written_nothing(stages: Stages) -> None:
    job_id = await worked(stages, "left.inverse", [{"number": n} for n in range(4)])
    await stages.command(UndoJob, job_id)
    await stages.work_out()
    assert sorted(await amounts(stages)) == [0, 3]
    counts = (await stages.job(job_id)).counts
    assert (counts.rolled_back, counts.conflict, counts.succeeded) == (2, 1, 1)


@pytest.mark.parametrize("chunk_size", [2, 5])
async def test_a_change_that_names_no_item_is_that_of_the_one_at_hand(
    stages: Stages, chunk_size: int
) -> None:
    items = [*await things(stages, 4), {"id": 3, "amount": 9}]
    job_id = await worked(stages, "left.unnamed", items, chunk_size=chunk_size)
    assert await amounts(stages) == [7, 7, 7]
    await stages.command(UndoJob, job_id)
    await stages.work_out()
    assert (await stages.job(job_id)).status is JobStatus.ROLLED_BACK
    assert await amounts(stages) == [0, 0, 0, 0]


async def test_a_dry_run_tells_it_of_that_item(stages: Stages) -> None:
    job_id = await worked(stages, "left.unnamed", await things(stages, 3), dry_run=True)
    told = [[c["id"] for c in view.changes or []] for view in await views(stages, job_id)]
    assert told == [[1], [2], [3]]


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("left.unnamed_all", "a write to stock says no position"),
        ("left.counted", "a write to stock says position 0"),
        ("left.counted_gone", "a write to stock says position 0"),
        ("left.counted_new", "a write to stock says position 0"),
        ("left.counted_parts", "a part of a file says position 0"),
    ],
)
async def test_a_write_of_no_item_of_the_call_is_refused(
    stages: Stages, kind: str, said: str, dry_run: bool
) -> None:
    items = await things(stages, 6)
    job_id = await worked(stages, kind, items, chunk_size=2, dry_run=dry_run)
    found = await views(stages, job_id)
    # In the first chunk the places in it are those in the job, but where none is named.
    refused = found if kind == "left.unnamed_all" else found[2:]
    errors = [view.error for view in refused]
    assert {error.code for error in errors if error} == {"plugin_invalid"}
    assert all(error and said in error.message for error in errors)
    assert all(error and "ctx.positions" in error.message for error in errors)
    rows = await stages.rows("SELECT amount FROM stock WHERE id BETWEEN 3 AND 6")
    assert rows == [(0,)] * 4


@pytest.mark.parametrize("how", ["reading", "judging"])
@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("dry_run", [False, True])
async def test_what_only_reads_or_judges_writes_no_record(
    stages: Stages, how: str, write: str, dry_run: bool
) -> None:
    items = await things(stages, 3)
    job_id = await worked(stages, f"left.{how}_{write}", items, dry_run=dry_run)
    errors = [view.error for view in await views(stages, job_id)]
    remedy = "leave read_only out" if how == "reading" else "write in the function"
    assert {error.code for error in errors if error} == {"plugin_invalid"}
    assert all(error and f"a write to stock: {remedy}" in _short(error.message) for error in errors)
    assert await amounts(stages) == [0, 0, 0]


def _short(message: str) -> str:
    """Without the reason, which stands before the remedy."""
    place, _, rest = message.partition(": ")
    return f"{place}: {rest.partition('; ')[2]}"


async def test_what_judges_makes_no_part_of_a_file(stages: Stages) -> None:
    job_id = await worked(stages, "left.judging_part", await things(stages, 2))
    errors = [view.error for view in await views(stages, job_id)]
    assert {error.code for error in errors if error} == {"plugin_invalid"}
    assert await stages.rows("SELECT * FROM job_parts") == []
