"""Chunks in flight: control rows, dispatch, claim, lease, fence.

What the sweep finds is in :mod:`streams.stores.overdue`.

Lock order in every transaction: control, chunks, grants, events.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Dialect,
    and_,
    bindparam,
    case,
    or_,
    select,
    update,
)
from sqlalchemy.sql.expression import ClauseElement

from domain.errors import UnsupportedVersion
from domain.events import Cause, PlannedChunk
from domain.ranges import Ranges
from streams.envelope import Work
from streams.stores.schema import chunks, item_timeouts, job_control, outcomes, planned_jobs
from streams.stores.statements import Statement, among, fixed, insertion, listed


@dataclass(frozen=True, slots=True)
class Control:
    """What a worker must know of a job; ``epoch`` fences its effects."""

    job_id: str
    tenant: str
    actor: str
    operation: str
    params: dict[str, Any]
    epoch: int
    version: int
    dry_run: bool = False
    plan: str | None = None
    atomic: bool = False
    item_timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Rest:
    """How a job has ended, and from when on it may be shredded and put away; None: it may not."""

    ended: str | None = None
    shred_from: float | None = None
    archive_from: float | None = None


NO_REST = Rest()


@dataclass(frozen=True, slots=True)
class Claimed:
    """A chunk that this worker may work until its lease runs out."""

    job_id: str
    chunk: int
    cause: Cause
    generation: int
    items: Ranges
    target: int | None
    epoch: int
    attempt: int
    starts: int


_JOB: BindParameter[str] = bindparam("job")


def _these(dialect: Dialect) -> ColumnElement[bool]:
    return and_(chunks.c.job_id == _JOB, among(chunks.c.chunk, dialect))


def has_outcome() -> ColumnElement[bool]:
    """Whether a chunk has its outcome row.

    As a value of its own, for each chunk: EXISTS would be joined (see :func:`among`).
    """
    its_own = (outcomes.c.job_id == chunks.c.job_id) & (outcomes.c.chunk == chunks.c.chunk)
    found = select(outcomes.c.chunk).where(its_own).limit(1).correlate(chunks)
    return found.scalar_subquery().is_not(None)


def _claim(dialect: Dialect) -> ClauseElement:
    this_worker = chunks.c.worker == bindparam("by")
    free = or_(chunks.c.lease_until.is_(None), chunks.c.lease_until < bindparam("now"), this_worker)
    return (
        update(chunks)
        .where(
            _these(dialect),
            chunks.c.epoch == bindparam("at_epoch"),
            chunks.c.attempt == bindparam("at_attempt"),
            chunks.c.open,
            free,
            ~has_outcome(),
        )
        .values(
            # Only a death makes a start count; a worker that starts again itself has not died.
            starts=chunks.c.starts + case((this_worker, 0), else_=1),
            lease_until=bindparam("until"),
            worker=bindparam("by"),
        )
        .returning(
            chunks.c.chunk,
            chunks.c.cause,
            chunks.c.generation,
            chunks.c["items"],
            chunks.c.target,
            chunks.c.starts,
        )
    )


def _held(dialect: Dialect) -> ClauseElement:
    return (
        select(chunks.c.chunk, chunks.c.attempt)
        .where(_these(dialect), chunks.c.open)
        .order_by(chunks.c.chunk)
        .with_for_update(of=chunks)
    )


_PENDING = fixed(
    select(chunks.c.chunk)
    .where(chunks.c.job_id == _JOB, chunks.c.open, ~has_outcome())
    .order_by(chunks.c.chunk)
    .limit(bindparam("many"))
)


def _with_outcome(dialect: Dialect) -> ClauseElement:
    return select(outcomes.c.chunk).where(
        outcomes.c.job_id == _JOB, among(outcomes.c.chunk, dialect)
    )


_INSERT_CONTROL = insertion(
    job_control,
    "job_id",
    "tenant",
    "actor",
    "operation",
    "params",
    "epoch",
    "version",
    "open",
    "ended",
    "shred_from",
    "archive_from",
)
_FIND_CONTROL = fixed(
    select(
        job_control.c.tenant,
        job_control.c.actor,
        job_control.c.operation,
        job_control.c.params,
        job_control.c.epoch,
        job_control.c.version,
        planned_jobs.c.job_id,
        planned_jobs.c.plan,
        item_timeouts.c.seconds,
    )
    .select_from(
        job_control.outerjoin(
            planned_jobs, planned_jobs.c.job_id == job_control.c.job_id
        ).outerjoin(item_timeouts, item_timeouts.c.job_id == job_control.c.job_id)
    )
    .where(job_control.c.job_id == _JOB)
)
_INSERT_TIMEOUT = insertion(item_timeouts, "job_id", "seconds")
_INSERT_PLANNED = insertion(planned_jobs, "job_id", "plan")
_UPDATE_CONTROL = fixed(
    update(job_control)
    .where(job_control.c.job_id == _JOB)
    .values(
        epoch=bindparam("to_epoch"),
        version=bindparam("to_version"),
        open=bindparam("to_open"),
        ended=bindparam("to_ended"),
        shred_from=bindparam("to_shred_from"),
        archive_from=bindparam("to_archive_from"),
    )
)
_VERSION = fixed(select(job_control.c.version).where(job_control.c.job_id == _JOB))
_LOCK_CONTROL = fixed(
    select(job_control.c.version).where(job_control.c.job_id == _JOB).with_for_update()
)
_LOCK_DECISIONS = fixed(
    select(job_control.c.version)
    .where(job_control.c.job_id == _JOB)
    .with_for_update(key_share=True)
)
_SHARE_CONTROL = fixed(
    select(job_control.c.epoch)
    .where(job_control.c.job_id == _JOB)
    .with_for_update(read=True, key_share=True)
)
_INSERT_CHUNK = insertion(
    chunks,
    "job_id",
    "chunk",
    "parent",
    "target",
    "cause",
    "generation",
    "items",
    "epoch",
    "attempt",
    "starts",
    "claim_by",
    "open",
)
_CLAIM = Statement(_claim)
_HELD = Statement(_held)
_WITH_OUTCOME = Statement(_with_outcome)
_CLOSE = Statement(lambda dialect: update(chunks).where(_these(dialect)).values(open=False))
_ATTEMPT = fixed(
    select(chunks.c.attempt).where(chunks.c.job_id == _JOB, chunks.c.chunk == bindparam("number"))
)


def insert_control(
    connection: Connection, control: Control, *, open_: bool, rest: Rest = NO_REST
) -> None:
    """The control row of a new job."""
    _INSERT_CONTROL.send(
        connection,
        job_id=control.job_id,
        tenant=control.tenant,
        actor=control.actor,
        operation=control.operation,
        params=orjson.dumps(control.params).decode(),
        epoch=control.epoch,
        version=control.version,
        open=open_,
        ended=rest.ended,
        shred_from=rest.shred_from,
        archive_from=rest.archive_from,
    )
    if control.item_timeout is not None:
        _INSERT_TIMEOUT.send(connection, job_id=control.job_id, seconds=control.item_timeout)
    if control.dry_run or control.atomic or control.plan is not None:
        # An atomic job is its own plan: what it has prepared is what it commits.
        plan = control.job_id if control.atomic else control.plan
        _INSERT_PLANNED.send(connection, job_id=control.job_id, plan=plan)


def find_control(connection: Connection, job_id: str) -> Control | None:
    """The control row of a job."""
    row = _FIND_CONTROL.run(connection, job=job_id).first()
    if row is None:
        return None
    tenant, actor, operation, params, epoch, version, planned, plan, seconds = row
    dry_run, atomic = planned is not None and plan is None, plan == job_id
    known, plan = orjson.loads(params), None if atomic else plan
    who = job_id, tenant, actor, operation, known, epoch, version
    return Control(*who, dry_run, plan, atomic, seconds)


def update_control(
    connection: Connection,
    job_id: str,
    *,
    epoch: int,
    version: int,
    open_: bool,
    rest: Rest = NO_REST,
) -> None:
    """Move the fence; say whether the sweep should look after the job, and how it rests."""
    _UPDATE_CONTROL.send(
        connection,
        job=job_id,
        to_epoch=epoch,
        to_version=version,
        to_open=open_,
        to_ended=rest.ended,
        to_shred_from=rest.shred_from,
        to_archive_from=rest.archive_from,
    )


def version_of(connection: Connection, job_id: str) -> int:
    """The job's version as stored, 0 when there is no such job."""
    return _VERSION.run(connection, job=job_id).scalar() or 0


