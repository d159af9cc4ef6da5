"""Changes: what writes that are still in their transaction would leave, item by item.

Read off the before-images and the records as they now are. A document has bounds: long
values are cut, and an item or a chunk that changes very much says how much is left out.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Table

from streams.stores.records.images import Batch, Cells, Images, Kind
from streams.stores.records.rows import load
from streams.stores.records.shape import Shape, shape_of

MAX_VALUE = 200
"""Characters of a value."""
MAX_CHANGES = 20
"""Records that an item tells of."""
MAX_CHUNK_CHARACTERS = 4_000_000
"""All values of a chunk together, about."""
_FIELD = 10
"""What a name takes beside its values, about."""

Document = dict[str, Any]
Key = tuple[str, int]
"""Table and id."""


@dataclass(frozen=True, slots=True)
class Target:
    """A record that an item would change or delete, at the version that was there."""

    position: int
    table: str
    record: int
    version: int


@dataclass(slots=True)
class Changes:
    """What the items of a chunk would change, by position, and the records behind it."""

    by_position: dict[int, list[Document]] = field(default_factory=dict)
    targets: list[Target] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Write:
    kind: Kind
    key: Key
    columns: tuple[str, ...]
    position: int
    version: int
    before: Cells | None
    after: Cells | None


def changes_of(
    connection: Connection,
    tables: Mapping[str, Table],
    tenant: str,
    images: Images,
    positions: Sequence[int],
) -> Changes:
    """What the writes behind the images change; call it before they are rolled back."""
    shapes = {
        batch.table: shape_of(tables[batch.table], connection.dialect)
        for batch in images.batches
        if batch.table in tables
    }
    writes = _writes(connection, shapes, tenant, images)
    found = Changes({position: [] for position in positions})
    room = MAX_CHUNK_CHARACTERS
    first: dict[Key, int] = {}
    for write in writes:
        # Whichever item comes first: none of the chunk has changed the record for good.
        was = first.setdefault(write.key, write.version - 1)
        if was:
            found.targets.append(Target(write.position, *write.key, was))
        room -= _tell(found.by_position[write.position], write, shapes[write.key[0]], room)
    return found


def seen_targets(images: Images) -> list[Target]:
    """The records that writes have changed or deleted, at the versions that were there before."""
    found: list[Target] = []
    first: set[Key] = set()
    for batch in images.batches:
        for key, position, version in zip(batch.ids, batch.positions, batch.versions, strict=True):
            if (batch.table, key) in first:
                continue
            first.add((batch.table, key))
            if batch.kind is not Kind.INSERTED:
                found.append(Target(position, batch.table, key, version - 1))
    return found


def _tell(told: list[Document], write: _Write, shape: Shape, room: int) -> int:
    """Add a write to what is told of its item; returns the characters that it takes."""
    if len(told) >= MAX_CHANGES or room <= 0:
        if not (told and "more" in told[-1]):
            told.append({"more": 0})
        told[-1]["more"] += 1
        return 0
    document, takes = _document(write, shape)
    told.append(document)
    return takes


def _document(write: _Write, shape: Shape) -> tuple[Document, int]:
    before, after = _named(write.columns, write.before), _named(shape.business, write.after)
    if before is not None and after is not None:
        keys = [key for key in after if before.get(key) != after[key]]
        before = {key: before.get(key) for key in keys}
        after = {key: after[key] for key in keys}
    shown = [_shown(shape, values) for values in (before, after)]
    new = write.kind is Kind.INSERTED
    document = {
        "table": write.key[0],
        # A number that a new record will hardly get.
        "id": None if new else write.key[1],
        "version": None if new else write.version - 1,
        "change": write.kind.value,
        "before": shown[0],
        "after": shown[1],
    }
    values = [value for some in shown for value in (some or {}).values()]
    return document, sum(_FIELD + len(str(value)) for value in values)


def _named(keys: Sequence[str], cells: Cells | None) -> dict[str, Any] | None:
    return None if cells is None else dict(zip(keys, cells, strict=True))


def _shown(shape: Shape, values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if values is None:
        return None
    return {key: _value(shape, key, cell) for key, cell in values.items()}


def _value(shape: Shape, key: str, cell: Any) -> Any:
    """A cell as the same JSON value on every database, cut where it is long."""
    if cell is None:
        return None
    kind = _python_type(shape, key)
    if kind is bool:
        return cell in (1, "1", "t", "true")
    if kind is int:
        return int(cell)
    if kind is float:
        return float(cell)
    if kind is Decimal:
        return format(Decimal(str(cell)).normalize(), "f")
    text = base64.b64encode(cell).decode() if isinstance(cell, bytes) else str(cell)
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…"


def _python_type(shape: Shape, key: str) -> type | None:
    try:
        found: type = shape.column(key).type.python_type
    except NotImplementedError:
        return None
    return found


def _writes(
    connection: Connection, shapes: Mapping[str, Shape], tenant: str, images: Images
) -> list[_Write]:
    """All writes, first to last, each with what it left: what the next one found."""
    left: dict[Key, Cells | None] = {}
    for table, shape in shapes.items():
        ids = [key for batch in images.batches if batch.table == table for key in batch.ids]
        for key, (_, cells) in load(connection, shape, tenant, ids).items():
            left[table, key] = cells
    writes: list[_Write] = []
    for batch in reversed(images.batches):
        if batch.table in shapes:
            for write in _reversed(batch, left):
                left[write.key] = write.before
                writes.append(write)
    writes.reverse()
    return writes


def _reversed(batch: Batch, left: Mapping[Key, Cells | None]) -> Iterator[_Write]:
    for index in range(len(batch.ids) - 1, -1, -1):
        key = batch.table, batch.ids[index]
        yield _Write(
            kind=batch.kind,
            key=key,
            columns=batch.columns,
            position=batch.positions[index],
            version=batch.versions[index],
            before=batch.rows[index] if batch.rows else None,
            after=None if batch.kind is Kind.DELETED else left.get(key),
        )
