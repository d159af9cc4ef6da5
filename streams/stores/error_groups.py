"""Error groups: the failed items of a job by what their errors have in common.

Of each chunk only what was counted when it was closed is read (:mod:`.faults`), the latest
in plan order first. A ledger is read where that does not tell: of a chunk some of whose
failures were tried again and others not, and of one that an older release has closed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Row, select

from domain.ranges import Ranges
from streams.stores import faults
from streams.stores import ledger as ledgers
from streams.stores.faults import Grouping, Sample
from streams.stores.outcomes import COUNTED, OF_CHUNK, ledger_of
from streams.stores.schema import chunk_faults, chunks, outcomes


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Failures that look alike, with a few of them."""

    code: str
    signature: str
    count: int
    samples: Sequence[Mapping[str, Any]]


def group_errors(connection: Connection, job_id: str, other: Ranges) -> list[ErrorGroup]:
    """The failed items of a job, the largest group first; those of ``other`` are left out."""
    grouping = Grouping()
    spoken = _Spoken(other)
    for row in _closed(connection, job_id):
        if row.failed:
            _take_failures(connection, job_id, row, spoken, grouping)
        items = Ranges.from_spans(orjson.loads(row[1]))
        returned = orjson.loads(row.summary).get("returned")
        spoken.add(items - Ranges.from_spans(returned) if returned else items)
    groups = [
        ErrorGroup(*key, count, [_shown(sample) for sample in samples])
        for key, count, samples in grouping.found()
    ]
    return sorted(groups, key=lambda group: (-group.count, group.code, group.signature))


def _closed(connection: Connection, job_id: str) -> Iterator[Row[Any]]:
    """Chunks with their outcomes, but those of undos: they have no say on what had failed."""
    statement = (
        select(
            chunks.c.chunk,
            chunks.c["items"],
            outcomes.c.summary,
            outcomes.c.failed,
            chunk_faults.c.groups,
        )
        .join(outcomes, OF_CHUNK)
        .outerjoin(chunk_faults, COUNTED)
        .where(chunks.c.job_id == job_id, chunks.c.target.is_(None))
        .order_by(chunks.c.chunk.desc())
        .execution_options(yield_per=50)
    )
    return iter(connection.execute(statement))


def _take_failures(
    connection: Connection, job_id: str, row: Row[Any], spoken: _Spoken, grouping: Grouping
) -> None:
    """Count those of a chunk's failures that are the latest word on their items."""
    groups = None if row.groups is None else faults.decode(bytes(row.groups))
    if groups is not None:
        fresh = [spoken.lacks(group.items) for group in groups]
        if all(left in (0, group.count) for left, group in zip(fresh, groups, strict=True)):
            for left, group in zip(fresh, groups, strict=True):
                if left:
                    grouping.join((group.code, group.signature), left, group.samples)
            return
    document = ledgers.decode(ledger_of(connection, job_id, row.chunk))
    spans = Ranges.from_spans(document["items"])
    for position, code, message, pointer in faults.failures_of(spans, document):
        if spoken.lacks(Ranges.span(position, position + 1)):
            grouping.add(code, (position, message, pointer))


class _Spoken:
    """The positions of which the latest word is known: a byte each."""

    def __init__(self, positions: Ranges) -> None:
        self._flags = bytearray()
        self.add(positions)

    def add(self, positions: Ranges) -> None:
        """These are known from now on."""
        for first, end in positions.spans:
            if end > len(self._flags):
                self._flags.extend(bytes(end - len(self._flags)))
            self._flags[first:end] = b"\1" * (end - first)

    def lacks(self, positions: Ranges) -> int:
        """How many of these are not known yet."""
        known = sum(self._flags.count(1, first, end) for first, end in positions.spans)
        return len(positions) - known


def _shown(sample: Sample) -> Mapping[str, Any]:
    position, message, pointer = sample
    return {"item": position, "message": message, "pointer": pointer}
