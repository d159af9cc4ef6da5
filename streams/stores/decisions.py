"""Decisions on commands, reservations of idempotency keys, and timers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    case,
    delete,
    func,
    literal,
    outerjoin,
    select,
    tuple_,
    update,
)
from sqlalchemy.sql.dml import Insert

from domain import errors
from domain.errors import CommandRefused, IdempotencyConflict
from domain.job import Job
from streams.stores.notifying import notify
from streams.stores.schema import decisions, job_control, reservations, timers
from streams.stores.statements import INSERTS, fixed, insertion

TIMERS_AT_ONCE = 100
CHANNEL = "countermand_decided"
"""What PostgreSQL notifies when a decision was committed: job, version and command.

The decision that refuses a command is to be read: it may be longer than a notification.
"""
FRESH_SECONDS = 3600.0
"""So long after a key was used nothing is written when it is used again: it is young enough."""
_REFUSED = "- -"


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of a command: the job and its version after it.

    ``job`` is the job as it was decided on, where that is at hand; it is not stored.
    """

    job_id: str
    version: int
    problem: dict[str, Any] | None = None
    job: Job | None = field(default=None, compare=False)

    def accepted(self) -> Decision:
        """Itself; raises the CommandRefused that it stands for."""
        if self.problem is None:
            return self
        kind = _REFUSALS.get(self.problem["code"], CommandRefused)
        raise kind(self.problem["message"], pointer=self.problem["pointer"])


def _refusals(kind: type[CommandRefused]) -> dict[str, type[CommandRefused]]:
    found = {kind.code: kind}
    for child in kind.__subclasses__():
        found |= _refusals(child)
    return found


_REFUSALS = _refusals(CommandRefused)


def problem_of(error: errors.CountermandError) -> dict[str, Any]:
    """A refusal as it is stored."""
    return {"code": error.code, "message": error.message, "pointer": error.pointer}


def insert_ignore(connection: Connection, table: Any) -> Insert:
    """An INSERT that leaves an existing row as it is, in the connection's dialect."""
    ignoring: Insert = INSERTS[connection.dialect.name](table).on_conflict_do_nothing()
    return ignoring


_FIND = fixed(
    select(decisions.c.job_id, decisions.c.version, decisions.c.problem).where(
        decisions.c.command_id == bindparam("command")
    )
)
_LOCKED = (
    select(job_control.c.version)
    .where(job_control.c.job_id == bindparam("job"))
    .with_for_update()
    .cte("locked")
)
_ONE = select(literal(1).label("one")).subquery()
_LOCK_FOR = fixed(
    select(
        select(_LOCKED.c.version).scalar_subquery(),
        decisions.c.job_id,
        decisions.c.version,
        decisions.c.problem,
    ).select_from(outerjoin(_ONE, decisions, decisions.c.command_id == bindparam("command")))
)
_STORE = insertion(decisions, "command_id", "job_id", "version", "problem", "decided_at")


def find_decision(connection: Connection, command_id: str) -> Decision | None:
    """The decision on a command, if it was taken."""
    row = _FIND.run(connection, command=command_id).first()
    return None if row is None else _decision(*row)


def lock_for(connection: Connection, job_id: str, command_id: str) -> tuple[int, Decision | None]:
    """Lock a job and tell its version (:func:`.chunks.lock_control`); the decision, if taken.

    One that is committed while this waits is not seen; then this one cannot be stored.
    """
    row = _LOCK_FOR.run(connection, job=job_id, command=command_id).rows[0]
    version, decided_for, *rest = row
    return version or 0, None if decided_for is None else _decision(decided_for, *rest)


def _decision(job_id: str, version: int, problem: str | None) -> Decision:
    return Decision(job_id, version, None if problem is None else orjson.loads(problem))


def store_decision(connection: Connection, command_id: str, decision: Decision, now: float) -> None:
    """Store the decision on a command."""
    _STORE.send(
        connection,
        command_id=command_id,
        job_id=decision.job_id,
        version=decision.version,
        problem=None if decision.problem is None else orjson.dumps(decision.problem).decode(),
        decided_at=now,
    )


def announce_decision(connection: Connection, command_id: str, decision: Decision) -> None:
    """Once committed, wake who waits for it in another process."""
    decided = _REFUSED if decision.problem else f"{decision.job_id} {decision.version}"
    notify(connection, CHANNEL, f"{decided} {command_id}")


def heard_decision(payload: str) -> tuple[str, Decision | None]:
    """The command that a notification is about, and its decision unless that is to be read."""
    job_id, version, command_id = payload.split(" ", 2)
    decided = None if payload.startswith(_REFUSED) else Decision(job_id, int(version))
    return command_id, decided


def is_reserved(connection: Connection, tenant: str, key: str) -> bool:
    """Whether a job has this idempotency key."""
    found = select(reservations.c.job_id).where(
        reservations.c.tenant == tenant, reservations.c.key == key
    )
    return connection.execute(found).first() is not None


