"""What the records port knows of a declared table, worked out once for each dialect."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Column, Dialect, Enum, Integer, Numeric, String, Table
from sqlalchemy.sql.schema import ScalarElementColumnDefault

from domain.errors import PluginInvalid
from domain.records import RecordTable

OWN = ("id", "version", "tenant")
"""The columns that the port itself fills; all others are business columns."""

Processor = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A table that takes part, with the dialect that it is seen through.

    ``processors`` turn a Python value into the driver's; ``constants`` are the declared
    scalar defaults; ``computed`` columns have a default that is none; ``reals`` are the
    indexes among the business columns that may hold floats; ``plain`` columns are read as
    the driver gives them.
    """

    table: Table
    dialect: Dialect
    business: tuple[str, ...]
    processors: Mapping[str, Processor]
    constants: Mapping[str, Any]
    reals: tuple[int, ...]
    computed: frozenset[str]
    plain: frozenset[str]

    @property
    def name(self) -> str:
        """The table's name in the database."""
        return str(self.table.name)

    def column(self, key: str) -> Column[Any]:
        """A column by its key."""
        return self.table.columns[key]

    def is_plain(self, keys: Sequence[str]) -> bool:
        """Whether the driver's own rows have the Python values of those columns."""
        return self.plain.issuperset(keys)

    def check_columns(self, keys: Sequence[str]) -> None:
        """Raise PluginInvalid for a key that is no business column."""
        for key in keys:
            if key not in self.business:
                own = ", ".join(self.business)
                raise PluginInvalid(f"{self.name} has no column {key!r} to write; it has: {own}")


def shape_of(table: RecordTable, dialect: Dialect) -> Shape:
    """The shape of a declared table; raises PluginInvalid when it cannot take part."""
    if not isinstance(table, Table):
        raise PluginInvalid(f"{table.name}: declare records as a sqlalchemy.Table")
    return _shape_of(table, dialect)


@lru_cache(maxsize=512)
def _shape_of(table: Table, dialect: Dialect) -> Shape:
    missing = [key for key in OWN if key not in table.columns]
    if missing:
        raise PluginInvalid(f"{table.name} lacks {', '.join(missing)}; every record table has them")
    business = [column for column in table.columns if column.key not in OWN]
    for column in business:
        if column.onupdate is not None:
            raise PluginInvalid(f"{column} has onupdate, which nothing runs here; set the value")
    processors = {column.key: _processor(column, dialect) for column in business}
    return Shape(
        table=table,
        dialect=dialect,
        business=tuple(str(column.key) for column in business),
        processors={key: found for key, found in processors.items() if found is not None},
        constants={
            column.key: column.default.arg
            for column in business
            if isinstance(column.default, ScalarElementColumnDefault)
        },
        reals=tuple(
            index for index, column in enumerate(business) if isinstance(column.type, Numeric)
        ),
        computed=frozenset(
            column.key
            for column in business
            if column.default is not None
            and not isinstance(column.default, ScalarElementColumnDefault)
        ),
        plain=frozenset(column.key for column in table.columns if _is_plain(column, dialect)),
    )


def completed(
    shape: Shape, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> tuple[tuple[str, ...], Sequence[tuple[Any, ...]]]:
    """Columns and rows with the declared scalar defaults of the columns that are not given."""
    shape.check_columns(columns)
    for key in shape.computed.difference(columns):
        raise PluginInvalid(
            f"{shape.name}.{key} has a default that Python computes; give the value, "
            "or declare a server_default"
        )
    added = {key: value for key, value in shape.constants.items() if key not in columns}
    if not added:
        return tuple(columns), rows
    more = tuple(added.values())
    return (*columns, *added), [(*row, *more) for row in rows]


def _is_plain(column: Column[Any], dialect: Dialect) -> bool:
    kind = column.type
    if isinstance(kind, Enum) or not isinstance(kind, Integer | String):
        return False
    return kind.dialect_impl(dialect).result_processor(dialect, None) is None


def _processor(column: Column[Any], dialect: Dialect) -> Processor | None:
    return column.type.dialect_impl(dialect).bind_processor(dialect)
