"""Statements that read records by id, and what columns they read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from sqlalchemy import BigInteger, Column, Select, Text, bindparam, select

from domain.records import Lookup
from streams.stores.records.dialects import backend_of
from streams.stores.records.shape import OWN, Shape
from streams.stores.statements import Prepared, prepare

_KINDS = {int: BigInteger, str: Text}


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


@lru_cache(maxsize=128)
def looked_up(shape: Shape, lookup: Lookup, locked: bool) -> Prepared:
    """All columns of the tenant's records that a declared question is about, by id."""
    table, keys = shape.table, keys_of(shape, ())
    names = {f"v{number}": _KINDS[kind] for number, kind in enumerate(lookup.kinds)}
    given = SimpleNamespace(**{name: bindparam(name, type_=kind) for name, kind in names.items()})
    statement = (
        select(*columns_of(shape, keys))
        .where(table.c.tenant == bindparam("tenant"), *lookup.where(given, table.c))
        .order_by(table.c.id)
        .limit(lookup.limit)
    )
    if locked:
        statement = statement.with_for_update(key_share=True, of=table)
    return prepare(statement, shape.dialect)
