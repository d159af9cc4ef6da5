"""An operation that does next to nothing, so that what an item costs is the engine's: a row each.

It is copied to where engines of any age find it, and so names nothing but what they all have.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel
from sqlalchemy import Column, Integer, MetaData, String, Table

from domain.operation import Context, operation
from domain.outcomes import Done, Result

metadata = MetaData()
things = Table(
    "things",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("tenant", String(100), nullable=False),
    Column("version", Integer, nullable=False),
    Column("name", String(200), nullable=False),
)


class Thing(BaseModel):
    """What every item has."""

    name: str


@operation("things.create", item=Thing, per="chunk", tables=[things])
def create(ctx: Context, items: Sequence[Thing]) -> list[Result]:
    """A row for each item."""
    rows = [(item.name,) for item in items]
    ids = ctx.store.insert(things, ["name"], rows, ctx.positions)
    return [Done({"id": number}) for number in ids]


operations = (create,)
