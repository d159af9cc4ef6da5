"""Attempts: all that the chunks of a job have said of one item, the first word first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import Connection, select

from domain.events import Cause
from domain.item_keys import shown_document
from domain.ranges import Ranges
from streams.stores import ledger as ledgers
from streams.stores.ledger import LedgerEntry
from streams.stores.payloads import PayloadReader
from streams.stores.schema import chunks, outcomes


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a chunk said of an item; ``entry`` has no status when it left it as it was."""

    chunk: int
    cause: Cause
    at: datetime
    entry: LedgerEntry


@dataclass(frozen=True, slots=True)
class ItemPast:
    """An item's attempts; its bodies, as it was sent and after each edit."""

    attempts: Sequence[Attempt]
    bodies: Sequence[Any]


def past_of(connection: Connection, job_id: str, position: int, *, bodies: bool) -> ItemPast:
    """All that has become of an item that the job has; ``bodies`` unless they are shredded."""
    lines = PayloadReader().editions(connection, job_id, position) if bodies else []
    return ItemPast(attempts_at(connection, job_id, position), [*map(shown_document, lines)])


def attempts_at(connection: Connection, job_id: str, position: int) -> list[Attempt]:
    """Every word on an item in plan order; a chunk that returned it unworked has none."""
    causes = dict(_concerned(connection, job_id, position))
    rows = connection.execute(
        select(outcomes.c.chunk, outcomes.c.sequence, outcomes.c.ledger)
        .where(outcomes.c.job_id == job_id, outcomes.c.chunk.in_(causes))
        .order_by(outcomes.c.chunk)
    )
    return [
        Attempt(chunk, causes[chunk], datetime.fromtimestamp(sequence / 1e9, UTC), entry)
        for chunk, sequence, data in rows
        for entry in ledgers.entries(bytes(data), position, position + 1)
    ]


def _concerned(connection: Connection, job_id: str, position: int) -> Iterator[tuple[int, Cause]]:
    """The chunks that may have a say on an item; an undo speaks of its target's items."""
    rows = connection.execute(
        select(chunks.c.chunk, chunks.c.cause, chunks.c["items"], chunks.c.target)
        .where(chunks.c.job_id == job_id)
        .order_by(chunks.c.chunk)
        .execution_options(yield_per=500)
    )
    found: set[int] = set()
    for chunk, cause, items, target in rows:
        if target in found or position in Ranges.from_spans(orjson.loads(items)):
            found.add(chunk)
            yield chunk, Cause(cause)
