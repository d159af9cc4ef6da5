"""Statements of the hot path: built by SQLAlchemy, compiled once, run on the driver's cursor.

The engine runs the same few dozen statements for every chunk. SQLAlchemy quotes them and
knows both dialects; what it does around each execution would cost several times the
statement itself. Values go to the driver as they are and rows are the driver's tuples, so
a truth value may come back as 0 or 1; errors are SQLAlchemy's, as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import orjson
from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Connection,
    Dialect,
    Table,
    Text,
    and_,
    bindparam,
    cast,
    exc,
    func,
    insert,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.expression import ClauseElement

from streams.stores.infrastructure import own
from streams.stores.pipeline import FEW, MOST_KEPT, commit_with, pipeline_of, take_kept

INSERTS: Mapping[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
"""The INSERT that knows ON CONFLICT, by the name of the dialect."""

Row = tuple[Any, ...]
Build = Callable[[Dialect], ClauseElement]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement returned and how many rows it touched."""

    rows: list[Row]
    count: int

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def first(self) -> Row | None:
        """The first row, if there is one."""
        return self.rows[0] if self.rows else None

    def scalar(self) -> Any:
        """The first value of the first row; None when there is no row."""
        return self.rows[0][0] if self.rows else None


@dataclass(frozen=True, slots=True)
class Prepared:
    """SQL text with the order of its parameters (``None``: they are given by name)."""

    sql: str
    order: tuple[str, ...] | None
    constants: Mapping[str, Any]

    def run(self, connection: Connection, **values: Any) -> Answer:
        """Run it once."""
        return run_sql(connection, self.sql, self._given(values))

    def ahead(self, connection: Connection, **values: Any) -> Answer:
        """As ``run``, before what was sent (:func:`run_sql_ahead`)."""
        return run_sql_ahead(connection, self.sql, self._given(values))

    def send(self, connection: Connection, **values: Any) -> None:
        """As ``run``, for what nobody waits to hear (:func:`send_sql`)."""
        send_sql(connection, self.sql, self._given(values))

    def run_many(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Run it for each row of values, which stand in the order of the parameters."""
        run_sql_many(connection, self.sql, rows)

    def _given(self, values: Mapping[str, Any]) -> Any:
        given = {**self.constants, **values} if self.constants else values
        return given if self.order is None else [given[name] for name in self.order]


class Statement:
    """A statement in the dialect of whatever connection it is run on.

    ``build`` makes it for a dialect, at its first use; every bind parameter without a value
    must be given to ``run``.
    """

    def __init__(self, build: Build) -> None:
        self._build = build
        self._prepared: dict[str, Prepared] = {}

    def run(self, connection: Connection, **values: Any) -> Answer:
        """Run it once, with values by the names of its parameters."""
        return self._for(connection.dialect).run(connection, **values)

    def ahead(self, connection: Connection, **values: Any) -> Answer:
        """As ``run``, before what was sent (:func:`run_sql_ahead`)."""
        return self._for(connection.dialect).ahead(connection, **values)

    def send(self, connection: Connection, **values: Any) -> None:
        """As ``run``, for what nobody waits to hear (:func:`send_sql`)."""
        self._for(connection.dialect).send(connection, **values)

    def run_many(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run it for each row of values by name."""
        sql, given = self._many(connection, rows)
        if given:
            run_sql_many(connection, sql, given)

    def send_many(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """As ``run_many``, for what nobody waits to hear (:func:`send_sql_many`)."""
        sql, given = self._many(connection, rows)
        if given:
            send_sql_many(connection, sql, given)

    def _many(
        self, connection: Connection, rows: Sequence[Mapping[str, Any]]
    ) -> tuple[str, list[Any]]:
        prepared = self._for(connection.dialect)
        given: list[Any] = [{**prepared.constants, **row} for row in rows]
        if prepared.order is not None:
            given = [[row[name] for name in prepared.order] for row in given]
        return prepared.sql, given

    def _for(self, dialect: Dialect) -> Prepared:
        found = self._prepared.get(dialect.name)
        if found is None:
            found = self._prepared[dialect.name] = prepare(self._build(dialect), dialect)
        return found


def fixed(statement: ClauseElement) -> Statement:
    """A statement that is the same in every dialect."""
    return Statement(lambda _: statement)


def insertion(table: Table, *names: str, or_ignore: bool = False) -> Statement:
    """An INSERT of those columns; ``or_ignore`` leaves a row that is there as it is."""
    values: dict[str, Any] = {name: bindparam(name) for name in names}
    if not or_ignore:
        return fixed(insert(table).values(values))
    return Statement(
        lambda dialect: INSERTS[dialect.name](table).values(values).on_conflict_do_nothing()
    )


def prepare(statement: ClauseElement, dialect: Dialect) -> Prepared:
    """Compile a statement."""
    compiled = statement.compile(dialect=dialect)
    positions: Sequence[str] | None = getattr(compiled, "positiontup", None)
    constants = {name: value for name, value in compiled.params.items() if value is not None}
    return Prepared(str(compiled), None if positions is None else tuple(positions), constants)


def among(
    column: ColumnElement[Any], dialect: Dialect, parameter: str = "numbers"
) -> ColumnElement[bool]:
    """Whether a column is one of the integers of a JSON list parameter (see :func:`listed`).

    On PostgreSQL the least and the greatest of them are said as well, for which an index is asked
    whatever is known of the table: a plan made while a job had no rows, which is kept, would take
    the index for the job alone, and read all that it has by then.
    """
    if dialect.name == "sqlite":
        each = func.json_each(bindparam(parameter)).table_valued("value")
        return column.in_(select(each.c.value))
    elements = func.json_array_elements(cast(bindparam(parameter), JSON)).column_valued("element")
    integer = cast(cast(elements, Text), BigInteger)
    least, greatest = (select(of(integer)).scalar_subquery() for of in (func.min, func.max))
    return and_(column >= least, column <= greatest, column.in_(select(integer)))


def listed(values: Sequence[int]) -> str:
    """Integers as the parameter that :func:`among` reads."""
    return orjson.dumps(values).decode()


def run_sql(connection: Connection, sql: str, given: Any) -> Answer:
    """Run SQL text in the driver's own parameter style."""
    _begin(connection)
    send_kept(connection)
    return run_bare(connection, sql, given)


def run_bare(connection: Connection, sql: str, given: Any) -> Answer:
    """As ``run_sql``, for what itself begins the transaction, or goes before what was sent."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(sql, given)
        return Answer(_rows(cursor), cursor.rowcount)
    except Exception as error:
        _raise(connection, sql, given, error)
    finally:
        cursor.close()


def run_sql_ahead(connection: Connection, sql: str, given: Any) -> Answer:
    """As ``run_sql``, for what does not depend on anything that was sent."""
    _begin(connection)
    return run_bare(connection, sql, given)


def run_journey(connection: Connection, *statements: str) -> list[list[Row]]:
    """Run statements without parameters in one round trip to PostgreSQL; the rows of each."""
    _begin(connection)
    send_kept(connection)
    sql = "; ".join(statements)
    cursor: Any = connection.connection.cursor()
    try:
        # Several statements cannot be one prepared statement.
        cursor.execute(sql, prepare=False)
        return [_rows(cursor), *(_rows(cursor) for _ in iter(cursor.nextset, None))]
    except Exception as error:
        _raise(connection, sql, (), error)
    finally:
        cursor.close()


def send_sql(connection: Connection, sql: str, given: Any) -> None:
    """Run SQL text of which nobody waits to hear what became, by the commit at the latest.

    Whoever asks or commits next raises its error (:mod:`.pipeline`), so nothing is sent whose
    error somebody handles where it stands.
    """
    kept = pipeline_of(connection)
    if kept is None:
        run_sql(connection, sql, given)
        return
    kept.append((sql, given))
    if len(kept) > MOST_KEPT:
        send_kept(connection)


def send_sql_many(connection: Connection, sql: str, given: Sequence[Any]) -> None:
    """As ``send_sql``, for each set of parameters; for many the driver has a mode of its own."""
    if pipeline_of(connection) is None or len(given) > FEW:
        run_sql_many(connection, sql, given)
        return
    for each in given:
        send_sql(connection, sql, each)


def send_kept(connection: Connection) -> None:
    """Run what was sent and not run yet."""
    for sql, given in take_kept(connection):
        run_sql_ahead(connection, sql, given)


def commit_kept(connection: Connection) -> None:
    """Run what was sent and not run yet, and commit; whoever commits then has nothing to do."""
    kept = take_kept(connection)
    if not kept:
        return
    _begin(connection)
    try:
        commit_with(connection.connection.driver_connection, kept)
    except Exception as error:
        _raise(connection, "; ".join([*(sql for sql, _ in kept), "COMMIT"]), (), error)


def run_sql_many(connection: Connection, sql: str, given: Sequence[Any]) -> None:
    """Run SQL text for each set of parameters."""
    _begin(connection)
    send_kept(connection)
    cursor = connection.connection.cursor()
    try:
        cursor.executemany(sql, given)
        if pipeline_of(connection) is not None:
            # The server notices again when this process stands still (see :mod:`.pipeline`).
            cursor.execute("SELECT 1")
    except Exception as error:
        _raise(connection, sql, given, error)
    finally:
        cursor.close()


def _rows(cursor: Any) -> list[Row]:
    # PostgreSQL's client makes a description anew each time that it is asked for.
    result = getattr(cursor, "pgresult", None)
    has_rows = cursor.description if result is None else result.nfields
    return list(cursor.fetchall()) if has_rows else []


def _begin(connection: Connection) -> None:
    """As SQLAlchemy does at the first statement of a connection."""
    if not connection.in_transaction():
        connection.begin()


def _raise(connection: Connection, sql: str, given: Any, error: Exception) -> NoReturn:
    """Raise a driver's error as SQLAlchemy would; all others pass through."""
    dialect = connection.dialect
    base = dialect.loaded_dbapi.Error
    if not isinstance(error, base):
        raise error
    raw = connection.connection
    lost = bool(dialect.is_disconnect(error, raw.dbapi_connection, None))
    if lost:
        connection.invalidate(error)
    fault = exc.DBAPIError.instance(
        sql,
        given,
        error,
        base,
        hide_parameters=connection.engine.hide_parameters,
        connection_invalidated=lost,
        dialect=dialect,
    )
    raise own(fault) from error
