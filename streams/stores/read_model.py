"""Read model: the list of jobs, kept up with the notification log.

The projector is the one writer: rows and its position are one transaction, and the
position moves by compare-and-set, so that a second projector changes nothing. Lists may
lag behind the events, and :func:`lag` says by how much.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import structlog
from eventsourcing.persistence import Mapper, Notification
from pydantic import ValidationError
from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    delete,
    func,
    or_,
    select,
    update,
)

from domain.errors import (
    InvalidCommand,
    MessageUnreadable,
    UnsupportedVersion,
    VersionConflict,
)
from domain.events import JobStatus
from domain.jobs import stored_event
from domain.views import JobSummary, listed, summary_after
from streams.stores import keyset
from streams.stores.caseless import contains
from streams.stores.keyset import Sort
from streams.stores.project_figures import ProjectFigures
from streams.stores.schema import events, job_list, positions
from streams.stores.statements import fixed, insertion

log = structlog.get_logger(__name__)

MAX_PAGE = 500

SORTS = {
    "created_at": job_list.c.created_at,
    "name": job_list.c.name,
    "operation": job_list.c.operation,
    "priority": job_list.c.priority,
    "status": job_list.c.status,
}

READER = "projector"
"""The name under which the projector keeps its position."""

TAG_MARK = "\n"
"""Stands around each tag; a tag is kept as JSON, in which no newline is left."""


_POSITION = fixed(select(positions.c.position).where(positions.c.reader == bindparam("reader")))
_BEGIN = insertion(positions, "reader", "position", or_ignore=True)
_ADVANCE = fixed(
    update(positions)
    .where(positions.c.reader == bindparam("who"), positions.c.position == bindparam("seen"))
    .values(position=bindparam("to"))
)
_ONE = fixed(select(job_list.c.document).where(job_list.c.job_id == bindparam("job_id")))
_REMOVE = fixed(delete(job_list).where(job_list.c.job_id == bindparam("job_id")))
_ADD = insertion(job_list, *job_list.c.keys())


@dataclass(frozen=True, slots=True)
class Page:
    """Documents of jobs (:class:`~domain.views.JobSummary`); the last page has no cursor."""

    items: list[dict[str, Any]]
    next_cursor: str | None


def project(
    connection: Connection, notifications: Sequence[Notification], mapper: Mapper[str]
) -> None:
    """Carry the list of jobs forward; what it has seen already changes nothing.

    A damaged event is passed over: the next one of its job tells status and counts as well.
    Raises VersionConflict, and must then be rolled back, when another projector was
    faster; UnsupportedVersion for an event of a later release.
    """
    seen = position(connection, READER)
    fresh = [notification for notification in notifications if notification.id > seen]
    if not fresh:
        return
    advance(connection, READER, seen=seen, to=fresh[-1].id)
    known = _summaries(connection, {str(notification.originator_id) for notification in fresh})
    rows: dict[str, dict[str, Any]] = {}
    figures = ProjectFigures()
    for notification in fresh:
        try:
            event = stored_event(mapper, notification)
            before = known.get(event.originator_id)
            summary = summary_after(before, event)
        except (MessageUnreadable, ValueError) as damage:
            log.error("event_not_listed", position=notification.id, reason=str(damage))
            continue
        known[event.originator_id] = summary
        figures.take(before, summary, event)
        rows[event.originator_id] = _row(summary, event.tenant, notification.id)
    if rows:
        figures.write(connection)
        _REMOVE.send_many(connection, [{"job_id": job_id} for job_id in rows])
        _ADD.send_many(connection, list(rows.values()))


def position(connection: Connection, reader: str) -> int:
    """The id of the last notification that a reader has dealt with; 0 when it has none."""
    return int(_POSITION.run(connection, reader=reader).scalar() or 0)


def advance(connection: Connection, reader: str, *, seen: int, to: int) -> None:
    """Move a reader's position from ``seen`` on; raises VersionConflict if it is not there."""
    if not seen:
        _BEGIN.run(connection, reader=reader, position=0)
    if _ADVANCE.run(connection, who=reader, seen=seen, to=to).count != 1:
        raise VersionConflict(
            f"another {reader} has moved on from {seen}; read its position and go on from there"
        )


def lag(connection: Connection) -> int:
    """How many events the list of jobs does not show yet."""
    behind = select(func.count()).where(events.c.id > position(connection, READER))
    return int(connection.scalar(behind) or 0)


