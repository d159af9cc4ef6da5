"""Archives: how far the jobs have come that were put away, and what they give up.

Rows are written with the job's events. A job that was put away wants its file; who has
written it says so, and only while the job is at that version. The coordinator then stores
the event that names the file, and from there on the rows may go. Of what was written in
between, nothing counts: the next file is a new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, select, text, tuple_, update

from domain.archiving import ArchiveFile
from domain.job import Job
from streams.stores.schema import (
    chunk_faults,
    item_results,
    job_control,
    outcomes,
    payload_keys,
    payloads,
    plan_targets,
    planned_jobs,
    uploads,
)
from streams.stores.schema_items import item_keys, item_marks, repeated_items
from streams.stores.schema_keeping import archives
from streams.stores.schema_outside import compensations
from streams.stores.sealing import AES_GCM
from streams.stores.statements import INSERTS


class Stage(StrEnum):
    """How far an archived job has come."""

    HELD = "held"
    WANTED = "wanted"
    WRITTEN = "written"
    EMPTIED = "emptied"
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A job whose file is to be written, as it is at its version."""

    job_id: str
    version: int
    tenant: str
    operation: str
    shreddable: bool


_UPLOADS = select(uploads.c.upload_id)
_GIVEN_UP: Sequence[tuple[Table, int]] = (
    (outcomes, 50),
    (chunk_faults, 200),
    (item_results, 500),
    (compensations, 500),
    (repeated_items, 1000),
    (plan_targets, 1000),
    (item_marks, 1000),
    (item_keys, 1000),
    (payloads, 20),
    (payload_keys, 500),
)
"""What an archived job gives up, in this order, and how many rows of it at once.

Its events stay, and so do the rows by which records tell who has written them (chunks), what a
dry run has seen, which whoever applies it goes by, and the keys of what is sealed in the file: who
destroys them has destroyed that, wherever there are copies of it."""


def keep(connection: Connection, job: Job) -> None:
    """Say how far an archived job has come, in the transaction of its event."""
    if job.emptied is not None:
        # And whatever is decided about its keeping afterwards moves nothing.
        _move(connection, job.id, Stage.EMPTIED, Stage.WRITTEN)
        return
    stage = Stage.WANTED if job.awaits_file else Stage.HELD
    nothing = {"name": None, "sha256": None, "size": None}
    values = {"version": job.version, "stage": stage.value, **nothing}
    row = INSERTS[connection.dialect.name](archives).values(job_id=job.id, **values)
    connection.execute(row.on_conflict_do_update(index_elements=["job_id"], set_=values))


def wanted(connection: Connection, after: str, most: int) -> list[Wanted]:
    """Jobs whose files are to be written, by id, from behind ``after``."""
    control = job_control.c
    rows = connection.execute(
        select(
            archives.c.job_id,
            archives.c.version,
            control.tenant,
            control.operation,
            control.shred_from.is_not(None),
        )
        .join(job_control, control.job_id == archives.c.job_id)
        .where(_unfinished(Stage.WANTED), archives.c.job_id > after)
        .order_by(archives.c.job_id)
        .limit(most)
    )
    return [Wanted(*row) for row in rows]


def at(connection: Connection, stage: Stage, after: str, most: int) -> list[str]:
    """Jobs that have come so far, by id, from behind ``after``."""
    statement = (
        select(archives.c.job_id)
        .where(_unfinished(stage), archives.c.job_id > after)
        .order_by(archives.c.job_id)
        .limit(most)
    )
    return list(connection.scalars(statement))


def still_wanted(connection: Connection, job_id: str, version: int) -> bool:
    """Whether the file of a job at that version is wanted; holds it so for the transaction."""
    statement = select(archives.c.stage).where(_wants(job_id, version)).with_for_update()
    return connection.scalar(statement) is not None


def say_written(connection: Connection, job_id: str, version: int, file: ArchiveFile) -> bool:
    """The file of a job at that version is safe; False when nobody wants it any more."""
    values = {"stage": Stage.WRITTEN.value, **file.model_dump()}
    done = connection.execute(update(archives).where(_wants(job_id, version)).values(**values))
    return done.rowcount == 1


def written(connection: Connection, job_id: str, version: int) -> ArchiveFile | None:
    """The file of an archived job, if it was written of that version."""
    of_version = (archives.c.job_id == job_id) & (archives.c.version == version)
    return _file(connection, of_version & (archives.c.stage == Stage.WRITTEN.value))


def file_of(connection: Connection, job_id: str) -> ArchiveFile | None:
    """The file of an archived job, once there is one that counts."""
    return _file(connection, archives.c.job_id == job_id)


def held_file_of(connection: Connection, job_id: str) -> ArchiveFile | None:
    """As ``file_of``; and no other file of the job comes to count within the transaction."""
    return _file(connection, archives.c.job_id == job_id, hold=True)


def clear_some(connection: Connection, job_id: str) -> bool:
    """Remove some of what a job has given up; False when nothing was left, and that is said."""
    for table, most in _GIVEN_UP:
        if table is plan_targets and not _is_own_plan(connection, job_id):
            continue
        keys = list(table.primary_key.columns)
        some = select(*keys).where(_of_job(table, job_id)).limit(most)
        if connection.execute(delete(table).where(tuple_(*keys).in_(some))).rowcount:
            return True
    _move(connection, job_id, Stage.CLEARED, Stage.EMPTIED)
    return False


def _of_job(table: Table, job_id: str) -> ColumnElement[bool]:
    if "upload_id" in table.c:
        theirs = table.c.upload_id.in_(_UPLOADS.where(uploads.c.job_id == job_id))
        return theirs if table is not payload_keys else theirs & (table.c.algorithm != AES_GCM)
    mine: ColumnElement[bool] = table.c.job_id == job_id
    return mine


def _is_own_plan(connection: Connection, job_id: str) -> bool:
    """Whether a job is atomic. A dry run keeps its targets, so nobody looks through them."""
    planned = planned_jobs.c
    own = select(planned.job_id).where(planned.job_id == job_id, planned.plan == job_id)
    return connection.scalar(own) is not None


def _file(
    connection: Connection, which: ColumnElement[bool], *, hold: bool = False
) -> ArchiveFile | None:
    table = archives.c
    statement = select(table.name, table.sha256, table.size).where(which)
    row = connection.execute(statement.with_for_update() if hold else statement).first()
    if row is None or row.name is None:
        return None
    return ArchiveFile(name=row.name, sha256=row.sha256, size=row.size)


def _move(connection: Connection, job_id: str, stage: Stage, before: Stage) -> None:
    there = (archives.c.job_id == job_id) & (archives.c.stage == before.value)
    connection.execute(update(archives).where(there).values(stage=stage.value))


def _wants(job_id: str, version: int) -> ColumnElement[bool]:
    table = archives.c
    at_version = (table.job_id == job_id) & (table.version == version)
    return at_version & (table.stage == Stage.WANTED.value)


def _unfinished(stage: Stage) -> ColumnElement[bool]:
    # In the words of the partial index, which a parameter would hide.
    return and_(text("archives.stage <> 'cleared'"), archives.c.stage == stage.value)
