"""Archive: all that is stored of a job as one file, which can be verified without its database.

NDJSON: a line that names the job, the signed heads, a line a row, and a last one with the
digest of all lines before it. To verify it, the rows are put into an empty database of
their own and looked at as those of any other are; so whatever the one finds, the other does.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from eventsourcing.persistence import StoredEvent
from sqlalchemy import ColumnElement, Connection, LargeBinary, Row, Table, exc, insert, select

from domain.errors import DataDirectoryUnusable, InvalidCommand, JobNotFound, WrongState
from domain.events import JobEmptied, JobEvent
from domain.jobs import JobMapper, stored_event
from streams.stores import schema, sealing
from streams.stores.audit.findings import Kind, Report
from streams.stores.audit.heads import HeadsFile
from streams.stores.audit.key import AuditKey
from streams.stores.audit.lines import Written, document_of, lines_of, no_archive
from streams.stores.audit.verify import SIGNING_SECONDS, verify_trail
from streams.stores.database import Database, sqlite_url
from streams.stores.schema import (
    chunk_faults,
    chunks,
    events,
    outcomes,
    payload_keys,
    payloads,
    uploads,
)
from streams.stores.schema_outside import compensations

FORMAT = 2
READABLE = (1, 2)
"""Before 2, no digest stood behind what is compressed."""
ROWS_AT_ONCE = 20
BYTES_AT_ONCE = 8_000_000
"""Of lines, after which fewer rows are put into a database at once; a row may be larger."""

_STEP_SECONDS = 0.05

_OF_JOB = (events, uploads, chunks, outcomes, chunk_faults, compensations)
_OF_UPLOAD = (payload_keys, payloads)
_TABLES = {table.name: table for table in (*_OF_JOB, *_OF_UPLOAD)}


@dataclass(slots=True)
class Archived:
    """How much an archive has of what; ``heads`` are signatures.

    ``sealed``: what was sent is in it as it was in the database, which keeps the keys.
    """

    job_id: str
    version: int
    heads: int = 0
    sealed: bool = False
    rows: dict[str, int] = field(default_factory=dict)


# -- writing ------------------------------------------------------------------------


def write_archive(
    database: Database,
    heads: HeadsFile,
    job_id: str,
    out: BinaryIO,
    *,
    sealed: bool = False,
    wait: Callable[[float], None] = time.sleep,
) -> Archived:
    """Write the archive of a job that is at rest into an empty file.

    It is read again, where the file was opened for that: rows may be deleted for its sake.
    ``sealed``: what was sent stays so, if all of it is. Raises JobNotFound when there is no such
    job, WrongState while it has something to do, and DataDirectoryUnusable for what verification
    or unsealing could not read.
    """
    found, written = database.snapshot_now(
        lambda connection: _rows_written(connection, job_id, out, sealed=sealed)
    )
    for line in _signed(heads, found, wait):
        written.add({"head": line.decode()})
        found.heads += 1
    written.end()
    if out.readable():
        _require_readable(out, job_id)
    return found


def _require_readable(out: BinaryIO, job_id: str) -> None:
    """Read the file as whoever verifies or unseals it does, to where it ends."""
    out.seek(0)
    taken = _Taken(io.BytesIO())
    try:
        for _ in _batches(taken, out):
            pass
    except InvalidCommand as error:
        taken.fault = error.message
    if taken.fault:
        raise DataDirectoryUnusable(
            f"the archive of job {job_id} cannot be read again ({taken.fault}); what it has stays "
            "in the database, try another disk"
        )
    out.seek(0, os.SEEK_END)


def _signed(heads: HeadsFile, found: Archived, wait: Callable[[float], None]) -> list[bytes]:
    """The signed heads; a server signs an event a moment after its commit."""
    waited = 0.0
    while True:
        signed = heads.read_of(found.job_id)
        last = signed.last.get(found.job_id)
        if last is not None and last.version > found.version:
            raise WrongState(f"job {found.job_id} goes on; archive it when it is at rest again")
        if (last is not None and last.version == found.version) or waited >= SIGNING_SECONDS:
            # One that was never signed is archived as it is, and verification says so.
            return heads.lines_of(found.job_id, signed)
        wait(_STEP_SECONDS)
        waited += _STEP_SECONDS


def _rows_written(
    connection: Connection, job_id: str, out: BinaryIO, *, sealed: bool
) -> tuple[Archived, Written]:
    """All rows of a job, in one transaction; a read that is repeated begins the file anew."""
    out.seek(0)
    out.truncate()
    written = Written(out)
    found = Archived(job_id, version=_version_at_rest(connection, job_id))
    found.sealed = sealed and sealing.is_sealed(connection, job_id)
    shown_as = _without_key if found.sealed else _in_the_clear
    written.add({"archive": {"format": FORMAT, "job_id": job_id}})
    of_uploads = select(uploads.c.upload_id).where(uploads.c.job_id == job_id)
    for table in _TABLES.values():
        mine: ColumnElement[bool] = (
            table.c.upload_id.in_(of_uploads) if table in _OF_UPLOAD else table.c.job_id == job_id
        )
        statement = select(table).where(mine).order_by(*table.primary_key.columns)
        found.rows[table.name] = 0
        # Closed whatever is raised within, or its cursor would outlive the transaction.
        with connection.execute(statement, execution_options={"yield_per": 10}) as result:
            for row in result.mappings():
                values = dict(row) | shown_as(connection, table, row)
                shown = {str(key): _shown(value) for key, value in values.items()}
                written.add({"table": table.name, "row": shown})
                found.rows[table.name] += 1
    return found, written


def _in_the_clear(connection: Connection, table: Table, row: Mapping[Any, Any]) -> dict[str, Any]:
    """What is sealed, opened: for who takes the file elsewhere."""
    if table is payload_keys and row["algorithm"] == sealing.AES_GCM:
        return {"algorithm": sealing.PLAIN, "key": b""}
    # Of what is shredded there is nothing to open.
    if table is payloads and row["data"]:
        return {"data": sealing.stored_part(connection, row["upload_id"], row["part"])}
    return {}


def _without_key(_connection: Connection, table: Table, row: Mapping[Any, Any]) -> dict[str, Any]:
    """What is sealed, as it is: whoever shreds the job has shredded this as well."""
    return {"key": b""} if table is payload_keys and row["key"] else {}


def _version_at_rest(connection: Connection, job_id: str) -> int:
    """The version of the last event, which must be one after which nothing follows by itself."""
    row = connection.execute(
        select(events.c.version, events.c.alias, events.c.state)
        .where(events.c.job_id == job_id)
        .order_by(events.c.version.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        raise JobNotFound.of(job_id)
    _require_not_emptied(connection, job_id)
    event = _event(job_id, row)
    if not event.status.terminal:
        raise WrongState(f"the job is {event.status}; archive it when it is at rest")
    return int(row.version)


def _require_not_emptied(connection: Connection, job_id: str) -> None:
    """What is stored of it now is not all that there was."""
    row = connection.execute(
        select(events.c.version, events.c.alias, events.c.state).where(
            events.c.job_id == job_id, events.c.alias == JobEmptied.alias
        )
    ).first()
    event = None if row is None else _event(job_id, row)
    if isinstance(event, JobEmptied):
        raise WrongState(
            f"job {job_id} is archived already: its archive is {event.file.name} "
            f"(SHA-256 {event.file.sha256}), in the directory of archives"
        )


def _event(job_id: str, row: Row[Any]) -> JobEvent:
    return stored_event(JobMapper(), StoredEvent(job_id, row.version, row.alias, bytes(row.state)))


def _shown(value: Any) -> Any:
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value


# -- verifying ----------------------------------------------------------------------


def verify_archive(file: BinaryIO, key: AuditKey | None) -> Report:
    """Look at all of an archive; without ``key`` its signatures are left out.

    Raises InvalidCommand for a file that is no archive.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with Database(sqlite_url(place / "archive.db")) as database:
            database.write_now(schema.metadata.create_all)
            with (place / "heads").open("wb") as signed:
                taken = _Taken(signed)
                for batch in _batches(taken, file):
                    database.write_now(partial(_insert, batch), lasting=False)
            heads = HeadsFile(place / "heads", key) if key is not None else None
            report = verify_trail(
                database, heads, job_id=taken.job_id, wait=_do_not_wait, archived=True
            )
    if not report.events:
        report.add(Kind.JOB_MISSING, "the archive has no event of its job", taken.job_id)
    if taken.fault:
        report.add(Kind.DAMAGED, taken.fault, taken.job_id)
    return report