def list_jobs(  # noqa: PLR0913 - the parameters of GET /api/v1/jobs, named by callers
    connection: Connection,
    tenant: str,
    *,
    status: Collection[JobStatus] = (),
    operation: str | None = None,
    system: str | None = None,
    tag: str | None = None,
    within: Collection[str] = (),
    q: str | None = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    sort: str = "-created_at",
    cursor: str | None = None,
    limit: int = 50,
) -> Page:
    """A page of the tenant's jobs; ``q`` is looked for in names, case aside.

    ``status`` empty means any but archived. ``within`` are tags of which a job must have one,
    whatever else is asked for. ``cursor`` is the ``next_cursor`` of the page
    before, under the same ``sort`` (one of ``SORTS``, a minus before it for descending).
    Raises InvalidCommand, with a pointer to the parameter, for what it does not understand.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidCommand(f"limit must be 1 to {MAX_PAGE}", pointer="/limit")
    jobs = job_list.c
    conditions: list[ColumnElement[bool]] = [jobs.tenant == tenant]
    if status:
        conditions.append(jobs.status.in_(list(status)))
    else:
        conditions.append(jobs.status != JobStatus.ARCHIVED.value)
    if operation is not None:
        conditions.append(jobs.operation == _storable(operation))
    if system is not None:
        conditions.append(jobs.system == _storable(system))
    if tag is not None:
        conditions.append(_has_tag(tag))
    if within:
        conditions.append(or_(*map(_has_tag, sorted(within))))
    if q is not None:
        conditions.append(contains(jobs.name, _storable(q)))
    if created_after is not None:
        conditions.append(jobs.created_at > created_after.timestamp())
    if created_before is not None:
        conditions.append(jobs.created_at < created_before.timestamp())
    return _page(connection, conditions, keyset.parse_sort(sort, SORTS), cursor, limit)


def _page(
    connection: Connection,
    conditions: list[ColumnElement[bool]],
    sort: Sort,
    cursor: str | None,
    limit: int,
) -> Page:
    """One row more than the page holds tells whether there is a next one."""
    key = job_list.c.job_id
    if cursor is not None:
        conditions.append(sort.behind(cursor, key))
    rows = connection.execute(
        select(sort.column, key, job_list.c.document)
        .where(*conditions)
        .order_by(*sort.order(key))
        .limit(limit + 1)
    ).all()
    page = rows[:limit]
    following = sort.cursor(page[-1][0], page[-1][1]) if len(rows) > limit else None
    return Page([listed(orjson.loads(row[2])) for row in page], following)


def _storable(words: str) -> str:
    """PostgreSQL keeps no NUL in a text; in the document it is escaped."""
    return words.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _has_tag(tag: str) -> ColumnElement[bool]:
    """Not LIKE, which takes upper and lower case for the same on SQLite."""
    tags = job_list.c.tags
    return func.replace(tags, _tag_mark(tag), "") != tags


def _tag_mark(tag: str) -> str:
    """What column ``tags`` contains if and only if the job has the tag."""
    return TAG_MARK + orjson.dumps(tag).decode() + TAG_MARK


def _summaries(connection: Connection, job_ids: Collection[str]) -> dict[str, JobSummary]:
    if len(job_ids) == 1:
        # As long as a large job is at work, it is the only one nearly always.
        (job_id,) = job_ids
        document = _ONE.run(connection, job_id=job_id).scalar()
        return {} if document is None else {job_id: _summary(job_id, document)}
    rows = connection.execute(
        select(job_list.c.job_id, job_list.c.document).where(job_list.c.job_id.in_(job_ids))
    )
    return {job_id: _summary(job_id, document) for job_id, document in rows}


def _summary(job_id: str, document: str) -> JobSummary:
    try:
        return JobSummary.model_validate_json(document)
    except ValidationError as error:
        raise UnsupportedVersion(
            f"job {job_id} in the list was written by a later release; upgrade this process"
        ) from error


def _row(summary: JobSummary, tenant: str, notification_id: int) -> dict[str, Any]:
    return {
        "job_id": summary.job_id,
        "position": notification_id,
        "version": summary.version,
        "tenant": tenant,
        "operation": summary.operation,
        "system": summary.operation.partition(".")[0],
        "status": summary.status.value,
        "name": _storable(summary.name),
        "tags": "".join(map(_tag_mark, summary.tags)),
        "priority": summary.priority,
        "created_by": summary.created_by,
        "created_at": summary.created_at.timestamp(),
        "document": summary.model_dump_json(),
    }
