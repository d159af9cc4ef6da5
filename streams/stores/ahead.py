"""Ahead: which jobs have chunks with the workers of a system."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from domain.waiting import Ahead
from streams.stores.schema import chunks, job_control

MOST = 20


def working(connection: Connection, system: str) -> list[Ahead]:
    """Jobs with chunks in flight, those with the most first; of very many, some."""
    in_flight = func.count()
    rows = connection.execute(
        select(chunks.c.job_id, job_control.c.tenant, in_flight)
        .join(job_control, job_control.c.job_id == chunks.c.job_id)
        .where(chunks.c.open, job_control.c.operation.startswith(f"{system}.", autoescape=True))
        .group_by(chunks.c.job_id, job_control.c.tenant)
        .order_by(in_flight.desc(), chunks.c.job_id)
        .limit(MOST)
    )
    return [Ahead(job_id, tenant, number) for job_id, tenant, number in rows]
