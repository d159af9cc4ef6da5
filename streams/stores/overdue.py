"""Overdue chunks: dispatched, without outcome, and nobody works them. What the sweep finds."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    null,
    or_,
    select,
    true,
    tuple_,
    update,
)

from domain import planning
from domain.events import Cause
from domain.ranges import Ranges
from streams.envelope import Work, WorkChunk
from streams.stores.chunks import has_outcome
from streams.stores.schema import chunks, job_control, outcomes
from streams.stores.statements import Statement, among, listed

MOST_PATIENCE = 12
"""How many times longer than the first any attempt waits for its claim, at most."""
FOUND_AT_ONCE = 500
"""How many a look finds; the next one goes on behind them."""

Place = tuple[str, int]
"""A job and one of its chunks, in whose order they are found."""
FIRST: Place = ("", -1)
"""Before all of them."""

_AGAIN = Statement(
    lambda dialect: (
        update(chunks)
        .where(chunks.c.job_id == bindparam("job"), among(chunks.c.chunk, dialect))
        .values(attempt=bindparam("next_attempt"), lease_until=null(), claim_by=bindparam("until"))
    )
)
_LONGER = Statement(
    lambda dialect: (
        update(chunks)
        .where(
            chunks.c.job_id == bindparam("job"),
            among(chunks.c.chunk, dialect),
            chunks.c.attempt == bindparam("at_attempt"),
            chunks.c.lease_until.is_(None),
            # Whoever gives a chunk back has it found at once.
            chunks.c.claim_by > 0.0,
        )
        .values(claim_by=bindparam("until"))
    )
)


_CAUSES = [cause.value for cause in Cause]


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
    items: int

    @property
    def ignored(self) -> int:
        """How many of its attempts nobody has begun."""
        return max(self.attempt - self.starts, 0)

    @property
    def is_killer(self) -> bool:
        """Whether it has taken so many workers with it that it is not tried again as it is."""
        return self.starts >= planning.starts_allowed(self.cause, self.parent)

    @property
    def place(self) -> Place:
        """Where it stands among the others."""
        return self.job_id, self.chunk


def overdue(
    connection: Connection,
    now: float,
    installed: Collection[str] | None = None,
    *,
    after: Place = FIRST,
    limit: int = FOUND_AT_ONCE,
) -> list[Overdue]:
    """Chunks without outcome whose claim or lease has run out, in their order ``after`` one.

    Those of a cause that only a later release knows are left to its processes; and of
    operations that are not among the ``installed`` there are killers only, as any others wait
    for their operation, and it may never come.
    """
    is_known = true() if installed is None else job_control.c.operation.in_(installed)
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
            chunks.c["items"],
        )
        .join(job_control, job_control.c.job_id == chunks.c.job_id)
        .where(
            chunks.c.open,
            tuple_(chunks.c.job_id, chunks.c.chunk) > after,
            _late(now),
            ~has_outcome(),
            chunks.c.cause.in_(_CAUSES),
            or_(is_known, _is_killer()),
        )
        .order_by(chunks.c.job_id, chunks.c.chunk)
        .limit(limit)
    )
    return [
        Overdue(
            job_id, operation, chunk, parent, Cause(cause), epoch, attempt, starts, _count(items)
        )
        for job_id, operation, chunk, parent, cause, epoch, attempt, starts, items in rows
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
    for done in _with_outcome(connection, late[0].job_id, list(attempts)):
        del attempts[done]
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
    held = rows.all()
    done = _with_outcome(connection, first.job_id, [row.chunk for row in held])
    return [
        Waiting(chunk, attempt, target, Ranges.from_spans(orjson.loads(items)))
        for chunk, attempt, target, items in held
        if chunk not in done
    ]


def _with_outcome(connection: Connection, job_id: str, held: Sequence[int]) -> set[int]:
    """Those of the chunks that are held now which have got an outcome before.

    A statement of its own: that which has locked them sees what was before it waited, or before
    who worked them has committed.
    """
    ended = select(outcomes.c.chunk).where(outcomes.c.job_id == job_id, outcomes.c.chunk.in_(held))
    return set(connection.scalars(ended)) if held else set()


@dataclass(frozen=True, slots=True)
class Again:
    """Chunks of a job that are sent again, at one attempt, and how long that one may take."""

    job_id: str
    chunks: Sequence[int]
    attempt: int
    patience: float


def dispatch_again(
    connection: Connection, late: Sequence[Overdue], *, now: float, claim_by: float
) -> tuple[list[Work], list[Again]]:
    """New attempts for overdue chunks of one job; returns the messages to send.

    ``claim_by`` is how many seconds the first attempt waits for its claim, and each until its
    message was sent. What was sent and nobody has claimed waits twice as long the next time:
    its message may stand behind others, and whoever sent all of them again before a busy
    worker came to them would keep it busy with messages that are too old. What was begun has
    waited behind nothing.
    """
    late = still_late(connection, late, now)
    again: list[Again] = []
    for attempt, ignored in sorted({(chunk.attempt, chunk.ignored) for chunk in late}):
        those = [c.chunk for c in late if (c.attempt, c.ignored) == (attempt, ignored)]
        patience = claim_by * min(2**ignored, MOST_PATIENCE)
        again.append(Again(late[0].job_id, those, attempt + 1, patience))
        _AGAIN.run(
            connection,
            job=late[0].job_id,
            numbers=listed(those),
            next_attempt=attempt + 1,
            until=now + claim_by,
        )
    return [_work(pack) for pack in _packs(late)], again


def wait_longer(connection: Connection, sent: Iterable[Again], now: float) -> None:
    """The messages of these are on their way; leaves alone what a worker has had meanwhile."""
    for again in sent:
        _LONGER.run(
            connection,
            job=again.job_id,
            numbers=listed(again.chunks),
            at_attempt=again.attempt,
            until=now + again.patience,
        )


def _packs(again: Sequence[Overdue]) -> Iterator[list[Overdue]]:
    """What shares a message: small chunks that were never begun.

    One that was begun may have killed its worker, and is sent by itself.
    """
    pack: list[Overdue] = []
    for chunk in again:
        full = sum(each.items for each in pack) + chunk.items > planning.LEAST_ITEMS
        if pack and (full or chunk.starts or pack[-1].starts or chunk.epoch != pack[-1].epoch):
            yield pack
            pack = []
        pack.append(chunk)
    if pack:
        yield pack


def _work(pack: Sequence[Overdue]) -> Work:
    return Work(
        job_id=pack[0].job_id,
        operation=pack[0].operation,
        epoch=pack[0].epoch,
        chunks=tuple(WorkChunk(chunk=one.chunk, attempt=one.attempt + 1) for one in pack),
    )


def _count(items: str) -> int:
    return len(Ranges.from_spans(orjson.loads(items)))


def _late(now: float) -> ColumnElement[bool]:
    unclaimed = and_(chunks.c.lease_until.is_(None), chunks.c.claim_by < now)
    return or_(unclaimed, chunks.c.lease_until < now)


def _is_killer() -> ColumnElement[bool]:
    """As :attr:`Overdue.is_killer`."""
    whole = chunks.c.parent.is_(None)
    allowed = [
        (and_(chunks.c.cause == cause.value, kind), planning.starts_allowed(cause, parent))
        for cause in Cause
        for kind, parent in ((whole, None), (~whole, 0))
    ]
    return chunks.c.starts >= case(*allowed)
