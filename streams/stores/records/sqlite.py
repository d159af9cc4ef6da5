"""Records on SQLite: statements of many rows, json_each for lists of numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any

import orjson
from sqlalchemy import (
    CTE,
    BindParameter,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Float,
    Integer,
    Subquery,
    Text,
    bindparam,
    false,
    func,
    insert,
    literal,
    select,
    type_coerce,
    update,
)

from streams.stores.records.backend import GIVEN, HISTORY, NUMBERS, New
from streams.stores.records.images import Cells
from streams.stores.records.shape import Processor, Shape
from streams.stores.schema import history, record_tables
from streams.stores.statements import Prepared, Row, prepare, run_sql_many

VARIABLES = 999
"""Parameters of one statement, which every SQLite takes, however it was built."""


class SqliteBackend:
    """See :class:`~streams.stores.records.backend.Backend`."""

    far = False
    gives_back = True
    alone = True

    def numbers(self, width: int) -> Subquery:
        """A table-valued function over the JSON parameter."""
        source = func.json_each(bindparam(NUMBERS)).table_valued("value")
        if width == 1:
            return select(type_coerce(source.c.value, Integer).label("n0")).subquery()
        columns = [
            func.json_extract(source.c.value, f"$[{index}]", type_=Integer).label(f"n{index}")
            for index in range(width)
        ]
        return select(*columns).subquery()

    def given(self, kinds: Sequence[type]) -> CTE:
        """Read once, not at every mention of a value."""
        source = func.json_each(bindparam(GIVEN)).table_valued("key", "value")
        columns = [
            func.json_extract(
                source.c.value, f"$[{index}]", type_=Integer if kind is int else Text
            ).label(f"v{index}")
            for index, kind in enumerate(kinds)
        ]
        place = type_coerce(source.c.key, Integer).label("place")
        return select(place, *columns).cte("given").prefix_with("MATERIALIZED")

    def cell(self, shape: Shape, key: str) -> ColumnElement[Any]:
        """The column; what the driver returns is an int, float, str, bytes or None."""
        return shape.column(key)

    def value(self, shape: Shape, key: str, parameter: str) -> ColumnElement[Any]:
        """The parameter itself, since a cell is what the driver gave."""
        return bindparam(parameter, type_=shape.column(key).type)

    def cells(self, shape: Shape, keys: Sequence[str], rows: Sequence[Cells]) -> Sequence[Cells]:
        """The driver's values, by the bind processors of the column types."""
        processed = [
            (index, shape.processors[key])
            for index, key in enumerate(keys)
            if key in shape.processors and _needs_processing(shape, key, index, rows)
        ]
        if not processed:
            return rows
        columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
        for index, process in processed:
            columns[index] = list(map(process, columns[index]))
        return list(zip(*columns, strict=True))

    def values(
        self, _connection: Connection, shape: Shape, keys: Sequence[str], rows: Sequence[Cells]
    ) -> Sequence[Sequence[Any]]:
        """By the result processors of the column types."""
        found = [_result(shape, key) for key in keys]
        return [
            [cell if read is None else read(cell) for cell, read in zip(row, found, strict=True)]
            for row in rows
        ]

    def insert(
        self, connection: Connection, shape: Shape, keys: Sequence[str], rows: Sequence[Row]
    ) -> None:
        """Statements of many rows each: one for each row by itself costs a tenth more."""
        columns = tuple(keys)
        given = _arranged(_insert(shape, columns), columns, rows)
        for size, flat in _flattened(given, max(VARIABLES // len(columns), 1)):
            run_sql_many(connection, _insert_rows(shape, columns, size), flat)

    def update(
        self, connection: Connection, shape: Shape, keys: Sequence[str], rows: Sequence[Row]
    ) -> None:
        """One executemany, by primary key."""
        names = (*keys, "version", "key_of_row")
        statement = _update(shape, tuple(keys))
        statement.run_many(connection, _arranged(statement, names, rows))

    def take_turn(self, connection: Connection, tables: Sequence[str]) -> None:
        """Nothing: a transaction has the database to itself."""

    def allocate(self, connection: Connection, shape: Shape, table_id: int, count: int) -> int:
        """Move the counter of the table, past rows that were inserted without the port."""
        end = _allocate(shape).run(connection, table=table_id, count=count).scalar()
        return int(end) - count

    def note_new(self, connection: Connection, several: Sequence[New]) -> None:
        """A statement for each: from a list of ids a row takes half of what a counted one takes."""
        for table, first, last, by in several:
            ids = orjson.dumps(list(range(first, last + 1))).decode()
            _note_new(connection.dialect).run(connection, table=table, by=by, **{NUMBERS: ids})


_NATIVE = frozenset({float, int, type(None)})


def _needs_processing(shape: Shape, key: str, index: int, rows: Sequence[Cells]) -> bool:
    """Floats need none, and turning a table of them round would cost as much as a rule."""
    if not isinstance(shape.column(key).type, Float):
        return True
    return not {type(row[index]) for row in rows} <= _NATIVE


def _arranged(statement: Prepared, names: Sequence[str], rows: Sequence[Row]) -> Sequence[Row]:
    """Rows in the order of the parameters."""
    if statement.order is None or tuple(names) == statement.order:
        return rows
    arrange = itemgetter(*[names.index(name) for name in statement.order])
    return list(map(arrange, rows))


def _flattened(rows: Sequence[Row], most: int) -> Iterator[tuple[int, list[list[Any]]]]:
    """The values of rows in portions of one size, then what is left in those of a quarter of it.

    Few sizes, so that few statements are prepared.
    """
    start, size = 0, most
    while start < len(rows):
        end = len(rows) - (len(rows) - start) % size
        firsts = range(start, end, size)
        if firsts:
            yield size, [list(chain.from_iterable(rows[at : at + size])) for at in firsts]
        start, size = end, max(size // 4, 1)


def _result(shape: Shape, key: str) -> Processor | None:
    kind = shape.column(key).type.dialect_impl(shape.dialect)
    return kind.result_processor(shape.dialect, None)


@lru_cache(maxsize=512)
def _insert(shape: Shape, keys: tuple[str, ...]) -> Prepared:
    values: dict[Column[Any], BindParameter[Any]] = {
        shape.column(key): bindparam(key) for key in keys
    }
    return prepare(insert(shape.table).values(values).inline(), shape.dialect)


@lru_cache(maxsize=512)
def _insert_rows(shape: Shape, keys: tuple[str, ...], count: int) -> str:
    into, values, marks = _insert(shape, keys).sql.rpartition(" VALUES ")
    return into + values + ", ".join([marks] * count)


@lru_cache(maxsize=512)
def _update(shape: Shape, keys: tuple[str, ...]) -> Prepared:
    columns = (*keys, "version")
    values: dict[Column[Any], BindParameter[Any]] = {
        shape.column(key): bindparam(key) for key in columns
    }
    statement = update(shape.table).values(values)
    statement = statement.where(shape.table.c.id == bindparam("key_of_row"))
    return prepare(statement, shape.dialect)


@lru_cache(maxsize=512)
def _allocate(shape: Shape) -> Prepared:
    highest = select(func.coalesce(func.max(shape.table.c.id), 0) + 1).scalar_subquery()
    statement = (
        update(record_tables)
        .where(record_tables.c.table_id == bindparam("table"))
        .values(next_id=func.max(record_tables.c.next_id, highest) + bindparam("count"))
        .returning(record_tables.c.next_id)
    )
    return prepare(statement, shape.dialect)


@lru_cache(maxsize=16)
def _note_new(dialect: Dialect) -> Prepared:
    source = select(
        bindparam("table", type_=history.c.table_id.type),
        SqliteBackend().numbers(1).c.n0,
        literal(1),
        bindparam("by", type_=history.c.writer.type),
        false(),
    )
    return prepare(insert(history).from_select(HISTORY, source), dialect)
