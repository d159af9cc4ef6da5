"""Flipping bytes: of every column of a job's rows, one at a time, and back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from sqlalchemy import Column, Connection, Table, Text, cast, literal, select, update
from sqlalchemy.exc import IntegrityError

from streams.stores.compression import compress, decompress
from streams.stores.database import Database
from streams.stores.schema import chunk_faults, events, outcomes, payloads, uploads

_TRIES = 300


@dataclass(frozen=True)
class Byte:
    """One byte of one value of one row."""

    table: Table
    key: tuple[Any, ...]
    column: Column[Any]
    position: int

    def __str__(self) -> str:
        return f"{self.table.name}{self.key}.{self.column.name}[{self.position}]"


def bytes_of(database: Database, job_id: str, *, columns: tuple[Column[Any], ...]) -> list[Byte]:
    """Every byte of the given columns in the rows that belong to a job."""

    def read(connection: Connection) -> list[Byte]:
        return [byte for column in columns for byte in _bytes(connection, column, job_id)]

    return database.read_now(read)


def as_older_releases_wrote(database: Database, *, behind: bytes = b"") -> None:
    """Nothing stands behind what is compressed, or just that."""

    def rewrite(connection: Connection) -> None:
        for column in MARKED:
            keys = tuple(column.table.primary_key.columns)
            for *key, data in connection.execute(select(*keys, column)).all():
                row = [own == value for own, value in zip(keys, key, strict=True)]
                older = compress(decompress(data)) + behind
                assert older != data
                connection.execute(update(column.table).where(*row).values({column.name: older}))

    database.write_now(rewrite)


class Flip(Enum):
    """What has become of a byte."""

    ANOTHER = auto()
    TAKEN = auto()
    """It is as it was: whatever else was tried there is another row's, by a unique constraint."""


@contextmanager
def flipped(database: Database, byte: Byte, chance: random.Random) -> Iterator[Flip]:
    """The byte is another one inside, if it can be."""
    before = database.read_now(lambda connection: _value(connection, byte))
    after = _write_changed(database, byte, before, chance)
    try:
        if after is before:
            yield Flip.TAKEN
        else:
            yield Flip.ANOTHER
    finally:
        database.write_now(lambda connection: _store(connection, byte, before, key=after))


def _bytes(connection: Connection, column: Column[Any], job_id: str) -> Iterator[Byte]:
    table = column.table
    assert isinstance(table, Table)
    of_job = (
        table.c.upload_id.in_(select(uploads.c.upload_id).where(uploads.c.job_id == job_id))
        if "upload_id" in table.c
        else table.c.job_id == job_id
    )
    keys = tuple(table.primary_key.columns)
    for row in connection.execute(
        select(*keys, column.label("value")).where(of_job).order_by(*keys)
    ):
        *key, value = row
        for position in range(len(_raw(column, value)) if value is not None else 0):
            yield Byte(table, tuple(key), column, position)


def _raw(column: Column[Any], value: Any) -> bytes:
    if isinstance(value, int):
        return value.to_bytes(8 if column.name == "id" else 4, "big", signed=True)
    return value.encode() if isinstance(value, str) else bytes(value)


def _write_changed(database: Database, byte: Byte, before: Any, chance: random.Random) -> Any:
    """Another number may be another row's: a few are tried, until the table takes one."""
    for _ in range(_TRIES):
        raw = bytearray(_raw(byte.column, before))
        # PostgreSQL takes no text that is no UTF-8; all of ours is ASCII.
        narrow = isinstance(before, str) and not database.is_sqlite
        raw[byte.position] ^= 1 if narrow else chance.randrange(1, 256)
        after = int.from_bytes(raw, "big", signed=True) if isinstance(before, int) else bytes(raw)
        try:
            database.write_now(lambda c, after=after: _store(c, byte, after, key=before))
        except IntegrityError:
            continue
        return after
    return before


def _value(connection: Connection, byte: Byte) -> Any:
    return connection.execute(select(byte.column).where(*_where(byte, None))).scalar_one()


def _where(byte: Byte, key: Any) -> list[Any]:
    """The row; ``key`` is what now stands in the column, which may be one of the key's."""
    return [
        column == (_sql(column, key) if column is byte.column and key is not None else value)
        for column, value in zip(byte.table.primary_key.columns, byte.key, strict=True)
    ]


def _sql(column: Column[Any], value: Any) -> Any:
    """Bytes as text, whether they are UTF-8 or not."""
    if not isinstance(value, bytes) or column.type.python_type is bytes:
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return cast(literal(value), Text)


def _store(connection: Connection, byte: Byte, value: Any, *, key: Any) -> None:
    stored = _sql(byte.column, value)
    changed = connection.execute(
        update(byte.table).where(*_where(byte, key)).values({byte.column.name: stored})
    )
    assert changed.rowcount == 1, f"{byte} was not there"


EVENT_COLUMNS = tuple(events.columns)
MARKED = (payloads.c.data, chunk_faults.c.groups)
DIGESTED = (
    payloads.c.data,
    payloads.c.sha256,
    uploads.c.sha256,
    outcomes.c.ledger,
    outcomes.c.sha256,
    outcomes.c.summary,
    outcomes.c.images,
    outcomes.c.closing,
    outcomes.c.failed,
    chunk_faults.c.sha256,
    chunk_faults.c.codes,
    chunk_faults.c.groups,
)
