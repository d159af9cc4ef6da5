"""Statements compiled once, run with plain parameters.

The records port runs a handful of fixed statements for every chunk. SQLAlchemy builds
and quotes them; running the compiled text leaves out what it would do again each time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, CursorResult, Dialect
from sqlalchemy.sql.expression import ClauseElement

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """SQL text with the order of its parameters (``None``: they are given by name)."""

    sql: str
    order: tuple[str, ...] | None
    constants: Mapping[str, Any]

    def run(self, connection: Connection, **values: Any) -> CursorResult[Any]:
        """Run it once; values go to the driver as they are."""
        given = {**self.constants, **values}
        if self.order is None:
            return connection.exec_driver_sql(self.sql, given)
        return connection.exec_driver_sql(self.sql, tuple(given[name] for name in self.order))

    def run_many(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Run it for each row of values, which stand in the order of the parameters."""
        connection.exec_driver_sql(self.sql, list(rows))


def prepare(statement: ClauseElement, dialect: Dialect) -> Prepared:
    """Compile a statement; all bind parameters without a value must be given to ``run``."""
    compiled = statement.compile(dialect=dialect)
    positions: Sequence[str] | None = getattr(compiled, "positiontup", None)
    constants = {name: value for name, value in compiled.params.items() if value is not None}
    return Prepared(str(compiled), None if positions is None else tuple(positions), constants)
