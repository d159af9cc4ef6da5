"""Backend: what differs between SQLite and PostgreSQL when records are written in bulk.

Both take a list of rows as one parameter or one call, never a statement a row sent by us.
A *cell* is a value as the backend keeps it in a before-image (:mod:`.images`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import CTE, ColumnElement, Connection, Subquery

from streams.stores.records.images import Cells
from streams.stores.records.shape import Shape
from streams.stores.statements import Row

NUMBERS = "numbers"
"""Name of the parameter that :meth:`Backend.numbers` reads: JSON text."""
HISTORY = ["table_id", "record_id", "version", "writer", "deleted"]
"""The columns of the history."""
New = tuple[int, int, int, int]
"""Records that are new: the number of their table, the first and last id, and who wrote them."""
GIVEN = "given"
"""Name of the parameter that :meth:`Backend.given` reads: JSON text."""


class Backend(Protocol):
    """One dialect's way to read and write many records at once."""

    far: bool
    """Whether each statement is a journey to another process."""

    gives_back: bool
    """Whether ids that were taken within a savepoint are free again once it is rolled back."""

    alone: bool
    """Whether no other transaction writes between the begin of one and its end."""

    def numbers(self, width: int) -> Subquery:
        """The rows of the parameter ``NUMBERS``: columns ``n0``, ``n1``... of integers.

        The JSON is a list of lists of ``width`` integers, or of integers when it is 1.
        """
        ...

    def given(self, kinds: Sequence[type]) -> CTE:
        """The rows of the parameter ``GIVEN``: columns ``place``, ``v0``, ``v1``... of those types.

        The JSON is a list of lists of integers and strings.
        """
        ...

    def cell(self, shape: Shape, key: str) -> ColumnElement[Any]:
        """The expression that reads a column as a cell."""
        ...

    def value(self, shape: Shape, key: str, parameter: str) -> ColumnElement[Any]:
        """A parameter that is given a cell, as a value of the column's type."""
        ...

    def cells(self, shape: Shape, keys: Sequence[str], rows: Sequence[Cells]) -> Sequence[Cells]:
        """Python values as cells; raises TypeError for one that has no place in its column."""
        ...

    def values(
        self, connection: Connection, shape: Shape, keys: Sequence[str], rows: Sequence[Cells]
    ) -> Sequence[Sequence[Any]]:
        """Cells as the Python values of their columns, as a query would have given them."""
        ...

    def insert(
        self, connection: Connection, shape: Shape, keys: Sequence[str], rows: Sequence[Row]
    ) -> None:
        """Insert rows of cells; ``keys`` starts with id, version, tenant."""
        ...

    def update(
        self, connection: Connection, shape: Shape, keys: Sequence[str], rows: Sequence[Row]
    ) -> None:
        """Set columns by id; each row is the new cells of ``keys``, new version, id."""
        ...

    def take_turn(self, connection: Connection, tables: Sequence[str]) -> None:
        """Wait until no other transaction that has taken its turn at a table is open."""
        ...

    def allocate(self, connection: Connection, shape: Shape, table_id: int, count: int) -> int:
        """Take ``count`` ids that nobody had before, consecutive; returns the first."""
        ...

    def note_new(self, connection: Connection, several: Sequence[New]) -> None:
        """Write the history of new records, which may be gone by now."""
        ...
