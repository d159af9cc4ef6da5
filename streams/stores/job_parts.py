"""Job parts: what a job makes of its items, until a file is put together of it.

A part is written by :mod:`.records.parts` in the transaction of its items' outcome, so that each
item is in one part or in none, whatever dies. Parts go when their file is whole, with what was
sent to the job when that is shredded, and after some time in any case.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from streams.stores.compression import decompress
from streams.stores.schema_files import job_parts as parts


def parts_after(
    connection: Connection, job_id: str, position: int, limit: int
) -> list[tuple[int, bytes]]:
    """Parts behind a position, in the order of their items, each with its first one."""
    rows = connection.execute(
        select(parts.c.position, parts.c.data)
        .where(parts.c.job_id == job_id, parts.c.position > position)
        .order_by(parts.c.position)
        .limit(limit)
    )
    return [(row.position, decompress(bytes(row.data))) for row in rows]


def remove_parts(connection: Connection, job_id: str) -> None:
    """All parts of a job."""
    connection.execute(delete(parts).where(parts.c.job_id == job_id))


def remove_old_parts(connection: Connection, before: float, limit: int = 100) -> int:
    """Remove parts that were made before then, some at a time; returns how many."""
    old = connection.execute(
        select(parts.c.job_id, parts.c.position)
        .where(parts.c.created_at < before)
        .order_by(parts.c.created_at)
        .limit(limit)
    ).all()
    for job_id, position in old:
        mine = (parts.c.job_id == job_id, parts.c.position == position)
        connection.execute(delete(parts).where(*mine))
    return len(old)
