"""Records on PostgreSQL: rows travel as one JSON document and are cast there.

Measured with 1,000 rows of 15 columns, against COPY and unnest: as fast as COPY or faster,
with half the work on our side, and errors stay those of a plain statement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson
from psycopg import Binary
from psycopg.types.json import Json, Jsonb
from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Connection,
    Dialect,
    Enum,
    String,
    Subquery,
    Text,
    bindparam,
    cast,
    false,
    func,
    insert,
    literal,
    select,
    text,
    true,
    type_coerce,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator

from domain.errors import PluginInvalid, StoreUnavailable
from streams.stores.records.backend import GIVEN, HISTORY, NUMBERS, New
from streams.stores.records.images import Cells
from streams.stores.records.shape import Shape
from streams.stores.schema import history
from streams.stores.statements import Prepared, Row, prepare, run_journey, run_sql

_ROWS = "rows"
_LOCK_SPACE = 0x436D
_TURN_SPACE = 0x436E
_ALLOCATIONS = 10


class PostgresBackend:
    """See :class:`~streams.stores.records.backend.Backend`."""

    far = True
    gives_back = False
    alone = False

    def numbers(self, width: int) -> Subquery:
        """The elements of the JSON parameter."""
        element = _elements(NUMBERS)
        if width == 1:
            return select(cast(cast(element, Text), BigInteger).label("n0")).subquery()
        columns = [
            cast(element.op("->>")(text(str(index))), BigInteger).label(f"n{index}")
            for index in range(width)
        ]
        return select(*columns).subquery()

    def given(self, kinds: Sequence[type]) -> CTE:
        """The elements of the JSON parameter, with their places."""
        document = cast(bindparam(GIVEN, type_=Text), JSONB)
        source = (
            func.jsonb_array_elements(document)
            .table_valued("element", with_ordinality="number")
            .render_derived()
        )
        values = [source.c.element.op("->>")(text(str(index))) for index in range(len(kinds))]
        columns = [
            (cast(value, BigInteger) if kind is int else cast(value, Text)).label(f"v{index}")
            for index, (value, kind) in enumerate(zip(values, kinds, strict=True))
        ]
        place = (source.c.number - 1).label("place")
        return select(place, *columns).cte("given").prefix_with("MATERIALIZED")

    def cell(self, shape: Shape, key: str) -> ColumnElement[Any]:
        """The column's text form, which its type reads back exactly."""
        return cast(shape.column(key), Text)

    def value(self, shape: Shape, key: str, parameter: str) -> ColumnElement[Any]:
        """The parameter's text, read by the column's type."""
        return _typed(bindparam(parameter, type_=Text), shape, key)

    def cells(self, shape: Shape, keys: Sequence[str], rows: Sequence[Cells]) -> Sequence[Cells]:
        """JSON scalars that the cast to the column's type reads."""
        if not (rows and keys):
            return rows
        columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
        for index, key in enumerate(keys):
            process = shape.processors.get(key)
            values = columns[index] if process is None else list(map(process, columns[index]))
            kinds = set(map(type, values))
            columns[index] = values if kinds <= _PLAIN else list(map(_scalar, values))
        return list(zip(*columns, strict=True))

    def values(
        self, connection: Connection, shape: Shape, keys: Sequence[str], rows: Sequence[Cells]
    ) -> Sequence[Sequence[Any]]:
        """Their texts, read by the types of the columns."""
        if not (rows and keys):
            return [() for _ in rows]
        element = _elements(_ROWS)
        columns = [
            type_coerce(_cell(element, index, shape, key), shape.column(key).type).label(
                f"c{index}"
            )
            for index, key in enumerate(keys)
        ]
        place = cast(element.op("->>")(text(str(len(keys)))), BigInteger)
        numbered = [(*row, number) for number, row in enumerate(rows)]
        found = connection.execute(select(*columns).order_by(place), {_ROWS: _document(numbered)})
        return list(found)

    def insert(
        self, connection: Connection, shape: Shape, keys: Sequence[str], rows: Sequence[Row]
    ) -> None:
        """One INSERT from the JSON document."""
        _insert(shape, tuple(keys)).run(connection, **{_ROWS: _document(rows)})

    def update(
        self, connection: Connection, shape: Shape, keys: Sequence[str], rows: Sequence[Row]
    ) -> None:
        """One UPDATE from the JSON document."""
        _update(shape, tuple(keys)).run(connection, **{_ROWS: _document(rows)})

    def take_turn(self, connection: Connection, tables: Sequence[str]) -> None:
        """An advisory lock for each, until the end of the transaction."""
        for table in sorted(tables):
            _turn(connection.dialect).run(connection, table=table)

    def allocate(self, connection: Connection, shape: Shape, table_id: int, count: int) -> int:
        """Take a block from the key's own sequence.

        A counter in a row would make every writer wait for the commit of the one before. Of
        numbers drawn one after the other a neighbour may have drawn some: such a block is left,
        and another one drawn under a lock of a few hundred microseconds. That is taken in a
        savepoint and goes with it, while the sequence stays where it was moved; but the client
        forgets its prepared statements then, so it is not the first way. Who inserts without the
        port may take a number in between even so; then the next block is drawn.
        """
        moved = _next_numbers(shape, "%(count)s")
        drawn = run_sql(connection, moved, {"count": count}).rows[0]
        for _ in range(_ALLOCATIONS):
            first, last = drawn
            if first is None:
                raise PluginInvalid(
                    f"{shape.name}.id has no sequence; declare it as an integer primary key"
                )
            if last - first + 1 == count:
                return int(first)
            _, _, (drawn,), *_ = run_journey(
                connection,
                "SAVEPOINT record_ids",
                f"SELECT pg_advisory_xact_lock({_LOCK_SPACE}, {int(table_id)})",
                _next_numbers(shape, str(int(count))),
                "ROLLBACK TO SAVEPOINT record_ids",
                "RELEASE SAVEPOINT record_ids",
            )
        raise StoreUnavailable(f"no {count} ids in a row could be had for {shape.name}; try again")

    def note_new(self, connection: Connection, several: Sequence[New]) -> None:
        """One statement, whose server counts from the first to the last of each."""
        given = {NUMBERS: orjson.dumps(several).decode()}
        _note_new(connection.dialect).run(connection, **given)


