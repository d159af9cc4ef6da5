"""Job files: files that belong to jobs, in pieces, so that every process can serve them.

One is written piece by piece and can be read once it is whole. It goes with what was sent to its
job when that is shredded, and after some time in any case.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, update

from streams.stores.decisions import insert_ignore
from streams.stores.job_parts import remove_parts
from streams.stores.schema_files import job_file_pieces as pieces
from streams.stores.schema_files import job_files as files

PIECE: int = 256 * 1024
"""Bytes of each piece but the last."""
MAX_SECONDS: int = 30 * 86400
"""How long a file of a job is kept."""


@dataclass(frozen=True, slots=True)
class JobFile:
    """What is known of a file; ``size`` and ``sha256`` are None until it is whole."""

    job_id: str
    role: str
    tenant: str
    project_id: int | None
    name: str
    media_type: str
    about: str
    created_at: float
    size: int | None = None
    sha256: str | None = None


_IN_ORDER = (files, pieces)
"""As they are removed: a file's row waits for who is just adding to it, whose pieces are seen then;
and whoever comes after finds no file to add to."""
_COLUMNS = tuple(files.c[name] for name in JobFile.__dataclass_fields__)


def begin(connection: Connection, file: JobFile) -> None:
    """A file that is to be written; nothing happens where the job has one of that role."""
    values = {name: getattr(file, name) for name in JobFile.__dataclass_fields__}
    connection.execute(insert_ignore(connection, files).values(values))


def begun(connection: Connection, file: JobFile) -> JobFile:
    """As ``begin``; the file as it stands, which may have been begun before."""
    begin(connection, file)
    mine = (files.c.job_id == file.job_id, files.c.role == file.role)
    return JobFile(*connection.execute(select(*_COLUMNS).where(*mine)).one())


def add(connection: Connection, file: JobFile, first: int, data: list[bytes]) -> bool:
    """Pieces of it, from the place of the first on; one that is there already stays.

    Returns False, and stores nothing, where the file was removed meanwhile, or is whole.
    """
    mine = (files.c.job_id == file.job_id, files.c.role == file.role, files.c.size.is_(None))
    if connection.execute(select(files.c.role).where(*mine).with_for_update()).first() is None:
        return False
    rows = [
        {"job_id": file.job_id, "role": file.role, "piece": number, "data": piece}
        for number, piece in enumerate(data, start=first)
    ]
    connection.execute(insert_ignore(connection, pieces), rows)
    return True


def finish(connection: Connection, file: JobFile, size: int, sha256: str) -> None:
    """It is whole."""
    connection.execute(
        update(files)
        .where(files.c.job_id == file.job_id, files.c.role == file.role, files.c.size.is_(None))
        .values(size=size, sha256=sha256)
    )


def find(connection: Connection, tenant: str, job_id: str, role: str) -> JobFile | None:
    """The tenant's file of that job; None for one that is not whole."""
    row = connection.execute(
        select(*_COLUMNS).where(
            files.c.job_id == job_id,
            files.c.role == role,
            files.c.tenant == tenant,
            files.c.size.is_not(None),
        )
    ).first()
    return None if row is None else JobFile(*row)


def piece_of(connection: Connection, file: JobFile, number: int) -> bytes | None:
    """One of its pieces; None for one that is not there, or no longer."""
    data = connection.scalar(
        select(pieces.c.data).where(
            pieces.c.job_id == file.job_id, pieces.c.role == file.role, pieces.c.piece == number
        )
    )
    return None if data is None else bytes(data)


def remove_of(connection: Connection, job_id: str) -> None:
    """All files of a job, and what it has made for one."""
    remove_parts(connection, job_id)
    for table in _IN_ORDER:
        connection.execute(delete(table).where(table.c.job_id == job_id))


def remove_unfinished(connection: Connection, job_id: str, role: str) -> None:
    """The file of that role, and what the job has made for it, unless it is whole."""
    mine = (files.c.job_id == job_id, files.c.role == role, files.c.size.is_(None))
    if connection.execute(delete(files).where(*mine)).rowcount:
        remove_parts(connection, job_id)
        gone = delete(pieces).where(pieces.c.job_id == job_id, pieces.c.role == role)
        connection.execute(gone)


def remove_old(connection: Connection, before: float, limit: int = 4) -> int:
    """Remove files that were begun before then, some at a time; returns how many."""
    found = connection.execute(
        select(files.c.job_id, files.c.role)
        .where(files.c.created_at < before)
        .order_by(files.c.created_at)
        .limit(limit)
    ).all()
    for job_id, role in found:
        for table in _IN_ORDER:
            gone = delete(table).where(table.c.job_id == job_id, table.c.role == role)
            connection.execute(gone)
    return len(found)
