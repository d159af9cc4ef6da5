"""Survey: what the chunks of a job tell of their ledgers, without the ledgers.

A job of a million items has thousands of ledgers. Which of them may speak of a position,
and which may say what is asked for, stands in the chunk rows, in the summaries of the
outcomes and in what was counted of the failures; the others are not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Row, select

from domain.contradictions import ENGINE_CODES
from domain.outcomes import ItemStatus
from domain.ranges import Ranges
from streams.stores import faults
from streams.stores import ledger as ledgers
from streams.stores.outcomes import COUNTED, OF_CHUNK, ledger_of
from streams.stores.records import images as before
from streams.stores.schema import (
    chunk_faults,
    chunks,
    history,
    outcomes,
    record_tables,
    writers,
)

WINDOW = 5000
"""Positions that are looked at together."""

NOT_ATTEMPTED = "not_attempted"
REPEATED = "duplicate"
WITHDRAWN = "dropped"

OWN_CODES = ENGINE_CODES | {"conflict", "skipped", NOT_ATTEMPTED, REPEATED, WITHDRAWN}
"""Codes that any job may have, whatever its operation says."""

_SPOKEN = tuple(status for status in ItemStatus if status is not ItemStatus.PENDING)

Reach = tuple[int, int]
"""The first position of which a chunk may speak, and the one after the last."""


@dataclass(frozen=True, slots=True)
class Closed:
    """A chunk with its outcome.

    ``says`` are the statuses that it gave to items; ``codes`` those of its failures, None
    when they were not counted. An ``undo`` has worked no item: it has no results.
    """

    chunk: int
    attempt: int
    reach: Reach
    says: frozenset[ItemStatus]
    codes: tuple[str, ...] | None
    undo: bool

    def may_say(self, code: str) -> bool:
        """Whether an item of it can have that code."""
        if (code, True) in (
            ("skipped", ItemStatus.SKIPPED in self.says),
            ("conflict", ItemStatus.CONFLICT in self.says),
        ):
            return True
        if ItemStatus.FAILED not in self.says:
            return False
        return self.codes is None or code in self.codes

    def meets(self, other: Closed) -> bool:
        """Whether both may speak of the same position."""
        return self.reach[0] < other.reach[1] and other.reach[0] < self.reach[1]


@dataclass(slots=True)
class Survey:
    """The closed chunks of a job, by the windows in which they may speak, in plan order."""

    by_window: dict[int, list[Closed]] = field(default_factory=dict)

    def in_window(self, window: int) -> Sequence[Closed]:
        """Those that may speak of positions ``window * WINDOW`` up to the next window."""
        return self.by_window.get(window, ())


def windows_of(items: Ranges) -> Iterator[int]:
    """The windows in which positions are, each once."""
    last = -1
    for first, end in items.spans:
        for window in range(max(first // WINDOW, last + 1), (end - 1) // WINDOW + 1):
            yield window
            last = window


@dataclass(frozen=True, slots=True)
class Until:
    """Which chunks were closed at a moment of the past.

    Those of a generation and the ones before; those planned below a number and not ``open``.
    """

    generation: int | None = None
    below: int | None = None
    open: frozenset[int] = frozenset()


NOW = Until()


def survey(connection: Connection, job_id: str, until: Until = NOW) -> Survey:
    """The closed chunks of a job."""
    found = Survey()
    places: dict[int, tuple[Reach, list[int]]] = {}
    for row in _rows(connection, job_id, until):
        if row.target is not None:
            # An undo speaks of its target's items.
            places[row.chunk] = places[row.target]
        else:
            spans = orjson.loads(row[1])
            reach = (spans[0][0], spans[-1][1]) if spans else (0, 0)
            places[row.chunk] = reach, list(windows_of(Ranges.from_spans(spans)))
        if row.summary is None or row.chunk in until.open:
            continue
        reach, windows = places[row.chunk]
        closed = _closed(row, reach)
        for window in windows:
            found.by_window.setdefault(window, []).append(closed)
    return found


def _rows(connection: Connection, job_id: str, until: Until) -> Iterable[Row[Any]]:
    mine: list[ColumnElement[bool]] = [chunks.c.job_id == job_id]
    if until.generation is not None:
        mine.append(chunks.c.generation <= until.generation)
    if until.below is not None:
        mine.append(chunks.c.chunk < until.below)
    return connection.execute(
        select(
            chunks.c.chunk,
            chunks.c["items"],
            chunks.c.target,
            outcomes.c.attempt,
            outcomes.c.summary,
            chunk_faults.c.codes,
        )
        .outerjoin(outcomes, OF_CHUNK)
        .outerjoin(chunk_faults, COUNTED)
        .where(*mine)
        .order_by(chunks.c.chunk)
        .execution_options(yield_per=1000)
    )


def _closed(row: Row[Any], reach: Reach) -> Closed:
    summary = orjson.loads(row.summary)
    says = {status for status in _SPOKEN if summary.get(status.value)}
    undo = row.target is not None
    if undo:
        # What failed is the undo, and the item stays what it was.
        says.discard(ItemStatus.FAILED)
    codes = None if row.codes is None else tuple(faults.decode_codes(bytes(row.codes)))
    return Closed(row.chunk, row.attempt, reach, frozenset(says), codes, undo)


def failure_codes(connection: Connection, job_id: str) -> set[str]:
    """The codes of all failures that a job has had, also of items that went well later."""
    counted = select(chunk_faults.c.codes).where(chunk_faults.c.job_id == job_id).distinct()
    found = {
        code for codes in connection.scalars(counted) for code in faults.decode_codes(bytes(codes))
    }
    uncounted = (
        select(outcomes.c.chunk)
        .outerjoin(chunk_faults, COUNTED)
        .where(outcomes.c.job_id == job_id, outcomes.c.failed > 0, chunk_faults.c.chunk.is_(None))
    )
    for chunk in connection.scalars(uncounted).all():
        document = ledgers.decode(ledger_of(connection, job_id, chunk))
        found |= {fault[1] for fault in document.get("faults") or ()}
    return found


@dataclass(frozen=True, slots=True)
class RecordName:
    """A record by its table and its id."""

    table: str
    id: int


def chunks_that_wrote(
    connection: Connection, tenant: str, job_id: str, record: RecordName
) -> frozenset[int]:
    """The chunks of a job that wrote to a record, as its history tells."""
    statement = (
        select(writers.c.chunk)
        .select_from(history)
        .join(record_tables, record_tables.c.table_id == history.c.table_id)
        .join(writers, writers.c.writer == history.c.writer)
        .where(
            record_tables.c.name == record.table,
            history.c.record_id == record.id,
            writers.c.tenant == tenant,
            writers.c.job_id == job_id,
        )
        .distinct()
    )
    return frozenset(connection.scalars(statement))


def items_that_wrote(
    connection: Connection, job_id: str, chunk: int, record: RecordName
) -> set[int]:
    """The positions whose items made a chunk write to a record."""
    images = connection.scalar(
        select(outcomes.c.images).where(outcomes.c.job_id == job_id, outcomes.c.chunk == chunk)
    )
    if images is None:
        return set()
    return {
        position
        for batch in before.decode(bytes(images)).batches
        if batch.table == record.table
        for key, position in zip(batch.ids, batch.positions, strict=True)
        if key == record.id
    }
