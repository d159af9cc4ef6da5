"""Before-images: what a chunk's writes have overwritten, as bytes beside its outcome.

A log of batches, in the order of the writes. A cell is a JSON scalar as the backend reads
it: the driver's own value on SQLite, text on PostgreSQL; so every column type comes back
exactly. What JSON lacks is tagged: ``{"bytes": base64}``, ``{"real": "inf"}``.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson

from domain.errors import UnsupportedVersion
from streams.stores.compression import compress, decompress

FORMAT = 1

Cells = Sequence[Any]


class Kind(StrEnum):
    """What was done to the records of a batch."""

    INSERTED = "inserted"
    UPDATED = "updated"
    DELETED = "deleted"


@dataclass(slots=True)
class Batch:
    """Writes of one kind to one table; the lists have one entry a write.

    ``versions`` are those that the writes have left, ``positions`` the items that caused
    them, ``rows`` the values of ``columns`` before (none for inserts).
    """

    kind: Kind
    table: str
    columns: tuple[str, ...] = ()
    ids: list[int] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    rows: list[Cells] = field(default_factory=list)

    def continues(self, other: Batch) -> bool:
        """Whether the writes of this batch may be appended to the other."""
        return (self.kind, self.table, self.columns) == (other.kind, other.table, other.columns)

    def extend(self, other: Batch) -> None:
        """Append the writes of another batch."""
        self.ids += other.ids
        self.versions += other.versions
        self.positions += other.positions
        self.rows += other.rows

    def truncate(self, length: int) -> None:
        """Forget all writes but the first ``length``."""
        for entries in (self.ids, self.versions, self.positions, self.rows):
            del entries[length:]


@dataclass(slots=True)
class Images:
    """All batches of a chunk.

    ``together`` are items that are put back only together, and, alone, items that count as
    put back though they wrote nothing.
    """

    batches: list[Batch] = field(default_factory=list)
    together: list[list[int]] = field(default_factory=list)

    def append(self, batch: Batch) -> None:
        """Note writes; the batch is the log's own from then on."""
        if not batch.ids:
            return
        if self.batches and batch.continues(self.batches[-1]):
            self.batches[-1].extend(batch)
        else:
            self.batches.append(batch)

    def mark(self) -> tuple[int, int]:
        """The present end of the log, for ``rewind``."""
        return len(self.batches), len(self.batches[-1].ids) if self.batches else 0

    def since(self, mark: tuple[int, int]) -> set[int]:
        """The items that have caused what was noted after the mark."""
        count, length = mark
        found: set[int] = set()
        if count:
            found.update(self.batches[count - 1].positions[length:])
        for batch in self.batches[count:]:
            found.update(batch.positions)
        return found

    def rewind(self, mark: tuple[int, int]) -> None:
        """Forget what was noted after the mark."""
        count, length = mark
        del self.batches[count:]
        if self.batches:
            self.batches[-1].truncate(length)


class Real(float):
    """A float that JSON cannot write: an infinity."""


def encode(images: Images) -> bytes | None:
    """The images as bytes; ``None`` when nothing was written."""
    if not (images.batches or images.together):
        return None
    document = {
        "format": FORMAT,
        "together": images.together,
        "batches": [_batch_document(batch) for batch in images.batches],
    }
    plain = orjson.dumps(document, default=_tagged, option=orjson.OPT_PASSTHROUGH_SUBCLASS)
    return compress(plain)


def decode(data: bytes) -> Images:
    """The images of those bytes; raises UnsupportedVersion for another format."""
    plain = decompress(data)
    document = orjson.loads(plain)
    if document["format"] != FORMAT:
        raise UnsupportedVersion(
            f"before-images of format {document['format']} are of a newer release; upgrade"
        )
    tagged = b'{"bytes":' in plain or b'{"real":' in plain
    return Images(
        batches=[_batch(found, tagged=tagged) for found in document["batches"]],
        together=document["together"],
    )


def _batch_document(batch: Batch) -> dict[str, Any]:
    first, count = batch.ids[0], len(batch.ids)
    plain = batch.kind is Kind.INSERTED and batch.ids == list(range(first, first + count))
    plain = plain and batch.versions.count(1) == count
    return {
        "kind": batch.kind.value,
        "table": batch.table,
        "columns": batch.columns,
        "ids": {"first": first, "count": count} if plain else batch.ids,
        "versions": None if plain else batch.versions,
        "positions": batch.positions,
        "rows": batch.rows,
    }


def _batch(document: dict[str, Any], *, tagged: bool) -> Batch:
    ids = document["ids"]
    if isinstance(ids, dict):
        ids = list(range(ids["first"], ids["first"] + ids["count"]))
    versions = document["versions"]
    rows = document["rows"]
    return Batch(
        kind=Kind(document["kind"]),
        table=document["table"],
        columns=tuple(document["columns"]),
        ids=ids,
        versions=[1] * len(ids) if versions is None else versions,
        positions=document["positions"],
        rows=[[_untagged(cell) for cell in row] for row in rows] if tagged else rows,
    )


def _tagged(value: object) -> dict[str, str]:
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode("ascii")}
    if isinstance(value, Real):
        return {"real": repr(float(value))}
    raise TypeError(f"a before-image cannot hold {type(value).__name__}")


def _untagged(cell: Any) -> Any:
    if not isinstance(cell, dict):
        return cell
    if "bytes" in cell:
        return base64.b64decode(cell["bytes"])
    return float(cell["real"])
