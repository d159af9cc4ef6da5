"""Item models that follow from a declared table, and what its columns refer to."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Annotated, Any, Protocol

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, JsonValue, create_model

from domain.errors import PluginInvalid
from domain.records import RecordTable

OWN = ("id", "version", "tenant")
MAX_TEXT = 1_000_000
MAX_INTEGER = 2**63 - 1

_CONFIG = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

_PLAIN: dict[type, Any] = {
    bool: bool,
    float: float,
    dt.date: dt.date,
    dt.datetime: dt.datetime,
    dt.time: dt.time,
    bytes: Base64Bytes,
    dict: JsonValue,
}


class RecordColumn(Protocol):
    """What is asked of a column of a SQLAlchemy table."""

    @property
    def key(self) -> str:
        """The name in records and items; of a subclass of str, which orjson writes nowhere."""
        ...

    @property
    def nullable(self) -> bool | None:
        """Whether it may be NULL."""
        ...

    @property
    def type(self) -> Any:
        """Its type, with ``python_type``."""
        ...

    @property
    def default(self) -> Any:
        """A default of Python's, or None."""
        ...

    @property
    def server_default(self) -> Any:
        """A default of the database's, or None."""
        ...

    @property
    def foreign_keys(self) -> Iterable[Any]:
        """What it refers to."""
        ...


class DeclaredTable(RecordTable, Protocol):
    """A SQLAlchemy table, seen through its columns."""

    @property
    def columns(self) -> Any:
        """The columns by key, in order; iterable."""
        ...


def new_model(table: DeclaredTable, stamps: Sequence[str]) -> type[BaseModel]:
    """The item of a create: what has no default is required, ``stamps`` are left out."""
    fields: dict[str, Any] = {}
    for column in _business(table, stamps):
        given = column.default is not None or column.server_default is not None
        required = not column.nullable and not given
        fields[str(column.key)] = (_annotation(table, column), ... if required else None)
    return create_model(f"new_{table.name}", __config__=_CONFIG, **fields)


def changed_model(table: DeclaredTable, stamps: Sequence[str]) -> type[BaseModel]:
    """The item of an update: an id, the version it must have, and what is to change."""
    fields: dict[str, Any] = {
        "id": (Annotated[int, Field(ge=1, le=MAX_INTEGER)], ...),
        "version": (Annotated[int, Field(ge=1)] | None, None),
    }
    for column in _business(table, stamps):
        fields[str(column.key)] = (_annotation(table, column), None)
    return create_model(f"changed_{table.name}", __config__=_CONFIG, **fields)


def references(table: DeclaredTable) -> dict[str, RecordTable]:
    """The record tables that columns refer to by id, by the column's key."""
    return {
        column.key: reference.column.table
        for column in table.columns
        for reference in column.foreign_keys
        if reference.column.key == "id" and set(OWN) <= set(reference.column.table.columns.keys())
    }


def _business(table: DeclaredTable, stamps: Sequence[str]) -> list[RecordColumn]:
    return [column for column in table.columns if column.key not in (*OWN, *stamps)]


def _annotation(table: DeclaredTable, column: RecordColumn) -> Any:
    bounded = _bounded(table, column)
    return bounded | None if column.nullable else bounded


def _bounded(table: DeclaredTable, column: RecordColumn) -> Any:
    try:
        kind = column.type.python_type
    except NotImplementedError:
        kind = object
    if kind is str:
        length = getattr(column.type, "length", None) or MAX_TEXT
        return Annotated[str, Field(max_length=length)]
    if kind is int:
        return Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)]
    if kind is Decimal:
        precision, scale = column.type.precision, column.type.scale
        return Annotated[Decimal, Field(max_digits=precision, decimal_places=scale)]
    if kind not in _PLAIN:
        raise PluginInvalid(
            f"{table.name}.{column.key}: no model follows from {column.type!r}; give one"
        )
    return _PLAIN[kind]