def taken_ids(connection: Connection, job_ids: Sequence[str]) -> list[str]:
    """Those of a few ids that jobs have, whoever they belong to."""
    there = select(job_control.c.job_id).where(job_control.c.job_id.in_(job_ids))
    return list(connection.scalars(there.order_by(job_control.c.job_id)))


def lock_control(connection: Connection, job_id: str) -> int:
    """Wait for effects of the job that are in flight, and hold new ones off.

    Whoever else decides on the job is held off before: as long as more is planned, one effect
    begins before the other has ended, and none of them waits for who waits. Returns the job's
    version as stored, 0 when there is no such job.
    """
    lock_decisions(connection, job_id)
    return _LOCK_CONTROL.run(connection, job=job_id).scalar() or 0


def lock_decisions(connection: Connection, job_id: str) -> int:
    """Hold off others who decide on the job, while its effects go on.

    Its epoch must stay as long as a chunk is open: an effect that takes its lock just then may
    read the one that was before. Returns the job's version as stored, 0 when there is no such job.
    """
    return _LOCK_DECISIONS.run(connection, job=job_id).scalar() or 0


def dispatch(
    connection: Connection,
    control: Control,
    planned: Sequence[PlannedChunk],
    *,
    generation: int,
    claim_by: float,
) -> None:
    """Write chunk rows; they are sent after the commit."""
    _INSERT_CHUNK.send_many(
        connection,
        [
            {
                "job_id": control.job_id,
                "chunk": chunk.chunk,
                "parent": chunk.parent,
                "target": chunk.target,
                "cause": chunk.cause.value,
                "generation": generation,
                "items": orjson.dumps(chunk.items.to_json()).decode(),
                "epoch": control.epoch,
                "attempt": 1,
                "starts": 0,
                "claim_by": claim_by,
                "open": True,
            }
            for chunk in planned
        ],
    )


