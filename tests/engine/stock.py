"""A plug-in for tests: a stock of things, with operations that behave and some that do not."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict
from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table

from domain.operation import Context, operation
from domain.outcomes import Done, Failed, Restored, Result, Skipped, UndoResult
from domain.records import Change, Deletion, Missing, Written

metadata = MetaData()
stock = Table(
    "stock",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("tenant", String(100), nullable=False),
    Column("version", Integer, nullable=False),
    Column("name", String(200), nullable=False),
    Column("amount", Integer, nullable=False),
)


class Thing(BaseModel):
    """A new thing."""

    model_config = ConfigDict(extra="forbid")
    name: str
    amount: int = 0


class Addition(BaseModel):
    """So much more of a thing."""

    model_config = ConfigDict(extra="forbid")
    id: int
    amount: int


class Number(BaseModel):
    """Any number."""

    model_config = ConfigDict(extra="forbid")
    number: int


@operation("stock.create", item=Thing, per="chunk", independent=True, tables=[stock])
def create(ctx: Context, items: Sequence[Thing]) -> list[Result]:
    """Create things; names that start with ! are refused."""
    good = [i for i, item in enumerate(items) if not item.name.startswith("!")]
    rows = [(items[i].name, items[i].amount) for i in good]
    ids = ctx.store.insert(stock, ["name", "amount"], rows, [ctx.positions[i] for i in good])
    results: list[Result] = [Failed("refused", "names must not start with !", "/name")] * len(items)
    for index, record in zip(good, ids, strict=True):
        results[index] = Done({"id": record})
    return results


@operation("stock.add", item=Addition, tables=[stock], selectable=stock)
def add(ctx: Context, item: Addition) -> Result:
    """Add to a thing's amount: twice would be seen."""
    row = ctx.store.fetch(stock, [item.id]).get(item.id)
    if row is None:
        return Failed("missing", f"there is no thing {item.id}", "/id", retryable=True)
    change = Change(item.id, {"amount": row["amount"] + item.amount}, position=ctx.position)
    (written,) = ctx.store.update(stock, [change])
    assert isinstance(written, Written)
    return Done({"version": written.version}, score=float(item.amount))


@operation("stock.put", item=Addition, per="chunk", independent=True, tables=[stock])
def put(ctx: Context, items: Sequence[Addition]) -> list[Result]:
    """Give things an amount, many at once."""
    changes = [
        Change(item.id, {"amount": item.amount}, position=position)
        for item, position in zip(items, ctx.positions, strict=True)
    ]
    return [
        Done() if isinstance(written, Written) else Failed("missing", "there is no such thing")
        for written in ctx.store.update(stock, changes)
    ]


@operation("stock.remove", item=Addition, tables=[stock])
def remove(ctx: Context, item: Addition) -> Result:
    """Remove a thing."""
    (gone,) = ctx.store.delete(stock, [Deletion(item.id, position=ctx.position)])
    return Skipped("it is gone already") if isinstance(gone, Missing) else Done()


@operation("stock.raise", item=Number, tables=[stock])
def raise_on_seven(ctx: Context, item: Number) -> Result:
    """Fail by exception for every number that ends in 7."""
    ctx.store.insert(stock, ["name", "amount"], [("n", item.number)], [ctx.position])
    if item.number % 10 == 7:
        raise RuntimeError(f"seven in {item.number}")
    return Done()


@operation("stock.die", item=Number, tables=[stock])
def die_on_seven(ctx: Context, item: Number) -> Result:
    """Take the whole process down for the number 7."""
    if item.number == 7:
        os._exit(9)
    ctx.store.insert(stock, ["name", "amount"], [("n", item.number)], [ctx.position])
    return Done()


@operation("stock.hang", item=Number, timeout=0.5)
def hang_on_seven(_ctx: Context, item: Number) -> Result:
    """Never come back for the number 7."""
    while item.number == 7:
        time.sleep(0.05)
    return Done()


@operation("stock.eat", item=Number)
def eat_memory(_ctx: Context, item: Number) -> Result:
    """Eat memory for the number 7."""
    eaten = []
    while item.number == 7:
        eaten.append(bytearray(20_000_000))
        time.sleep(0.01)
    return Done()


@operation("stock.wait", item=Number, slow=True, timeout=5.0)
async def wait(ctx: Context, item: Number) -> Result:
    """Wait 200 ms, as for a model's answer."""
    await asyncio.sleep(0.2)
    return Done({"number": item.number, "key": ctx.idempotency_key}, score=0.5)


def _unsend(_ctx: Context, item: BaseModel, result: object) -> UndoResult:
    assert isinstance(item, Number)
    assert result == {"sent": item.number}
    return Failed("stuck", "cannot be taken back") if item.number == 3 else Restored()


@operation("stock.send", item=Number, inverse=_unsend)
def send(_ctx: Context, item: Number) -> Result:
    """Something outside that can be taken back."""
    return Done({"sent": item.number})


@operation("stock.square", item=Number, cpu_bound=True, reversible=None, inverse=_unsend)
def square(_ctx: Context, item: Number) -> Result:
    """Work for a processor."""
    return Done({"square": item.number**2})


operations = [
    create,
    add,
    put,
    remove,
    raise_on_seven,
    die_on_seven,
    hang_on_seven,
    eat_memory,
    wait,
    send,
    square,
]
