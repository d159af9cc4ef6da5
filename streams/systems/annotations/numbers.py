"""Numbers: bulk operations by whole numbers, each of which stands for a job of the engine.

A number is given once the job is accepted. Whoever dies in between has a job without one, and
gets it by repeating the request under its idempotency key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy import ColumnElement, Connection, delete, func, or_, select

from domain.errors import RecordNotFound
from domain.systems.annotations.tables import operation_numbers as numbers
from domain.views import listed
from streams.callers import Caller
from streams.stores.decisions import insert_ignore
from streams.stores.schema import job_list
from streams.systems.annotations import readings
from streams.systems.annotations.access import visible
from streams.systems.annotations.reading import Rows

Condition = Callable[[datetime, Any], ColumnElement[bool]]
"""Of the present moment and a value."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """A bulk operation: its number, its job, and whose it is."""

    operation_id: int
    project_id: int
    job_id: str
    kind: str
    created_by: str
    created_at: float


_COLUMNS = (
    numbers.c.operation_id,
    numbers.c.project_id,
    numbers.c.job_id,
    numbers.c.kind,
    numbers.c.created_by,
    numbers.c.created_at,
)


def _is_at(now: datetime, status: str) -> ColumnElement[bool]:
    """Operations in a status: that of their job, or without one what their file says."""
    without = job_list.c.job_id.is_(None) & numbers.c.job_id.in_(readings.jobs_at(status, now))
    return or_(job_list.c.status == status, without)


FILTERS: Final[Mapping[str, Condition]] = {
    "type": lambda _, value: numbers.c.kind == value,
    "project_id": lambda _, value: numbers.c.project_id == value,
    "created_by": lambda _, value: numbers.c.created_by == value,
    "created_after": lambda _, value: numbers.c.created_at >= value,
    "created_before": lambda _, value: numbers.c.created_at < value,
    "status": _is_at,
}
"""By what the list is narrowed."""


def give(
    connection: Connection, caller: Caller, project_id: int, kind: str, job_id: str, now: float
) -> Numbered:
    """The number of a job, which it gets now unless it has one."""
    connection.execute(
        insert_ignore(connection, numbers).values(
            tenant=caller.tenant,
            project_id=project_id,
            job_id=job_id,
            kind=kind,
            created_by=caller.actor,
            created_at=now,
        )
    )
    row = connection.execute(
        select(*_COLUMNS).where(numbers.c.job_id == job_id, numbers.c.tenant == caller.tenant)
    ).one()
    return Numbered(*row)


def take_back(connection: Connection, job_id: str) -> None:
    """No number for a job that will not be."""
    connection.execute(delete(numbers).where(numbers.c.job_id == job_id))


def find(connection: Connection, caller: Caller, operation_id: int) -> Numbered:
    """The operation; raises RecordNotFound for one whose project the caller may not see."""
    row = connection.execute(
        select(*_COLUMNS).where(numbers.c.operation_id == operation_id, *_mine(caller))
    ).first()
    if row is None:
        raise RecordNotFound(f"there is no operation {operation_id}; check the id")
    return Numbered(*row)


def page(
    connection: Connection,
    caller: Caller,
    wanted: Mapping[str, Any],
    now: datetime,
    *,
    limit: int,
    offset: int,
) -> Rows:
    """Operations that the caller may see, the latest first, each with its job as it is listed.

    One that is not listed yet, for a fraction of a second, has no ``document``.
    """
    where = [*_mine(caller), *(FILTERS[name](now, value) for name, value in wanted.items())]
    source = numbers.outerjoin(job_list, job_list.c.job_id == numbers.c.job_id)
    total = connection.scalar(select(func.count()).select_from(source).where(*where)) or 0
    rows = connection.execute(
        select(*_COLUMNS, job_list.c.document)
        .select_from(source)
        .where(*where)
        .order_by(numbers.c.operation_id.desc())
        .limit(limit)
        .offset(offset)
    )
    return Rows([_with_document(*row) for row in rows], total)


def _with_document(*row: Any) -> dict[str, Any]:
    *columns, document = row
    return {
        "number": Numbered(*columns),
        "document": None if document is None else listed(orjson.loads(document)),
    }


def _mine(caller: Caller) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return numbers.c.tenant == caller.tenant, visible(caller, numbers.c.project_id)