def reserve(
    connection: Connection,
    *,
    tenant: str,
    key: str,
    body_hash: str,
    job_id: str,
    now: float,
    kept_as: str = "",
) -> str:
    """The job of an idempotency key: ``job_id``, or the one that it was first used for.

    ``kept_as`` is under what it is kept, when it counts for less than the whole tenant.
    Raises IdempotencyConflict when the key was used with another body.
    """
    kept = kept_as or key
    wanted = {"body_hash": body_hash, "job_id": job_id, "created_at": now}
    row = _used_anew(connection, tenant, kept, wanted) or _reservation(connection, tenant, kept)
    if row.body_hash != body_hash:
        raise IdempotencyConflict(
            f"the idempotency key {key!r} was used for job {row.job_id} with another body; "
            "use a new key",
            pointer="/Idempotency-Key",
        )
    return str(row.job_id)


def _used_anew(
    connection: Connection, tenant: str, key: str, wanted: dict[str, Any]
) -> Row[Any] | None:
    """The reservation, made or young again; None for one that is kept, or young already.

    An old one would be forgotten while the command that it is used for again is on its way. One
    that is left as it is is locked as well on PostgreSQL: whoever forgets old ones waits.
    """
    table = reservations.c
    made = INSERTS[connection.dialect.name](reservations).values(tenant=tenant, key=key, **wanted)
    used = made.excluded.created_at
    anew = made.on_conflict_do_update(
        index_elements=[table.tenant, table.key],
        set_={"created_at": used},
        where=and_(~table.kept, table.created_at < used - FRESH_SECONDS),
    )
    found: Row[Any] | None = connection.execute(
        anew.returning(table.body_hash, table.job_id)
    ).first()
    return found


def _reservation(connection: Connection, tenant: str, key: str) -> Row[Any]:
    table = reservations.c
    found = select(table.body_hash, table.job_id).where(table.tenant == tenant, table.key == key)
    return connection.execute(found).one()


def set_timer(connection: Connection, timer_id: str, due: float, command: bytes) -> None:
    """Have ``command`` sent when it is ``due``; setting a timer again changes nothing."""
    connection.execute(
        insert_ignore(connection, timers).values(timer_id=timer_id, due=due, command=command)
    )


def due_timers(
    connection: Connection, now: float, limit: int = TIMERS_AT_ONCE
) -> list[tuple[str, bytes]]:
    """Timers that are due, as id and command."""
    rows = connection.execute(
        select(timers.c.timer_id, timers.c.command)
        .where(timers.c.due <= now)
        .order_by(timers.c.due)
        .limit(limit)
    )
    return [(row.timer_id, bytes(row.command)) for row in rows]


def postpone_timer(connection: Connection, timer_id: str, now: float, due: float) -> None:
    """Have a timer that was due be due again later; not one that was set anew meanwhile."""
    connection.execute(
        update(timers).where(timers.c.timer_id == timer_id, timers.c.due <= now).values(due=due)
    )


def drop_timer(connection: Connection, timer_id: str) -> None:
    """Forget a timer: its command was sent, or nobody waits for it any more."""
    connection.execute(delete(timers).where(timers.c.timer_id == timer_id))


def remove_old(connection: Connection, before: float, limit: int = 1000) -> int:
    """Forget old refusals, and old reservations of what never was, at most ``limit`` of each.

    What was accepted is known as long as the job, as its events are: whoever says it again, however
    late, must not have it done again. Returns how many were forgotten or found to be kept.
    """
    refused = (
        select(decisions.c.command_id)
        .where(decisions.c.problem.is_not(None), decisions.c.decided_at < before)
        .limit(limit)
    )
    forgotten = connection.execute(delete(decisions).where(decisions.c.command_id.in_(refused)))
    return forgotten.rowcount + _remove_unused(connection, before, limit)


def _remove_unused(connection: Connection, before: float, limit: int) -> int:
    """Forget reservations that came to nothing; the others are kept, and not looked at again."""
    table = reservations.c
    old = and_(~table.kept, table.created_at < before)
    looked_at = select(table.tenant, table.key, _is_used().label("used")).where(old).limit(limit)
    found = connection.execute(looked_at).all()
    key = tuple_(table.tenant, table.key)
    used = [(row.tenant, row.key) for row in found if row.used]
    unused = [(row.tenant, row.key) for row in found if not row.used]
    if used:
        connection.execute(update(reservations).where(key.in_(used)).values(kept=True))
    if unused:
        # Asked again: one may have been used, or have come to something, since it was looked at.
        connection.execute(delete(reservations).where(key.in_(unused), old, ~_is_used()))
    return len(found)


def _is_used() -> ColumnElement[bool]:
    """Whether a reservation is of a job that there is, or of what was accepted for one.

    The key of a verb is kept as its command's id, which begins with the job's.
    """
    table = reservations.c
    job = select(job_control.c.job_id).where(
        job_control.c.job_id == table.job_id, job_control.c.tenant == table.tenant
    )
    done = select(decisions.c.command_id).where(
        decisions.c.command_id == table.key, decisions.c.problem.is_(None)
    )
    of_a_verb = func.substr(table.key, 1, func.length(table.job_id) + 1) == table.job_id + "."
    return case((of_a_verb, done.exists()), else_=job.exists())