def _cause(word: str) -> Cause:
    try:
        return Cause(word)
    except ValueError:
        raise UnsupportedVersion(
            f"a chunk is {word!r}, which only a later release knows; upgrade this worker"
        ) from None


def claim(
    connection: Connection,
    work: Work,
    *,
    worker: str,
    now: float,
    lease: float,
    in_order: bool = False,
) -> list[Claimed]:
    """Take the chunks of a message that are still to be worked; counts a start each.

    A chunk is left out when its epoch or attempt moved on, when it has an outcome, when
    another worker holds its lease, or when it is not its turn: of an undo, and of work that
    is done ``in_order``.
    """
    claimed: list[Claimed] = []
    for attempt in sorted({chunk.attempt for chunk in work.chunks}):
        rows = _CLAIM.run(
            connection,
            job=work.job_id,
            numbers=listed([c.chunk for c in work.chunks if c.attempt == attempt]),
            at_epoch=work.epoch,
            at_attempt=attempt,
            now=now,
            until=now + lease,
            by=worker,
        )
        claimed += [
            Claimed(
                job_id=work.job_id,
                chunk=chunk,
                cause=_cause(cause),
                generation=generation,
                items=Ranges.from_spans(orjson.loads(items)),
                target=target,
                epoch=work.epoch,
                attempt=attempt,
                starts=starts,
            )
            for chunk, cause, generation, items, target, starts in rows
        ]
    claimed.sort(key=lambda chunk: chunk.chunk)
    if claimed and (in_order or any(chunk.cause.undoing for chunk in claimed)):
        return _in_turn(connection, claimed)
    return claimed