_Row = tuple[Table, dict[str, Any]]


@dataclass(slots=True)
class _Taken:
    """What was read of an archive; ``fault`` says why it cannot be as it was written.

    Its signed heads are written into a file of their own.
    """

    heads: BinaryIO
    job_id: str = ""
    lines: int = 0
    ended: bool = False
    fault: str = ""
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def take(self, line: bytes) -> _Row | None:
        """The next line; the row that it is, if it is one."""
        document = document_of(line)
        if self.lines == 0:
            self._begin(document)
        elif self.ended:
            self.fault = "something follows its last line"
        elif "end" in document:
            self._end(document["end"])
            return None
        self.lines += 1
        self.digest.update(line)
        if "head" in document:
            self.heads.write(str(document["head"]).encode() + b"\n")
        return _row(document) if "table" in document else None

    def finish(self) -> None:
        """No more lines."""
        if not self.lines:
            raise no_archive("it is empty")
        if not self.ended:
            self.fault = self.fault or "its end is missing"

    def _begin(self, document: dict[str, Any]) -> None:
        about = document.get("archive")
        if not isinstance(about, dict):
            raise no_archive("its first line does not say so")
        if about.get("format") not in READABLE:
            raise no_archive(f"its format is {about.get('format')!r}; upgrade countermand")
        self.job_id = str(about.get("job_id", ""))

    def _end(self, end: Any) -> None:
        self.ended = True
        if end != {"lines": self.lines, "sha256": self.digest.hexdigest()}:
            self.fault = "its lines are not those that its last one names"


def _batches(taken: _Taken, file: BinaryIO) -> Iterator[list[_Row]]:
    batch: list[_Row] = []
    size = 0
    for line in lines_of(file):
        row = taken.take(line)
        if row is not None:
            batch.append(row)
            size += len(line)
        if len(batch) >= ROWS_AT_ONCE or size >= BYTES_AT_ONCE:
            yield batch
            batch, size = [], 0
    yield batch
    taken.finish()


def _insert(rows: list[_Row], connection: Connection) -> None:
    for table, row in rows:
        try:
            connection.execute(insert(table).values(row))
        except (exc.IntegrityError, exc.StatementError) as error:
            raise no_archive(f"a row of {table.name} cannot be taken ({error.orig})") from error


def _row(document: dict[str, Any]) -> _Row:
    table, row = _TABLES.get(str(document["table"])), document.get("row")
    if table is None or not isinstance(row, dict) or not row.keys() <= set(table.c.keys()):
        raise no_archive(f"it has rows that this release does not know ({document['table']!r})")
    return table, {key: _value(table, key, value) for key, value in row.items()}


def _value(table: Table, key: str, value: Any) -> Any:
    if value is None or not isinstance(table.c[key].type, LargeBinary):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise no_archive(f"{table.name}.{key} is no base64") from None


def _do_not_wait(_seconds: float) -> None:
    """Nobody signs what is in a file."""
