"""Retention: rules by tenant and kind, who has changed them, and the jobs that are due.

A job is due by the column that says from when on it may be shredded, or put away; each has
an index by tenant and operation, so that what is not due is not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    tuple_,
)

from domain.retention import KnownRule, Rule, RuleChange
from streams.stores.schema import children, job_control, waits
from streams.stores.schema_keeping import retention_changes, retention_rules
from streams.stores.statements import INSERTS


class Act(StrEnum):
    """What retention has done to a job."""

    SHRED = "shred"
    ARCHIVE = "archive"


@dataclass(frozen=True, slots=True)
class Pair:
    """Some jobs: those of a tenant and an operation."""

    tenant: str
    operation: str


@dataclass(frozen=True, slots=True)
class Due:
    """A job that may be shredded, or put away, since a time; ``version`` is its own."""

    job_id: str
    version: int
    since: float


_FROM: dict[Act, Column[float]] = {
    Act.SHRED: job_control.c.shred_from,
    Act.ARCHIVE: job_control.c.archive_from,
}
_FIRST = Due("", 0, -1.0)

_TURN = {"postgresql": text("SELECT pg_advisory_xact_lock(125779768604014)")}
"""Changes get their numbers in the order of their commits, as who signs them goes on behind the
last one; SQLite has one writer at a time by nature."""


# -- rules ----------------------------------------------------------------------------------


def rules_of(connection: Connection) -> list[KnownRule]:
    """All rules, by tenant and kind."""
    table = retention_rules.c
    rows = connection.execute(select(retention_rules).order_by(table.tenant, table.kind))
    return [_known(dict(row)) for row in rows.mappings()]


def count_rules(connection: Connection) -> int:
    """How many rules there are."""
    return int(connection.scalar(select(func.count()).select_from(retention_rules)) or 0)


def set_rule(connection: Connection, rule: Rule, *, actor: str, reason: str, now: float) -> None:
    """Have a rule say this from now on."""
    ages = {"shred_after": rule.shred_after, "archive_after": rule.archive_after}
    values = {**ages, "changed_at": now, "changed_by": actor}
    row = INSERTS[connection.dialect.name](retention_rules).values(
        tenant=rule.tenant, kind=rule.kind, **values
    )
    connection.execute(row.on_conflict_do_update(index_elements=["tenant", "kind"], set_=values))
    _note(connection, rule, "set", actor=actor, reason=reason, now=now)


def remove_rule(
    connection: Connection, tenant: str, kind: str, *, actor: str, reason: str, now: float
) -> bool:
    """Remove a rule; returns whether there was one."""
    table = retention_rules.c
    gone = connection.execute(
        delete(retention_rules)
        .where(table.tenant == tenant, table.kind == kind)
        .returning(table.shred_after, table.archive_after)
    ).one_or_none()
    if gone is None:
        return False
    was = Rule(tenant=tenant, kind=kind, shred_after=gone[0], archive_after=gone[1])
    _note(connection, was, "remove", actor=actor, reason=reason, now=now)
    return True


def changes_of(connection: Connection, below: int | None, limit: int) -> list[RuleChange]:
    """What was changed, the latest first, from below a number on."""
    table = retention_changes.c
    statement = select(retention_changes).order_by(table.change.desc()).limit(limit)
    if below is not None:
        statement = statement.where(table.change < below)
    return [
        RuleChange(
            number=row["change"],
            at=_moment(row["changed_at"]),
            **{key: value for key, value in row.items() if key not in ("change", "changed_at")},
        )
        for row in connection.execute(statement).mappings()
    ]


def _note(
    connection: Connection, rule: Rule, action: str, *, actor: str, reason: str, now: float
) -> None:
    turn = _TURN.get(connection.dialect.name)
    if turn is not None:
        connection.execute(turn)
    # PostgreSQL keeps no NUL in a text.
    why = reason.replace("\0", "\N{REPLACEMENT CHARACTER}")
    said = {"action": action, "actor": actor, "reason": why, "changed_at": now}
    connection.execute(insert(retention_changes).values(**rule.model_dump(), **said))


def _known(row: dict[str, Any]) -> KnownRule:
    """Not checked again: a row that was written by hand must not end who reads it."""
    return KnownRule.model_construct(**row | {"changed_at": _moment(row["changed_at"])})


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


# -- jobs -----------------------------------------------------------------------------------


def pairs(connection: Connection, act: Act) -> Iterator[Pair]:
    """The tenants and operations that have jobs to which it may be done.

    Goes from one to the next through the index, whose other rows it does not read.
    """
    found = _next(connection, act, None)
    while found is not None:
        yield found
        found = _next(connection, act, found)


def _next(connection: Connection, act: Act, last: Pair | None) -> Pair | None:
    if last is None:
        return _pair(connection, _may(act))
    same = _may(act).where(
        job_control.c.tenant == last.tenant, job_control.c.operation > last.operation
    )
    another = _may(act).where(job_control.c.tenant > last.tenant)
    return _pair(connection, same) or _pair(connection, another)


def _may(act: Act) -> Select[tuple[str, str]]:
    table = job_control.c
    return (
        select(table.tenant, table.operation)
        .where(_FROM[act].is_not(None))
        .order_by(table.tenant, table.operation)
        .limit(1)
    )


def _pair(connection: Connection, statement: Select[tuple[str, str]]) -> Pair | None:
    row = connection.execute(statement).first()
    return None if row is None else Pair(*row)


def due_jobs(
    connection: Connection, act: Act, pair: Pair, *, until: float, after: Due | None, most: int
) -> list[Due]:
    """Jobs to which it might have been done ``until`` then, from behind one on, in order."""
    table, since = job_control.c, _FROM[act]
    behind = after or _FIRST
    rows = connection.execute(
        select(table.job_id, table.version, since)
        .where(
            table.tenant == pair.tenant,
            table.operation == pair.operation,
            since.is_not(None),
            since <= until,
            ~_needed(),
            tuple_(since, table.job_id) > tuple_(literal(behind.since), literal(behind.job_id)),
        )
        .order_by(since, table.job_id)
        .limit(most)
    )
    return [Due(*row) for row in rows]


def _needed() -> ColumnElement[bool]:
    """Whether others still need a job: who waits for it, or a batch that goes on."""
    job, batch = job_control.c, job_control.alias()
    waited_for = select(waits.c.job_id).where(waits.c.needs == job.job_id)
    of_a_batch = (
        select(children.c.batch)
        .join(batch, batch.c.job_id == children.c.batch)
        .where(children.c.job_id == job.job_id, batch.c.ended.is_(None))
    )
    return or_(waited_for.exists(), of_a_batch.exists())


def jobs_of(connection: Connection, batch: str) -> list[tuple[str, float]]:
    """The operations of the jobs of a batch that may be put away, each with since when."""
    table = job_control.c
    rows = connection.execute(
        select(table.operation, table.archive_from)
        .join(children, children.c.job_id == table.job_id)
        .where(children.c.batch == batch, table.archive_from.is_not(None))
    )
    return [(operation, since) for operation, since in rows]