_PLAIN = frozenset({str, int, bool, type(None)})


def _document(rows: Sequence[Cells]) -> str:
    return orjson.dumps(rows).decode()


def _scalar(value: Any) -> Any:
    """A Python value as a JSON scalar; raises TypeError for one that PostgreSQL cannot cast."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    for kind, write in _WRITERS:
        if isinstance(value, kind):
            return write(value)
    raise TypeError(f"a record cannot hold {type(value).__name__}; give a value of its column")


def _bytes_text(value: Any) -> str:
    return f"\\x{bytes(value).hex()}"


def _json_text(value: Any) -> str:
    written = (value.dumps or orjson.dumps)(value.obj)
    return written if isinstance(written, str) else written.decode()


_WRITERS: list[tuple[type | tuple[type, ...], Callable[[Any], Any]]] = [
    (str, str.__str__),
    (int, int),
    ((Decimal, UUID), str),
    ((datetime, date, time), lambda value: value.isoformat()),
    (timedelta, lambda value: f"{value.days} days {value.seconds}.{value.microseconds:06} seconds"),
    (Binary, lambda value: _bytes_text(value.obj)),
    ((bytes, bytearray, memoryview), _bytes_text),
    ((Json, Jsonb), _json_text),
]


def _elements(parameter: str) -> ColumnElement[Any]:
    document = cast(bindparam(parameter, type_=Text), JSONB)
    return func.jsonb_array_elements(document).column_valued("element")


def _cell(element: ColumnElement[Any], index: int, shape: Shape, key: str) -> ColumnElement[Any]:
    """A cell of a row as a value of a column's type."""
    return _typed(element.op("->>")(text(str(index))), shape, key)


def _typed(found: ColumnElement[Any], shape: Shape, key: str) -> ColumnElement[Any]:
    """Text as a value of a column's type.

    What the column keeps as text stays as it is: a cast to VARCHAR(5) would cut what is
    too long, and say nothing.
    """
    kind = shape.column(key).type.dialect_impl(shape.dialect)
    while isinstance(kind, TypeDecorator):
        kind = kind.impl_instance.dialect_impl(shape.dialect)
    if isinstance(kind, String) and not isinstance(kind, Enum):
        return found
    return cast(found, kind)


@lru_cache(maxsize=16)
def _turn(dialect: Dialect) -> Prepared:
    key = func.hashtext(bindparam("table", type_=Text))
    return prepare(select(func.pg_advisory_xact_lock(text(str(_TURN_SPACE)), key)), dialect)


@lru_cache(maxsize=16)
def _note_new(dialect: Dialect) -> Prepared:
    ranges = PostgresBackend().numbers(4)
    each = func.generate_series(ranges.c.n1, ranges.c.n2).table_valued("record").render_derived()
    source = select(ranges.c.n0, each.c.record, literal(1), ranges.c.n3, false()).select_from(
        ranges.join(each, true())
    )
    return prepare(insert(history).from_select(HISTORY, source), dialect)


@lru_cache(maxsize=512)
def _insert(shape: Shape, keys: tuple[str, ...]) -> Prepared:
    element = _elements(_ROWS)
    values = [_cell(element, index, shape, key) for index, key in enumerate(keys)]
    names = [shape.column(key) for key in keys]
    statement = insert(shape.table).from_select(names, select(*values), include_defaults=False)
    return prepare(statement, shape.dialect)


@lru_cache(maxsize=512)
def _update(shape: Shape, keys: tuple[str, ...]) -> Prepared:
    element = _elements(_ROWS)
    columns = (*keys, "version")
    values = {
        shape.column(key): _cell(element, index, shape, key) for index, key in enumerate(columns)
    }
    same = shape.table.c.id == _cell(element, len(columns), shape, "id")
    return prepare(update(shape.table).values(values).where(same), shape.dialect)


def _next_numbers(shape: Shape, count: str) -> str:
    """Moves the key's sequence; the first and the last number that it gave."""
    table = shape.dialect.identifier_preparer.format_table(shape.table).replace("'", "''")
    table = table.replace("%", "%%") if count.startswith("%") else table
    return (
        "SELECT min(number), max(number) FROM (SELECT "  # noqa: S608 - quoted, and an integer
        # Looked up once by a query of its own: as an argument it would be for each number.
        f"nextval((SELECT pg_get_serial_sequence('{table}', 'id')::regclass)) AS number "
        f"FROM generate_series(1, {count})) AS block"
    )
