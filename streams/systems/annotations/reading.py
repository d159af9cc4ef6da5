"""Reading: records of a project, one or a page of them. Every statement names the tenant."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, func, select

from domain.errors import RecordNotFound
from domain.systems.annotations import tables
from domain.systems.annotations.kinds import LABELS, PROJECTS, TEXTS, Kind
from streams.stores.caseless import contains

EXCERPT: Final = 200
"""So many characters of a text stand in a list: whole, a page of them could be too much."""

Row = Mapping[str, Any]
Condition = Callable[[Any, Any], ColumnElement[bool]]
"""Of a table's columns and a value."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A page, and how many there are in all."""

    items: Sequence[Row]
    total: int


def _is(name: str) -> Condition:
    return lambda columns, value: columns[name] == value


def _contains(name: str) -> Condition:
    return lambda columns, value: contains(columns[name], value)


_MADE: Final[Mapping[str, Condition]] = {
    "created_by": _is("created_by"),
    "created_after": lambda columns, value: columns.created_at >= value,
    "created_before": lambda columns, value: columns.created_at < value,
}
_MARKED: Final[Mapping[str, Condition]] = {
    "label_id": _is("label_id"),
    "confidence_min": lambda columns, value: columns.confidence_score >= value,
    "confidence_max": lambda columns, value: columns.confidence_score <= value,
    **_MADE,
}
FILTERS: Final[Mapping[str, Mapping[str, Condition]]] = {
    "projects": {"q": _contains("name"), **_MADE},
    "members": {"subject": _is("subject"), "role": _is("role")},
    "texts": {"q": _contains("content"), **_MADE},
    "labels": {"q": _contains("name")},
    "images": {"q": _contains("file_name"), **_MADE},
    "mappings": {"q": _contains("name"), **_MADE},
    "annotations": {"text_id": _is("text_id"), **_MARKED},
    "boxes": {"image_id": _is("image_id"), **_MARKED},
    "validation_rules": {"q": _contains("name")},
    "validation_thresholds": {},
}
"""By what a list is narrowed, by kind; times are seconds since the epoch."""


def found(connection: Connection, tenant: str, kind: Kind, project_id: int, key: int) -> Row:
    """A record; raises RecordNotFound unless the project of the tenant has it."""
    table = kind.table
    home = table.c.id if kind is PROJECTS else table.c.project_id
    row = connection.execute(
        select(table).where(table.c.id == key, home == project_id, table.c.tenant == tenant)
    ).first()
    if row is None:
        raise RecordNotFound(f"project {project_id} has no {kind.one} {key}; check the id")
    return _plain(row)


def mapping_named(
    connection: Connection, tenant: str, project_id: int, name: str
) -> Mapping[str, Any] | None:
    """The field mapping of that name, as a JSON object; None where the project has none."""
    columns = tables.mappings.c
    text = connection.scalar(
        select(columns.mapping).where(
            columns.tenant == tenant, columns.project_id == project_id, columns.name == name
        )
    )
    return None if text is None else dict(json.loads(text))


def page(
    connection: Connection,
    kind: Kind,
    conditions: Sequence[ColumnElement[bool]],
    wanted: Mapping[str, Any],
    *,
    limit: int,
    offset: int,
) -> Rows:
    """Records that meet the conditions and the filters in ``wanted``, by id; labels by order."""
    table = kind.table
    known = FILTERS[kind.name]
    where = [*conditions, *(known[name](table.c, value) for name, value in wanted.items())]
    total = connection.scalar(select(func.count()).select_from(table).where(*where)) or 0
    order = [table.c.order, table.c.id] if kind is LABELS else [table.c.id]
    rows = connection.execute(
        select(*_listed(kind, table)).where(*where).order_by(*order).limit(limit).offset(offset)
    )
    return Rows([_plain(row) for row in rows], total)


def _listed(kind: Kind, table: Table) -> list[ColumnElement[Any]]:
    if kind is not TEXTS:
        return list(table.c)
    content = tables.texts.c.content
    rest = [column for column in table.c if column is not content]
    excerpt = func.substr(content, 1, EXCERPT).label("excerpt")
    return [*rest, excerpt, func.length(content).label("length")]


def _plain(row: Any) -> Row:
    """By the names of the columns, which are of a subclass of str that no JSON is written of."""
    return {str(name): value for name, value in row._mapping.items()}
