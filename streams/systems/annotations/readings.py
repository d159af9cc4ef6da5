"""Readings: how far a file is read that will be a job, for whoever asks at any process.

A row among the files of jobs, under the id that the job will have, from when the file is
recognised until the job is there. Whoever reads writes it again and again, until the job is
there, and finds that way that somebody has cancelled it: who cancels compares the words that
were written before, and who reads writes on no end.

Whoever dies between the command and the end of the reading leaves a row beside a job: a reading
whose job has events is over, whatever the row says.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, Field
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    delete,
    exists,
    false,
    or_,
    select,
    update,
)

from domain.values import Value
from streams.stores import job_files
from streams.stores.job_files import JobFile
from streams.stores.schema import events
from streams.stores.schema_files import job_files as files

ROLE: Final = "reading"
LOST_SECONDS: Final = 30.0
"""Who has not said for so long how far it is has died."""


class Fault(Value):
    """Why no job has come of a file."""

    code: str
    message: str


CANCELLED: Final = "cancelled"
"""The fault of a file that somebody did not want to be read any further."""
_NO_FAULT: Final = '%"fault":null%'
_CANCELLED: Final = f'%"fault":{{"code":"{CANCELLED}"%'
"""What stands in a row; no name of a file holds it, whose quotes have a stroke before them."""
_seen_at = files.c.created_at
"""When the reader was last seen: in the column of a row that is there to be compared."""
_IS_JOB: Final = exists().where(events.c.job_id == files.c.job_id)
LOST: Final = Fault(
    code="reader_lost", message="the process that read the file has ended; send the file again"
)


class Reading(Value):
    """How far a file is read, in bytes and in what was found; with a fault, how far it was.

    ``name`` is that of the file, ``title`` that of the job.
    """

    name: str
    title: str = ""
    dry_run: bool = False
    bytes_total: Annotated[int, Field(ge=0)]
    bytes_read: Annotated[int, Field(ge=0)] = 0
    accepted: int = 0
    rejected: int = 0
    whole: Annotated[bool, Field(description="It is read to its end.")] = False
    began_at: AwareDatetime
    seen_at: AwareDatetime
    fault: Fault | None = None

    @property
    def percentage(self) -> float:
        """How much of the file is read."""
        return round(100.0 * self.bytes_read / self.bytes_total, 2) if self.bytes_total else 0.0

    def at(self, now: datetime) -> Reading:
        """As it is at a moment."""
        if self.fault is None and self.seen_at < _lost_before(now):
            return self.model_copy(update={"fault": LOST})
        return self


def begin(
    connection: Connection, *, tenant: str, project_id: int, job_id: str, reading: Reading
) -> None:
    """A file begins to be read."""
    job_files.begin(
        connection,
        JobFile(
            job_id=job_id,
            role=ROLE,
            tenant=tenant,
            project_id=project_id,
            name=reading.name[:300],
            media_type="application/json",
            **_stored(reading),
        ),
    )


def note(connection: Connection, *, job_id: str, before: Reading, after: Reading) -> bool:
    """Another state, unless somebody has written one meanwhile; returns whether it was written."""
    done = connection.execute(
        update(files)
        .where(*_mine(job_id), files.c.about == before.model_dump_json())
        .values(_stored(after))
    )
    return done.rowcount == 1


def go_on(connection: Connection, *, job_id: str, after: Reading) -> bool:
    """What its reader says, unless it has ended; returns whether it was written.

    It asks for no words of its own: the last ones may be there although nobody heard that.
    """
    done = connection.execute(
        update(files).where(*_mine(job_id), files.c.about.like(_NO_FAULT)).values(_stored(after))
    )
    return done.rowcount == 1


def find(connection: Connection, tenant: str, job_id: str) -> Reading | None:
    """How far the file of a job is read; None where it is read, or there is none."""
    return find_all(connection, tenant, [job_id]).get(job_id)


def find_all(connection: Connection, tenant: str, jobs: Collection[str]) -> dict[str, Reading]:
    """Those of some jobs, but for jobs that are there."""
    if not jobs:
        return {}
    rows = connection.execute(
        select(files.c.job_id, files.c.about).where(
            files.c.job_id.in_(jobs), files.c.role == ROLE, files.c.tenant == tenant, ~_IS_JOB
        )
    )
    return {job_id: Reading.model_validate_json(about) for job_id, about in rows}


def jobs_at(status: str, now: datetime) -> Select[tuple[str]]:
    """The jobs that are not there yet, whose files are read now, or from which nothing came.

    As ``Reading.at`` that moment says of each.
    """
    found = select(files.c.job_id).where(files.c.role == ROLE, ~_IS_JOB)
    given_up = files.c.about.not_like(_NO_FAULT)
    cancelled = files.c.about.like(_CANCELLED)
    lost = _seen_at < _lost_before(now).timestamp()
    match status:
        case "pending":
            return found.where(~given_up, ~lost)
        case "cancelled":
            return found.where(cancelled)
        case "failed":
            return found.where(or_(given_up, lost), ~cancelled)
        case _:
            return found.where(false())


def is_job(connection: Connection, job_id: str) -> bool:
    """Whether the job is there."""
    found = select(events.c.job_id).where(events.c.job_id == job_id).limit(1)
    return connection.execute(found).first() is not None


def end(connection: Connection, job_id: str) -> None:
    """The job is there, or nothing is to be left."""
    connection.execute(delete(files).where(*_mine(job_id)))


def _lost_before(now: datetime) -> datetime:
    """Who was last seen before that has died."""
    return now - timedelta(seconds=LOST_SECONDS)


def _stored(reading: Reading) -> dict[str, Any]:
    """What a row says of a reading."""
    return {"about": reading.model_dump_json(), _seen_at.key: reading.seen_at.timestamp()}


def _mine(job_id: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return files.c.job_id == job_id, files.c.role == ROLE
