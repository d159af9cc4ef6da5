"""Project figures: what jobs did for which project, kept up with the list of jobs.

Reports add up columns instead of reading events. Whoever carries the list forward carries
these rows forward in the same transaction, so that each event counts once; a job that is
projected from its first event again starts from nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, Dialect, Table, bindparam, delete
from sqlalchemy.sql.expression import ClauseElement

from domain.events import ChunksClosed, JobArchived, JobEmptied, JobEvent, JobStatus
from domain.views import JobSummary
from streams.stores.schema_reports import project_edits, project_hours, project_jobs
from streams.stores.statements import INSERTS, Statement, fixed, insertion

HOUR: Final = 3600
MAX_PROJECT: Final = 2**63 - 1
OUTCOMES: Final = ("succeeded", "failed", "skipped", "rolled_back", "conflict")
"""What can have become of an item."""
COUNTS: Final = ("total", "pending", *OUTCOMES)
WRITES: Final = ("created", "changed", "deleted")

Key = tuple[str, int]
"""A job, and an hour since the epoch."""


class ProjectFigures:
    """What some events change, event by event; then written at once."""

    def __init__(self) -> None:
        self._begun: set[str] = set()
        self._jobs: dict[str, dict[str, Any]] = {}
        self._hours: dict[Key, dict[str, Any]] = {}

    def take(self, before: JobSummary | None, after: JobSummary, event: JobEvent) -> None:
        """An event of a job, with the job's summary before and after it."""
        project_id = project_of(after.params)
        if project_id is None:
            return
        of_project = {
            "tenant": event.tenant,
            "system": after.operation.partition(".")[0],
            "project_id": project_id,
        }
        if before is None or after.version <= before.version:
            self._begun.add(after.job_id)
            self._hours = {key: row for key, row in self._hours.items() if key[0] != after.job_id}
            before = None
        status = _ended_as(after, event)
        if before is None or status is not JobStatus.ARCHIVED:
            self._jobs[after.job_id] = _job_row(after, status, of_project)
        self._count(before, after, event, of_project)

    def write(self, connection: Connection) -> None:
        """Store it, in the transaction that moves the projector's position."""
        if self._begun:
            _FORGET_HOURS.run_many(connection, [{"job_id": job_id} for job_id in self._begun])
        if self._jobs:
            _REMOVE_JOB.run_many(connection, [{"job_id": job_id} for job_id in self._jobs])
            _ADD_JOB.run_many(connection, list(self._jobs.values()))
        if self._hours:
            _ADD_HOURS.run_many(connection, list(self._hours.values()))

    def _count(
        self,
        before: JobSummary | None,
        after: JobSummary,
        event: JobEvent,
        of_project: Mapping[str, Any],
    ) -> None:
        """An item that comes back to what it was is no outcome: only what grows counts."""
        grown = {name: _grown(before, after, name) for name in OUTCOMES}
        busy = 0.0
        if isinstance(event, ChunksClosed):
            busy = sum(chunk.duration_ms for chunk in event.chunks) / 1000
        if not busy and not any(grown.values()):
            return
        hour = int(event.at.timestamp() // HOUR)
        row = self._hours.setdefault(
            (after.job_id, hour),
            {
                "job_id": after.job_id,
                "hour": hour,
                **of_project,
                **dict.fromkeys(OUTCOMES, 0),
                "busy_seconds": 0.0,
            },
        )
        for name, count in grown.items():
            row[name] += count
        row["busy_seconds"] += busy


def project_of(params: Mapping[str, Any]) -> int | None:
    """The project that a job's parameters name, if they name one."""
    found = params.get("project_id")
    if isinstance(found, int) and not isinstance(found, bool) and 0 < found <= MAX_PROJECT:
        return found
    return None


def note_edit(
    connection: Connection,
    tenant: str,
    project_id: int,
    actor: str,
    now: float,
    *,
    kind: str,
    verb: str,
) -> None:
    """Somebody has written a record by hand; ``verb`` is one of ``WRITES``."""
    row = {
        "tenant": tenant,
        "project_id": project_id,
        "hour": int(now // HOUR),
        "actor": actor,
        "kind": kind,
        **dict.fromkeys(WRITES, 0),
        verb: 1,
    }
    _ADD_EDIT.run(connection, **row)


def _adding_up(table: Table, *numbers: str) -> Statement:
    """Adds rows to those with the same keys; one to nothing is itself."""

    def build(dialect: Dialect) -> ClauseElement:
        statement = INSERTS[dialect.name](table)
        keys = list(table.primary_key.columns)
        sums = {name: table.c[name] + statement.excluded[name] for name in numbers}
        values: dict[str, Any] = {column.name: bindparam(column.name) for column in table.c}
        made: ClauseElement = statement.values(values).on_conflict_do_update(
            index_elements=keys, set_=sums
        )
        return made

    return Statement(build)


_FORGET_HOURS = fixed(delete(project_hours).where(project_hours.c.job_id == bindparam("job_id")))
_REMOVE_JOB = fixed(delete(project_jobs).where(project_jobs.c.job_id == bindparam("job_id")))
_ADD_JOB = insertion(project_jobs, *project_jobs.columns.keys())
_ADD_HOURS = _adding_up(project_hours, *OUTCOMES, "busy_seconds")
_ADD_EDIT = _adding_up(project_edits, *WRITES)


def _ended_as(summary: JobSummary, event: JobEvent) -> JobStatus:
    """The status that counts: to put a job away changes nothing of how it had ended.

    What happens to it afterwards, as a hold, does not tell that once more.
    """
    if isinstance(event, JobArchived | JobEmptied):
        return event.was
    return summary.status


def _job_row(
    summary: JobSummary, status: JobStatus, of_project: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "job_id": summary.job_id,
        **of_project,
        "operation": summary.operation,
        "status": status.value,
        "created_by": summary.created_by,
        "created_at": summary.created_at.timestamp(),
        **{name: getattr(summary.counts, name) for name in COUNTS},
    }


def _grown(before: JobSummary | None, after: JobSummary, name: str) -> int:
    was = 0 if before is None else getattr(before.counts, name)
    return max(0, int(getattr(after.counts, name)) - int(was))
