"""Usage: what a tenant has in the database, as the rows of its uploads and jobs say."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, and_, bindparam, case, func, select

from streams.stores.archives import Stage
from streams.stores.schema import job_control, payload_keys, uploads
from streams.stores.schema_keeping import archives
from streams.stores.sealing import SHREDDED
from streams.stores.statements import Answer, fixed


@dataclass(frozen=True, slots=True)
class Usage:
    """Items sent since the day began, and bytes of all items that are kept, before compression."""

    items_today: int
    bytes: int

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.items_today + other.items_today, self.bytes + other.bytes)


_TODAY = case((uploads.c.created_at >= bindparam("since"), uploads.c["items"]), else_=0)
_IS_HERE = and_(
    payload_keys.c.algorithm != SHREDDED,
    archives.c.stage.is_distinct_from(Stage.EMPTIED.value),
    archives.c.stage.is_distinct_from(Stage.CLEARED.value),
)
_KEPT = case((_IS_HERE, uploads.c.size), else_=0)
"""Neither what was shredded nor what an archived job has given up; the keys of what is sealed in
its file are here all the same."""
_OF = (
    select(func.coalesce(func.sum(_TODAY), 0), func.coalesce(func.sum(_KEPT), 0))
    .select_from(
        uploads.outerjoin(payload_keys, payload_keys.c.upload_id == uploads.c.upload_id).outerjoin(
            archives, archives.c.job_id == uploads.c.job_id
        )
    )
    .where(uploads.c.tenant == bindparam("tenant"))
)
# Two statements: PostgreSQL makes a plan for each, and one is for many rows, the other for few.
_BEFORE = fixed(_OF.where(uploads.c.created_at < bindparam("mark")))
_AFTER = fixed(_OF.where(uploads.c.created_at >= bindparam("mark")))
_OPEN = (
    select(job_control.c.job_id)
    .where(job_control.c.ended.is_(None), job_control.c.tenant == bindparam("tenant"))
    .limit(bindparam("most"))
)
_COUNT = fixed(select(func.count()).select_from(_OPEN.subquery()))


def before(connection: Connection, tenant: str, since: float, mark: float) -> Usage:
    """What a tenant uses of what began to come before a moment: all of its uploads are read.

    One that no job has taken counts until it is cleaned up.
    """
    return _usage(_BEFORE.run(connection, tenant=tenant, since=since, mark=mark))


def after(connection: Connection, tenant: str, since: float, mark: float) -> Usage:
    """What of it began to come then or later; no other upload is read."""
    return _usage(_AFTER.run(connection, tenant=tenant, since=since, mark=mark))


def _usage(answer: Answer) -> Usage:
    items, size = answer.rows[0]
    return Usage(int(items), int(size))


def open_jobs(connection: Connection, tenant: str, most: int) -> int:
    """How many jobs of a tenant have not ended, drafts included; counted up to ``most``."""
    return int(_COUNT.run(connection, tenant=tenant, most=most).scalar() or 0)