def _in_turn(connection: Connection, claimed: Sequence[Claimed]) -> list[Claimed]:
    """Those before which nothing of the job waits.

    Undo reverses the order of the commits, and what a dead worker has left must not be
    overtaken by what was to come after it. The others are given back and found again by the sweep.
    """
    pending = _PENDING.run(connection, job=claimed[0].job_id, many=len(claimed))
    first = [
        chunk for chunk, (number,) in zip(claimed, pending, strict=False) if chunk.chunk == number
    ]
    hand_back(connection, claimed[len(first) :])
    return first


def held(connection: Connection, claimed: Sequence[Claimed]) -> list[Claimed]:
    """Those of one job's claimed chunks whose effects may still be written.

    An undo that was lost to another keeps those behind it from going first. Locks control
    and chunks, in this order, until the transaction ends.
    """
    job_id = claimed[0].job_id
    if _SHARE_CONTROL.run(connection, job=job_id).scalar() != claimed[0].epoch:
        return []
    those = listed([chunk.chunk for chunk in claimed])
    attempts = {row[0]: row[1] for row in _HELD.run(connection, job=job_id, numbers=those)}
    # A statement of its own: that which waited for the lock sees what was before the wait.
    done = {chunk for (chunk,) in _WITH_OUTCOME.run(connection, job=job_id, numbers=those)}
    kept: list[Claimed] = []
    for chunk in claimed:
        if chunk.chunk in done:
            continue
        if attempts.get(chunk.chunk) == chunk.attempt:
            kept.append(chunk)
        elif chunk.cause.undoing:
            break
    return kept


def prolong(connection: Connection, held: Iterable[Claimed], until: float) -> list[Claimed]:
    """Heartbeat: move the leases of chunks that are still being worked, and return those.

    Of the others nothing is stored any more: they were closed, or somebody else has them.
    """
    return [claimed for claimed in held if _prolonged(connection, claimed, until)]


def _prolonged(connection: Connection, claimed: Claimed, until: float) -> bool:
    moved = connection.execute(
        update(chunks)
        .where(
            _is(claimed.job_id, claimed.chunk),
            chunks.c.attempt == claimed.attempt,
            chunks.c.open,
        )
        .values(lease_until=until)
    )
    return moved.rowcount > 0


def hand_back(connection: Connection, held: Iterable[Claimed]) -> None:
    """Give up leases on the way out; such a start does not count.

    Once: who does not hear of the commit, and tries again, gives nothing back a second time.
    """
    for claimed in held:
        connection.execute(
            update(chunks)
            .where(
                _is(claimed.job_id, claimed.chunk),
                chunks.c.attempt == claimed.attempt,
                chunks.c.starts == claimed.starts,
                chunks.c.open,
            )
            .values(lease_until=None, claim_by=0.0, starts=chunks.c.starts - 1, worker=None)
        )


def void_leases(connection: Connection) -> None:
    """At an embedded start: the process lock proves that all earlier owners are dead."""
    connection.execute(update(chunks).where(chunks.c.open).values(lease_until=None, claim_by=0.0))


def close(connection: Connection, job_id: str, closed: Sequence[int]) -> None:
    """Their outcomes are recorded: no longer in flight."""
    _CLOSE.run(connection, job=job_id, numbers=listed(closed))


def open_jobs(connection: Connection) -> list[str]:
    """Jobs that may have work to do, for a coordinator that starts."""
    return list(connection.scalars(select(job_control.c.job_id).where(job_control.c.open)))


def open_jobs_of(connection: Connection, kinds: Sequence[str]) -> list[str]:
    """Those of them that do some kind of work."""
    wanted = select(job_control.c.job_id).where(job_control.c.open)
    return list(connection.scalars(wanted.where(job_control.c.operation.in_(kinds))))


def attempt_of(connection: Connection, job_id: str, chunk: int) -> int:
    """The present attempt of a chunk."""
    return int(_ATTEMPT.run(connection, job=job_id, number=chunk).scalar() or 1)


def _is(job_id: str, chunk: int) -> ColumnElement[bool]:
    return and_(chunks.c.job_id == job_id, chunks.c.chunk == chunk)
