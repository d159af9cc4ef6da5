"""What is called back: slow chunks of a job that give back the items that have not begun."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, delete, insert, select

from streams.stores.schema import recalls


def recall(connection: Connection, job_id: str, *, before: int) -> None:
    """Call back the slow chunks of a job with numbers below ``before``; its control is locked."""
    connection.execute(delete(recalls).where(recalls.c.job_id == job_id))
    connection.execute(insert(recalls).values(job_id=job_id, before=before))


def recalled(connection: Connection, jobs: Collection[str]) -> dict[str, int]:
    """Below which number chunks are called back, by job; jobs without any are left out."""
    found = select(recalls.c.job_id, recalls.c.before).where(recalls.c.job_id.in_(jobs))
    return dict(connection.execute(found).tuples().all())
