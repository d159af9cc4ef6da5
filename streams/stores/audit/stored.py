"""Stored bytes: rows as the database keeps them, whatever somebody has put into them.

Text is read as bytes, since bytes that are no UTF-8 would end a query with an error, and
with the type that SQLite has given to each value, since a column there takes any type.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Select,
    String,
    func,
    select,
    tuple_,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from streams.stores.chain import Head, stored_hash
from streams.stores.schema import events

BATCH = 1000


class stored_bytes(FunctionElement[bytes]):  # noqa: N801 - an SQL function by its look
    """The bytes of a text or of a binary column."""

    type = LargeBinary()
    inherit_cache = True


@compiles(stored_bytes, "sqlite")
def _sqlite_bytes(element: stored_bytes, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **options)} AS BLOB)"


@compiles(stored_bytes, "postgresql")
def _postgresql_bytes(element: stored_bytes, compiler: SQLCompiler, **options: Any) -> str:
    column = compiler.process(element.clauses, **options)
    (clause,) = element.clauses
    return column if isinstance(clause.type, LargeBinary) else f"convert_to({column}, 'UTF8')"


class stored_types(FunctionElement[str]):  # noqa: N801
    """The types of the values of some columns; empty where a column has but one."""

    type = String()
    inherit_cache = True


@compiles(stored_types, "sqlite")
def _sqlite_types(element: stored_types, compiler: SQLCompiler, **options: Any) -> str:
    columns = [compiler.process(clause, **options) for clause in element.clauses]
    return " || ' ' || ".join(f"typeof({column})" for column in columns)


@compiles(stored_types, "postgresql")
def _postgresql_types(_element: stored_types, _compiler: SQLCompiler, **_options: Any) -> str:
    return "''"


class StoredRow(NamedTuple):
    """An event as it is stored."""

    types: str
    id: int
    version: int
    job_id: bytes
    alias: bytes
    tenant: bytes
    actor: bytes
    command_id: bytes
    state: bytes
    previous_hash: bytes
    hash: bytes

    @property
    def job(self) -> str:
        """The job id for people to read."""
        return self.job_id.decode(errors="replace")

    @property
    def typed(self) -> bool:
        """Whether each value has its column's type; without it nothing else can be asked."""
        return self.types in ("", _TYPES)

    def fault(self) -> str:
        """Why the row cannot be as it was written; empty when it can."""
        if not self.typed:
            return "a value has another type than its column"
        if stored_hash(self.previous_hash, self.id, self.version, *self[3:9]) != self.hash:
            return "its bytes do not give its hash"
        return ""


_NUMBERS = (events.c.id, events.c.version)
_TEXTS = tuple(events.c[name] for name in ("job_id", "alias", "tenant", "actor", "command_id"))
_BINARIES = (events.c.state, events.c.previous_hash, events.c.hash)
_TYPES = "integer integer text text text text text blob blob blob"
_ROWS = select(
    stored_types(*_NUMBERS, *_TEXTS, *_BINARIES),
    *_NUMBERS,
    *(stored_bytes(column) for column in (*_TEXTS, *_BINARIES)),
)


def rows_by_job(connection: Connection, job_id: str | None) -> Iterator[StoredRow]:
    """The rows of a job, or of all, in the order of jobs and versions."""
    statement = _ROWS.order_by(events.c.job_id, events.c.version)
    return _rows(connection, statement if job_id is None else statement.where(_of(job_id)))


def rows_behind(connection: Connection, job_id: str, version: int) -> Iterator[StoredRow]:
    """The rows of a job behind a version, in order."""
    behind = _ROWS.where(_of(job_id), events.c.version > version)
    return _rows(connection, behind.order_by(events.c.version))


def rows_after(connection: Connection, number: int) -> Iterator[StoredRow]:
    """The rows with a larger id, in the order of their commits."""
    return _rows(connection, _ROWS.where(events.c.id > number).order_by(events.c.id))


def page_after(connection: Connection, number: int) -> list[StoredRow]:
    """As ``rows_after``, ``BATCH`` of them at most."""
    some = _ROWS.where(events.c.id > number).order_by(events.c.id).limit(BATCH)
    return [StoredRow(*row) for row in connection.execute(some)]


def newest_versions(connection: Connection, number: int) -> Iterator[tuple[str, int]]:
    """The newest version of each job among the events up to an id; two looks at an index a job."""
    statement = _newest(number)
    with connection.execute(statement, execution_options={"yield_per": BATCH}) as result:
        for job_id, version in result:
            # What has another type than its column is verification's.
            if isinstance(version, int):
                yield job_id.decode(errors="replace"), version


def _newest(number: int) -> Select[Any]:
    """From each job to the next one: what is grouped would be all of the log."""
    jobs = select(func.min(events.c.job_id).label("job_id")).cte("jobs", recursive=True)
    following = select(func.min(events.c.job_id)).where(events.c.job_id > jobs.c.job_id)
    jobs = jobs.union_all(select(following.scalar_subquery()).where(jobs.c.job_id.is_not(None)))
    version = select(func.max(events.c.version)).where(
        events.c.job_id == jobs.c.job_id, events.c.id <= number
    )
    return select(stored_bytes(jobs.c.job_id), version.scalar_subquery()).where(
        jobs.c.job_id.is_not(None)
    )


def rows_missed(
    connection: Connection, job_id: str, version: int, number: int
) -> Iterator[StoredRow]:
    """As ``rows_behind``, those with an id up to some number."""
    missed = _ROWS.where(_of(job_id), events.c.version > version, events.c.id <= number)
    return _rows(connection, missed.order_by(events.c.version))


def rows_of_heads(connection: Connection, heads: Sequence[Head]) -> dict[str, StoredRow]:
    """The rows at the versions of the given heads (one a job), by job."""
    versions = tuple_(events.c.job_id, events.c.version)
    wanted = versions.in_([(head.job_id, head.version) for head in heads])
    return {row.job: row for row in _rows(connection, _ROWS.where(wanted))}


def _of(job_id: str) -> ColumnElement[bool]:
    return events.c.job_id == job_id


def _rows(connection: Connection, statement: Select[Any]) -> Iterator[StoredRow]:
    with connection.execute(statement, execution_options={"yield_per": BATCH}) as result:
        for row in result:
            yield StoredRow(*row)
