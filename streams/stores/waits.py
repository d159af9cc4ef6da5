"""Waits: which jobs wait for the end of which, and which of them need wait no longer.

Rows are written in the transaction that makes a job wait, and removed in the one in which it
need not any more. Whether those it waits for have ended stands in their control rows: so
what is to be done follows from what is stored, whoever has died in between.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    delete,
    func,
    or_,
    select,
)

from domain.dependencies import SUITABLE
from domain.events import JobStatus
from domain.options import After
from streams.stores.schema import job_control, waits
from streams.stores.statements import fixed, insertion

TOLD_AT_ONCE = 100
"""How many jobs are told when the one before them ends; the sweep comes to the others."""

_INSERT = insertion(waits, "job_id", "needs", "ending")
_BEHIND = fixed(
    select(waits.c.job_id)
    .where(waits.c.needs == bindparam("job"))
    .order_by(waits.c.job_id)
    .limit(TOLD_AT_ONCE)
)


def keep_waits(
    connection: Connection, job_id: str, awaited: Sequence[After], before: Sequence[After]
) -> None:
    """Have the rows say for whom a job waits; ``before`` is what they say."""
    if awaited == before:
        return
    connection.execute(delete(waits).where(waits.c.job_id == job_id))
    rows = [
        {"job_id": job_id, "needs": after.job_id, "ending": after.end.value} for after in awaited
    ]
    _INSERT.run_many(connection, rows)


def ends_of(connection: Connection, job_ids: Collection[str]) -> dict[str, JobStatus]:
    """How jobs have ended; those that have not are left out."""
    rows = connection.execute(
        select(job_control.c.job_id, job_control.c.ended).where(
            job_control.c.job_id.in_(job_ids), job_control.c.ended.is_not(None)
        )
    )
    return {job_id: JobStatus(ended) for job_id, ended in rows}


def known_to(connection: Connection, tenant: str, job_ids: Collection[str]) -> set[str]:
    """Those of some jobs that the tenant has."""
    return set(
        connection.scalars(
            select(job_control.c.job_id).where(
                job_control.c.job_id.in_(job_ids), job_control.c.tenant == tenant
            )
        )
    )


def behind(connection: Connection, job_id: str) -> list[str]:
    """Jobs that wait for the end of one, some of very many."""
    return [found for (found,) in _BEHIND.ahead(connection, job=job_id)]


def ready(connection: Connection, after: str = "", limit: int = 500) -> list[str]:
    """Jobs that wait for nothing any more, or in vain, by id behind ``after``; for a sweep."""
    ended = job_control.c.ended
    in_vain = func.sum(case((and_(ended.is_not(None), ~_suits()), 1), else_=0))
    return list(
        connection.scalars(
            select(waits.c.job_id)
            .select_from(waits.outerjoin(job_control, job_control.c.job_id == waits.c.needs))
            .where(waits.c.job_id > after)
            .group_by(waits.c.job_id)
            .having(or_(func.count(ended) == func.count(), in_vain > 0))
            .order_by(waits.c.job_id)
            .limit(limit)
        )
    )


def _suits() -> ColumnElement[bool]:
    return or_(
        *(
            and_(
                waits.c.ending == ending.value,
                job_control.c.ended.in_([status.value for status in statuses]),
            )
            for ending, statuses in SUITABLE.items()
        )
    )
