"""Handlers that change what they are given: what is worked again begins with what was sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import BaseModel

from domain.commands import UndoJob
from domain.errors import RecordsOvertaken
from domain.events import JobStatus
from domain.operation import Context, operation
from domain.options import Backoff
from domain.outcomes import Done, Failed, ItemStatus, Restored, Result, UndoResult
from domain.registry import Registry
from streams.queries import Queries
from streams.stores import migrate
from streams.stores.database import Database
from streams.worker import AT_ONCE_ITEMS
from tests.databases import database, database_url
from tests.engine.stages import Stages
from tests.engine.stock import stock

__all__ = ["database", "database_url"]

MANY = AT_ONCE_ITEMS + 10
BAD, OVERTAKEN = -1, -2
runs: list[int] = []
compensated: list[tuple[int, list[int], list[int]]] = []


@pytest.fixture(autouse=True)
def no_runs() -> None:
    runs.clear()
    compensated.clear()


class Priced(BaseModel):
    """A price, with what may be changed deep within it."""

    amount: int
    more: list[int] = []


def _raised(ctx: Context, item: Priced, position: int) -> Result:
    """Add 100 in place; one price is bad, and at one the record is overtaken once."""
    item.amount += 100
    item.more.append(1)
    ctx.store.insert(stock, ["name", "amount"], [("p", item.amount)], [position])
    if item.amount == OVERTAKEN + 100:
        runs.append(position)
        if len(runs) == 1:
            raise RecordsOvertaken("somebody was quicker")
    if item.amount == BAD + 100:
        raise ValueError("a bad price")
    return Done([item.amount, len(item.more)])


@operation("changed.one", item=Priced, tables=[stock])
def one(ctx: Context, item: Priced) -> Result:
    return _raised(ctx, item, ctx.position)


@operation("changed.all", item=Priced, per="chunk", tables=[stock])
def all_of_them(ctx: Context, items: Sequence[Priced]) -> list[Result]:
    return [_raised(ctx, item, place) for item, place in zip(items, ctx.positions, strict=True)]


def _doubled(_ctx: Context, item: Priced) -> Failed | None:
    """Puts the item right in place, which the function counts on."""
    item.amount *= 2
    return Failed("too_much", "at most 100") if item.amount > 100 else None


@operation("changed.put_right", item=Priced, per="chunk", tables=[stock], validate=_doubled)
def put_right(ctx: Context, items: Sequence[Priced]) -> list[Result]:
    if any(item.amount == 2 * BAD for item in items):
        raise ValueError("a bad price")
    return [_raised(ctx, item, place) for item, place in zip(items, ctx.positions, strict=True)]


def _lowered(ctx: Context, item: BaseModel, result: Any) -> UndoResult:
    """Takes 10 off in place, off the item and off its result."""
    assert isinstance(item, Priced)
    item.amount -= 10
    result[0] -= 10
    values = ("u", item.amount + 1000 * result[0])
    ctx.store.insert(stock, ["name", "amount"], [values], [ctx.position])
    runs.append(ctx.position)
    if len(runs) == 2:
        raise RecordsOvertaken("somebody was quicker")
    return Restored()


@operation("changed.back", item=Priced, tables=[stock], inverse=_lowered)
def back(_ctx: Context, item: Priced) -> Result:
    return Done([item.amount])


def _called_back(_ctx: Context, item: BaseModel, result: Any) -> UndoResult:
    """Takes 10 off in place, and is busy at its first two attempts."""
    assert isinstance(item, Priced)
    item.amount -= 10
    item.more.append(1)
    result.append(item.amount)
    compensated.append((item.amount, [*item.more], [*result]))
    return Restored() if len(compensated) > 2 else Failed("busy", "later", retryable=True)


@operation(
    "changed.outside",
    item=Priced,
    slow=True,
    outside=["mail"],
    compensate=_called_back,
    patience=Backoff(attempts=3, delay=0),
)
def outside(_ctx: Context, item: Priced) -> Result:
    return Done([item.amount])


@pytest.fixture
async def stages(database: Database) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry([one, all_of_them, put_right, back, outside]))


async def worked(stages: Stages, kind: str, prices: Sequence[int], **options: Any) -> str:
    items = [{"amount": price} for price in prices]
    job_id = await stages.submit(kind, items, options=options)
    await stages.work_out()
    return job_id


async def results(stages: Stages, job_id: str) -> list[Any]:
    queries = Queries(stages.database, stages.jobs, stages.registry)
    found = [view async for view in queries.items("local", job_id)]
    return [v.result if v.status is ItemStatus.SUCCEEDED else v.status for v in found]


async def amounts(stages: Stages) -> list[int]:
    return sorted(amount for (amount,) in await stages.rows("SELECT amount FROM stock"))


@pytest.mark.parametrize("atomic", [False, True])
@pytest.mark.parametrize("kind", ["changed.one", "changed.all"])
async def test_an_item_is_as_it_was_sent_whoever_fails_beside_it(
    stages: Stages, kind: str, atomic: bool
) -> None:
    prices = [7, 7, 7, 7] if atomic else [7, 7, 7, BAD, 7]
    job_id = await worked(stages, kind, prices, atomic=atomic)
    good = [[107, 1]] * 3
    wanted = [*good, [107, 1]] if atomic else [*good, ItemStatus.FAILED, [107, 1]]
    assert await results(stages, job_id) == wanted
    assert await amounts(stages) == [107] * 4


@pytest.mark.parametrize("count", [5, MANY])
@pytest.mark.parametrize("kind", ["changed.one", "changed.all"])
async def test_a_transaction_that_is_run_again_begins_with_what_was_sent(
    stages: Stages, kind: str, count: int
) -> None:
    prices = [7] * (count - 2) + [OVERTAKEN, 7]
    job_id = await worked(stages, kind, prices, chunk_size=count)
    assert len(runs) == 2
    assert await results(stages, job_id) == [[price + 100, 1] for price in prices]
    assert await amounts(stages) == sorted(price + 100 for price in prices)


async def test_what_validate_puts_right_stays_so_when_a_chunk_is_halved(stages: Stages) -> None:
    job_id = await worked(stages, "changed.put_right", [7, 60, 7, BAD, 7])
    failed = ItemStatus.FAILED
    assert await results(stages, job_id) == [[114, 1], failed, [114, 1], failed, [114, 1]]


async def test_an_inverse_that_is_run_again_begins_with_what_was_sent(stages: Stages) -> None:
    job_id = await worked(stages, "changed.back", [7, 8, 9])
    await stages.command(UndoJob, job_id)
    await stages.work_out()
    assert (await stages.job(job_id)).status is JobStatus.ROLLED_BACK
    assert runs == [2, 1, 2, 1, 0]
    assert await amounts(stages) == [-3003, -2002, -1001]


async def test_a_compensation_that_is_tried_again_begins_with_what_was_sent(
    stages: Stages,
) -> None:
    job_id = await worked(stages, "changed.outside", [7])
    await stages.command(UndoJob, job_id)
    await stages.work_out()
    assert (await stages.job(job_id)).status is JobStatus.ROLLED_BACK
    assert compensated == [(-3, [1], [7, -3])] * 3
