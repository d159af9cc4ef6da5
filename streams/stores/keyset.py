"""Keyset: pages of a sorted list that stay whole while rows come and go.

A cursor names the last row of a page by its sort value and its key; the next page is
what stands behind that row. It travels as opaque text and is checked when it comes back. Rows
are sorted by the beginning of a long text, so that a cursor, which has it, fits into an address.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import Column, ColumnElement, Text, UnaryExpression, func, literal, tuple_

from domain.errors import InvalidCommand

MAX_CURSOR = 20_000
"""Characters; cursors of releases before had all of a name, 4,000 characters of up to 4 bytes."""
BEGINNING: Final = 250
"""By so many characters of a text rows are sorted."""


@dataclass(frozen=True, slots=True)
class Sort:
    """By which column, and in which direction; rows that are equal go by their key."""

    name: str
    column: Column[Any]
    descending: bool

    @property
    def _value(self) -> ColumnElement[Any]:
        if isinstance(self.column.type, Text):
            return func.substr(self.column, 1, BEGINNING, type_=self.column.type)
        return self.column

    def order(self, key: Column[str]) -> tuple[UnaryExpression[Any], UnaryExpression[str]]:
        """For ORDER BY."""
        if self.descending:
            return self._value.desc(), key.desc()
        return self._value.asc(), key.asc()

    def cursor(self, value: Any, key: str) -> str:
        """The text that leads to what is behind the row."""
        said = orjson.dumps([self.name, self._begun(value), key])
        return base64.urlsafe_b64encode(said).decode()

    def behind(self, cursor: str, key: Column[str]) -> ColumnElement[bool]:
        """For WHERE; raises InvalidCommand for a cursor that ``cursor`` did not make."""
        row = tuple_(self._value, key)
        last = tuple_(*map(literal, self._last(cursor)))
        return row < last if self.descending else row > last

    def _last(self, cursor: str) -> tuple[Any, str]:
        try:
            if len(cursor) > MAX_CURSOR:
                raise _foreign()
            name, value, key = orjson.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
        except (binascii.Error, ValueError, TypeError) as error:
            raise _foreign() from error
        if name != self.name:
            raise InvalidCommand(
                "the cursor belongs to another sort; begin again without a cursor",
                pointer="/cursor",
            )
        if not (_fits(value, self.column.type.python_type) and _fits(key, str)):
            raise _foreign()
        return self._begun(value), key

    def _begun(self, value: Any) -> Any:
        """A value of the column as rows are sorted by it."""
        return value[:BEGINNING] if isinstance(self.column.type, Text) else value


def parse_sort(text: str, columns: Mapping[str, Column[Any]]) -> Sort:
    """``name`` or ``-name``; raises InvalidCommand that tells the names there are."""
    column = columns.get(text.removeprefix("-"))
    if column is None:
        raise InvalidCommand(
            f"sort must be one of {', '.join(columns)}, with a minus before it for descending",
            pointer="/sort",
        )
    return Sort(text, column, text.startswith("-"))


def _fits(value: object, kind: type) -> bool:
    """Whether the database can compare a column of that type with it."""
    if isinstance(value, str):
        return kind is str and "\0" not in value
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return kind in (int, float) and abs(value) < 2**31
    return kind is float and isinstance(value, float)


def _foreign() -> InvalidCommand:
    return InvalidCommand(
        "the cursor is not one of ours; use next_cursor of the page before, or none",
        pointer="/cursor",
    )
