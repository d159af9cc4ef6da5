"""Selecting: the records that a filter matches become the items of a job, frozen page by page.

Called by :mod:`streams.gateway` at a submit. Every statement is parametrised and names the
tenant; columns are those of the declared table, values are read by the columns' types.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import orjson
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    SmallInteger,
    Table,
    and_,
    func,
    literal,
    select,
)
from sqlalchemy import Column as TableColumn

from domain.errors import InvalidCommand
from domain.operation import Operation
from domain.record_filter import And, Condition, Equals, In, RecordSelection
from streams.stores.database import Database

PAGE = 1000
KINDS = (str, int, float, bool, Decimal, datetime, date, time, UUID)
MOST_INTEGER = 2**63 - 1
HIDDEN = ("tenant",)
_AT = "/select"


@dataclass(frozen=True, slots=True)
class Frozen:
    """A selection that can be read: the statement's parts, and what each item says."""

    table: Table
    matches: ColumnElement[bool]
    mine: ColumnElement[bool]
    each: dict[str, Any]
    versioned: bool


def prepared(operation: Operation, selection: RecordSelection, tenant: str) -> Frozen:
    """The selection, checked against what the operation declares.

    Raises InvalidCommand, which points at what is wrong.
    """
    table = operation.selectable
    if not isinstance(table, Table):
        raise InvalidCommand(
            f"{operation.kind} cannot be asked for by a filter; send items", pointer=_AT
        )
    if selection.table != table.name:
        raise InvalidCommand(
            f"{operation.kind} is about {table.name}, not {selection.table}; name that",
            pointer=f"{_AT}/table",
        )
    nested = isinstance(selection.where, And)
    conditions = [
        _condition(table, condition, f"{_AT}/where/all/{place}" if nested else f"{_AT}/where")
        for place, condition in enumerate(selection.conditions)
    ]
    mine = table.c.tenant == tenant
    versioned = "version" in operation.item.model_fields
    _check_each(operation, selection.each, versioned=versioned)
    return Frozen(table, and_(mine, *conditions), mine, selection.each, versioned)


async def frozen_lines(
    database: Database, frozen: Frozen, selection: RecordSelection
) -> AsyncIterator[bytes]:
    """The items as NDJSON, in the order of their ids, a page at a time.

    Raises SelectionUnconfirmed when none matches, or all do, and that is not said to be meant.
    """
    selection.require_confirmed(*await database.read(partial(_count, frozen)))
    after: int | None = None
    while page := await database.read(partial(_page, frozen, after)):
        yield b"".join(_line(frozen, key, version) for key, version in page)
        after = page[-1][0]
        if len(page) < PAGE:
            return


def _count(frozen: Frozen, connection: Connection) -> tuple[int, int]:
    counted = select(func.count()).select_from(frozen.table)
    matching = connection.scalar(counted.where(frozen.matches)) or 0
    return matching, connection.scalar(counted.where(frozen.mine)) or 0


def _page(frozen: Frozen, after: int | None, connection: Connection) -> list[tuple[int, int]]:
    key, version = frozen.table.c.id, frozen.table.c.version
    behind = select(key, version).where(frozen.matches).order_by(key).limit(PAGE)
    # Ids of an application's own records may be 0, and less.
    rows = connection.execute(behind if after is None else behind.where(key > after))
    return [(row[0], row[1]) for row in rows]


def _line(frozen: Frozen, key: int, version: int) -> bytes:
    own = {"id": key, "version": version} if frozen.versioned else {"id": key}
    return orjson.dumps({**own, **frozen.each}) + b"\n"


def _check_each(operation: Operation, each: dict[str, Any], *, versioned: bool) -> None:
    for name in ("id", "version"):
        if name in each:
            raise InvalidCommand(
                f"{name} is that of each record; leave it out", pointer=f"{_AT}/each/{name}"
            )
    sample = {"id": 1, **({"version": 1} if versioned else {}), **each}
    try:
        operation.item.model_validate(sample)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        pointer = f"{_AT}/each" + "".join(f"/{part}" for part in first["loc"])
        raise InvalidCommand(f"{pointer}: {first['msg']}", pointer=pointer) from error


def _condition(table: Table, condition: Condition, at: str) -> ColumnElement[bool]:
    column = table.columns.get(condition.column)
    if column is None or condition.column in HIDDEN:
        known = ", ".join(each.key for each in table.columns if each.key not in HIDDEN)
        raise InvalidCommand(
            f"{table.name} has no column {condition.column!r}; it has: {known}",
            pointer=f"{at}/column",
        )
    if isinstance(condition, Equals):
        if condition.value is None:
            return column.is_(None)
        equal: ColumnElement[bool] = column == _value(column, condition.value, f"{at}/value")
        return equal
    if isinstance(condition, In):
        values = [_value(column, v, f"{at}/values/{n}") for n, v in enumerate(condition.values)]
        return column.in_(values)
    bounds: list[ColumnElement[bool]] = []
    if condition.at_least is not None:
        bounds.append(column >= _value(column, condition.at_least, f"{at}/at_least"))
    if condition.below is not None:
        bounds.append(column < _value(column, condition.below, f"{at}/below"))
    if not bounds:
        raise InvalidCommand("a range has at_least, below or both; say one", pointer=at)
    return and_(*bounds)


def _most(column: TableColumn[Any]) -> int:
    """The largest whole number that a database takes for the column."""
    if isinstance(column.type, SmallInteger):
        return 2**15 - 1
    if isinstance(column.type, Integer) and not isinstance(column.type, BigInteger):
        return 2**31 - 1
    return MOST_INTEGER


def _kind_of(column: TableColumn[Any]) -> type | None:
    """What the column's values are in Python; None where its type does not say."""
    try:
        kind: type = column.type.python_type
    except NotImplementedError:
        return None
    return kind


def _value(column: TableColumn[Any], value: Any, at: str) -> ColumnElement[Any]:
    """A JSON value as the column's type takes it: a parameter, never text of the statement."""
    kind = _kind_of(column)
    if kind not in KINDS:
        raise InvalidCommand(f"{column.key} cannot be filtered by; use another column", pointer=at)
    if isinstance(value, int) and abs(value) > _most(column):
        raise InvalidCommand(f"{column.key}: {value} is out of range", pointer=at)
    try:
        read = TypeAdapter(kind).validate_json(orjson.dumps(value), strict=True)
    except ValidationError as error:
        said = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise InvalidCommand(f"{column.key}: {said['msg']}", pointer=at) from error
    if isinstance(read, str) and "\x00" in read:
        raise InvalidCommand(f"{column.key}: no text has a NUL", pointer=at)
    if isinstance(read, datetime) and (read.tzinfo is None) == getattr(
        column.type, "timezone", False
    ):
        wanted = "needs its zone" if read.tzinfo is None else "has no zone"
        raise InvalidCommand(f"{column.key}: a moment here {wanted}", pointer=at)
    return literal(read, column.type)
