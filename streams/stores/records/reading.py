"""Statements that read records by id, and what columns they read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Column, Select, bindparam, select

from streams.stores.records.dialects import backend_of
from streams.stores.records.shape import OWN, Shape
from streams.stores.statements import Prepared, prepare


def keys_of(shape: Shape, columns: Sequence[str]) -> tuple[str, ...]:
    """The keys to read, the id first."""
    if not columns:
        return (*OWN, *shape.business)
    shape.check_columns([key for key in columns if key not in OWN])
    return ("id", *[key for key in columns if key != "id"])


def columns_of(shape: Shape, keys: Sequence[str]) -> list[Column[Any]]:
    """The columns of those keys."""
    return [shape.column(key) for key in keys]


@lru_cache(maxsize=512)
def by_ids_prepared(shape: Shape, keys: tuple[str, ...], locked: bool) -> Prepared:
    """As :func:`by_ids`, compiled."""
    return prepare(by_ids(shape, keys, locked), shape.dialect)


@lru_cache(maxsize=512)
def by_ids(shape: Shape, keys: tuple[str, ...], locked: bool) -> Select[Any]:
    """The tenant's records of the ids in ``NUMBERS``, locked against changes if asked for."""
    wanted = backend_of(shape.dialect).numbers(1)
    table = shape.table
    statement = select(*columns_of(shape, keys)).where(
        table.c.tenant == bindparam("tenant"), table.c.id.in_(select(wanted.c.n0))
    )
    if not locked:
        return statement
    # A lock that leaves it to others to refer to the record.
    return statement.order_by(table.c.id).with_for_update(key_share=True, of=table)
