"""Overdue chunks: dispatched, without outcome, and nobody works them. What the sweep finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import ColumnElement, Connection, and_, or_, select, update

from domain import planning
from domain.events import Cause
from domain.ranges import Ranges
from streams.envelope import Work, WorkChunk
from streams.stores.chunks import has_outcome
from streams.stores.schema import chunks, job_control


@dataclass(frozen=True, slots=True)
class Overdue:
    """A dispatched chunk without outcome that nobody works."""

    job_id: str
    operation: str
    chunk: int
    parent: int | None
    cause: Cause
    epoch: int
    attempt: int
    starts: int

    @property
    def is_killer(self) -> bool:
        """Whether it has taken so many workers with it that it is not tried again as it is."""
        return self.starts >= planning.starts_allowed(self.cause, self.parent)


def overdue(connection: Connection, now: float, limit: int = 500) -> list[Overdue]:
    """Chunks without outcome whose claim or lease has run out."""
    rows = connection.execute(
        select(
            chunks.c.job_id,
            job_control.c.operation,
            chunks.c.chunk,
            chunks.c.parent,
            chunks.c.cause,
            chunks.c.epoch,
            chunks.c.attempt,
            chunks.c.starts,
        )
        .join(job_control, job_control.c.job_id == chunks.c.job_id)
        .where(chunks.c.open, _late(now), ~has_outcome())
        .order_by(chunks.c.job_id, chunks.c.chunk)
        .limit(limit)
    )
    return [
        Overdue(job_id, operation, chunk, parent, Cause(cause), epoch, attempt, starts)
        for job_id, operation, chunk, parent, cause, epoch, attempt, starts in rows
    ]


def still_late(connection: Connection, late: Sequence[Overdue], now: float) -> list[Overdue]:
    """Those of one job's overdue chunks that are so yet; they are held until the commit.

    A heartbeat may have come since the look; who has locked a chunk is working it.
    """
    rows = connection.execute(
        select(chunks.c.chunk, chunks.c.attempt)
        .where(
            chunks.c.job_id == late[0].job_id,
            chunks.c.chunk.in_([chunk.chunk for chunk in late]),
            chunks.c.open,
            _late(now),
            ~has_outcome(),
        )
        .with_for_update(of=chunks, skip_locked=True)
    )
    attempts = {row.chunk: row.attempt for row in rows}
    return [chunk for chunk in late if attempts.get(chunk.chunk) == chunk.attempt]


@dataclass(frozen=True, slots=True)
class Waiting:
    """An undo chunk that waits for its turn."""

    chunk: int
    attempt: int
    target: int
    items: Ranges


def waiting_behind(connection: Connection, first: Overdue) -> list[Waiting]:
    """The undo chunks of a job without outcome that come after one of them, in their order.

    They are held until the commit: who has claimed them waits, and then sees what became of
    them.
    """
    rows = connection.execute(
        select(chunks.c.chunk, chunks.c.attempt, chunks.c.target, chunks.c["items"])
        .where(
            chunks.c.job_id == first.job_id,
            chunks.c.chunk > first.chunk,
            chunks.c.target.is_not(None),
            chunks.c.open,
            ~has_outcome(),
        )
        .order_by(chunks.c.chunk)
        .with_for_update(of=chunks)
    )
    return [
        Waiting(chunk, attempt, target, Ranges.from_spans(orjson.loads(items)))
        for chunk, attempt, target, items in rows
    ]


def dispatch_again(
    connection: Connection, late: Sequence[Overdue], *, now: float, claim_by: float
) -> list[Work]:
    """New attempts for overdue chunks of one job; returns the messages to send."""
    works: list[Work] = []
    for chunk in still_late(connection, late, now):
        attempt = chunk.attempt + 1
        connection.execute(
            update(chunks)
            .where(chunks.c.job_id == chunk.job_id, chunks.c.chunk == chunk.chunk)
            .values(attempt=attempt, lease_until=None, claim_by=claim_by)
        )
        works.append(
            Work(
                job_id=chunk.job_id,
                operation=chunk.operation,
                epoch=chunk.epoch,
                chunks=(WorkChunk(chunk=chunk.chunk, attempt=attempt),),
            )
        )
    return works


def _late(now: float) -> ColumnElement[bool]:
    unclaimed = and_(chunks.c.lease_until.is_(None), chunks.c.claim_by < now)
    return or_(unclaimed, chunks.c.lease_until < now)
