"""A plug-in for tests: shelves of every kind of column, with operations that do a bit of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Double,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from domain.operation import Context, operation
from domain.outcomes import Done, Failed, Result, Skipped
from domain.record_operations import record_operations
from domain.records import Change, Deletion

metadata = MetaData()
shelves = Table(
    "shelves",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("tenant", String(100), nullable=False),
    Column("version", Integer, nullable=False),
    Column("name", String(20), nullable=False),
    Column("price", Numeric(12, 2), nullable=False, default=0),
    Column("weight", Double),
    Column("live", Boolean, nullable=False, default=True),
    Column("since", Date),
    Column("note", Text),
    UniqueConstraint("tenant", "name", name="shelves_name"),
    CheckConstraint("price <= 1000", name="shelves_price"),
)


class Move(BaseModel):
    """So much of one shelf's price to another's."""

    model_config = ConfigDict(extra="forbid")
    source: int
    target: int
    amount: int


def _refuse_large(_ctx: Context, item: Move) -> Failed | None:
    return Failed("too_much", "at most 900 at a time", "/amount") if item.amount > 900 else None


def _moved(ctx: Context, item: Move, position: int) -> Result:
    rows = ctx.store.fetch(shelves, [item.source, item.target], ["price"])
    if item.source not in rows:
        return Failed("no_source", f"there is no shelf {item.source}", "/source")
    if item.amount == 0:
        return Skipped("nothing to move")
    source = Change(
        item.source, {"price": rows[item.source]["price"] - item.amount}, position=position
    )
    ctx.store.update(shelves, [source])
    if item.target not in rows:
        # The source has been written to: an exception takes that back.
        raise LookupError(f"no shelf {item.target}")
    price = ctx.store.fetch(shelves, [item.target], ["price"])[item.target]["price"]
    ctx.store.update(
        shelves, [Change(item.target, {"price": price + item.amount}, position=position)]
    )
    if rows[item.source]["price"] - item.amount < -2000:
        ctx.store.delete(shelves, [Deletion(item.source, position=position)])
    return Done({"moved": item.amount})


@operation("shelf.move", item=Move, validate=_refuse_large, tables=[shelves])
def move(ctx: Context, item: Move) -> Result:
    """Move from one to another, item by item."""
    return _moved(ctx, item, ctx.position)


@operation("shelf.move_all", item=Move, per="chunk", validate=_refuse_large, tables=[shelves])
def move_all(ctx: Context, items: Sequence[Move]) -> list[Result]:
    """The same for all items of a chunk at once; one that raises is found by halving."""
    return [_moved(ctx, item, place) for item, place in zip(items, ctx.positions, strict=True)]


operations: list[Any] = [*record_operations("shelf", shelves), move, move_all]
