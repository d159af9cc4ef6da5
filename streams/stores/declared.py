"""Declared tables: whether those of plug-ins are there, and are as they are declared.

Nobody but whoever declares a table changes it: what is in its columns is theirs. A column that is
lacking would fail every statement on the table, for which a job can but wait, so that it is said
at the start, with the statement that adds it. Columns that nobody declares are left alone: a
table may be one of an application, of which operations change but some.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Dialect,
    Enum,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    Table,
    TypeDecorator,
    exc,
    inspect,
)
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.schema import CreateColumn

from domain.errors import PluginInvalid

_FAMILIES = (Boolean, Integer, LargeBinary, String)
"""Types of which none holds the values of another."""

There = Mapping[str, ReflectedColumn]
"""The columns of a table in the database, by name."""


def missing(connection: Connection, tables: Sequence[Table]) -> list[Table]:
    """Those of the tables that are not there.

    Raises PluginInvalid for one that is there and not as declared, or that refers to none.
    """
    there = _there(connection, tables)
    by_name = _by_name(connection.dialect)
    for table in tables:
        for key in table.foreign_keys:
            _check_reference(connection, key, tables)
    faults = [
        fault
        for table in tables
        if (found := there.get((table.schema, by_name(table.name)))) is not None
        for fault in _faults(table, found, connection.dialect)
    ]
    if faults:
        raise PluginInvalid("; ".join(faults))
    return [table for table in tables if (table.schema, by_name(table.name)) not in there]


def _there(connection: Connection, tables: Sequence[Table]) -> dict[tuple[str | None, str], There]:
    """What is there of the tables, by schema and name."""
    inspector, by_name = inspect(connection), _by_name(connection.dialect)
    found: dict[tuple[str | None, str], There] = {}
    for schema in {table.schema for table in tables}:
        wanted = {by_name(table.name) for table in tables if table.schema == schema}
        names = [name for name in inspector.get_table_names(schema) if by_name(name) in wanted]
        if names:
            columns = inspector.get_multi_columns(schema=schema, filter_names=names)
            for (_, name), each in columns.items():
                found[schema, by_name(name)] = {by_name(one["name"]): one for one in each}
    return found


def _by_name(dialect: Dialect) -> Callable[[str], str]:
    """A name as it is told from others: SQLite heeds no upper and lower case."""
    return str.lower if dialect.name == "sqlite" else str


def _faults(table: Table, there: There, dialect: Dialect) -> list[str]:
    by_name = _by_name(dialect)
    declared = {by_name(column.name): column for column in table.columns}
    lacking = [column for name, column in declared.items() if name not in there]
    pairs = [(column, there[name]) for name, column in declared.items() if name in there]
    return [
        *(_lacking(column, dialect) for column in lacking),
        *(_other(column, one, dialect) for column, one in pairs if _differ(column, one, dialect)),
    ]


def _lacking(column: Column[Any], dialect: Dialect) -> str:
    definition = " ".join(str(CreateColumn(column).compile(dialect=dialect)).split())
    rows = ""
    if not column.nullable and column.server_default is None:
        definition += " DEFAULT ..."
        rows = " (with what the rows that are there shall have)"
    return (
        f"the table {column.table.name} has no column {column.name} in the database; run "
        f"{_alter(column.table, dialect)} ADD COLUMN {definition}{rows}"
    )


def _other(column: Column[Any], there: ReflectedColumn, dialect: Dialect) -> str:
    declared = column.type.compile(dialect=dialect)
    name = dialect.identifier_preparer.format_column(column)
    return (
        f"{column} is {there['type'].compile(dialect=dialect)} in the database, and declared as "
        f"{declared}; run {_alter(column.table, dialect)} ALTER COLUMN {name} TYPE {declared} "
        "USING ... (with how the values that are there become such)"
    )


def _alter(table: Any, dialect: Dialect) -> str:
    return f"ALTER TABLE {dialect.identifier_preparer.format_table(table)}"


def _differ(column: Column[Any], there: ReflectedColumn, dialect: Dialect) -> bool:
    """Whether a column cannot hold what is declared. SQLite's take values of any type."""
    if dialect.name == "sqlite":
        return False
    kinds = _family(column.type.dialect_impl(dialect)), _family(there["type"])
    return None not in kinds and kinds[0] is not kinds[1]


def _family(kind: Any) -> type[Any] | None:
    if isinstance(kind, Enum | TypeDecorator):
        return None
    return next((family for family in _FAMILIES if isinstance(kind, family)), None)


def _check_reference(connection: Connection, key: ForeignKey, tables: Sequence[Table]) -> None:
    """Raise PluginInvalid for what refers to no table; SQLite would say so at the first write."""
    table, name = key.parent.table, key.target_fullname.rpartition(".")[0]
    inspector = inspect(connection)
    if name not in {other.fullname for other in tables}:
        schema, _, bare = name.rpartition(".")
        if not inspector.has_table(bare, schema or None):
            raise PluginInvalid(
                f"{key.parent} refers to the table {name}, which is not there and which no "
                "operation declares; name it in tables=[...] as well"
            )
    try:
        _ = key.column
    except exc.NoReferenceError as error:
        # One that somebody else has made needs nothing more; to make it takes the other one.
        if not inspector.has_table(table.name, schema=table.schema):
            raise PluginInvalid(
                f"{key.parent} refers to {key.target_fullname}, which the MetaData of its table "
                "does not have; declare both tables in one MetaData"
            ) from error
