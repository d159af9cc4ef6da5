"""History: one row for every write to a record, and who wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import Connection, Dialect, Table, bindparam, false, insert, literal, select

from domain.records import Writer
from streams.stores.decisions import insert_ignore
from streams.stores.records.backend import HISTORY, NUMBERS
from streams.stores.records.dialects import backend_of
from streams.stores.records.shape import Shape
from streams.stores.records.together import Inserted, Mark, Together, Wrote, count_more
from streams.stores.schema import history, record_tables, writers
from streams.stores.statements import Prepared, prepare

Pair = tuple[int, int]
"""A record's id and the version that a write has left."""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One write to a record; ``at`` is in seconds since the epoch, of the writer's start."""

    version: int
    writer: Writer
    deleted: bool
    at: float


def record_table_id(connection: Connection, table: str) -> int:
    """The number of a record table in the history; given at its first use."""
    find = _find_table(connection.dialect)
    found = find.run(connection, name=table).scalar()
    if found is None:
        connection.execute(insert_ignore(connection, record_tables).values(name=table, next_id=1))
        found = find.run(connection, name=table).scalar()
    return int(found)


def record_history(connection: Connection, table: Table, record_id: int) -> list[HistoryEntry]:
    """All writes to a record, first to last; of a deleted record too."""
    rows = connection.execute(
        select(history.c.version, history.c.deleted, writers)
        .join(record_tables, record_tables.c.table_id == history.c.table_id)
        .join(writers, writers.c.writer == history.c.writer)
        .where(record_tables.c.name == table.name, history.c.record_id == record_id)
        .order_by(history.c.version)
    )
    return [
        HistoryEntry(
            version=row.version,
            writer=Writer(row.tenant, row.actor, row.job_id, row.generation, row.chunk),
            deleted=bool(row.deleted),
            at=row.written_at,
        )
        for row in rows
    ]


class Journal:
    """Writes the history rows of one writer in one transaction.

    What it has looked up or made holds within the transaction only, so ``mark`` and
    ``rewind`` go with the savepoints of it. ``tables`` are numbers that are known already.
    """

    def __init__(
        self, connection: Connection, writer: Writer, now: float, together: Together | None = None
    ) -> None:
        self._connection = connection
        self._writer = writer
        self._now = now
        self._together = together or Together(connection)

    def mark(self) -> Mark:
        """What is known now, for ``rewind``."""
        return self._together.mark()

    def rewind(self, mark: Mark) -> None:
        """Forget what became known after the mark."""
        self._together.rewind(mark)

    def table_id(self, shape: Shape) -> int:
        """The number of the table."""
        tables = self._together.tables
        known = tables.get(shape.name)
        if known is None:
            known = tables[shape.name] = record_table_id(self._connection, shape.name)
        return known

    def inserted(self, shape: Shape, ids: range) -> None:
        """New records, all at version 1."""
        table = self.table_id(shape)
        if self._together.waits:
            self._together.wait(Inserted(self._writer, self._now, table, ids))
            return
        by = self._by(table, Wrote(created=len(ids)))
        _note_range(shape).run(self._connection, table=table, first=ids[0], last=ids[-1], by=by)

    def changed(self, shape: Shape, pairs: Sequence[Pair], *, deleted: bool = False) -> None:
        """Records that were changed, deleted, or put back."""
        table, count = self.table_id(shape), len(pairs)
        by = self._by(table, Wrote(deleted=count) if deleted else Wrote(changed=count))
        _note_pairs(self._connection.dialect).run(
            self._connection,
            table=table,
            by=by,
            gone=deleted,
            **{NUMBERS: orjson.dumps(pairs).decode()},
        )

    def _by(self, table: int, wrote: Wrote) -> int:
        writer = self._writer
        known = self._together.writers.get((writer, table))
        if known is not None:
            count_more(self._connection, known, wrote)
            return known
        found = _add_writer(self._connection.dialect).run(
            self._connection,
            tenant=writer.tenant,
            actor=writer.actor,
            job_id=writer.job_id,
            generation=writer.generation,
            chunk=writer.chunk,
            written_at=self._now,
            table_id=table,
            **asdict(wrote),
        )
        known = self._together.writers[writer, table] = int(found.scalar())
        return known


@lru_cache(maxsize=16)
def _find_table(dialect: Dialect) -> Prepared:
    statement = select(record_tables.c.table_id).where(record_tables.c.name == bindparam("name"))
    return prepare(statement, dialect)


@lru_cache(maxsize=16)
def _add_writer(dialect: Dialect) -> Prepared:
    who = ("tenant", "actor", "job_id", "generation", "chunk", "written_at")
    names = (*who, "table_id", "created", "changed", "deleted")
    values: dict[str, Any] = {name: bindparam(name) for name in names}
    return prepare(insert(writers).values(values).returning(writers.c.writer), dialect)


@lru_cache(maxsize=512)
def _note_range(shape: Shape) -> Prepared:
    """From the records themselves: ids that are consecutive belong to one insert."""
    key = shape.table.c.id
    source = select(
        bindparam("table", type_=history.c.table_id.type),
        key,
        literal(1),
        bindparam("by", type_=history.c.writer.type),
        false(),
    ).where(key.between(bindparam("first"), bindparam("last")))
    return prepare(insert(history).from_select(HISTORY, source), shape.dialect)


@lru_cache(maxsize=16)
def _note_pairs(dialect: Dialect) -> Prepared:
    pairs = backend_of(dialect).numbers(2)
    source = select(
        bindparam("table", type_=history.c.table_id.type),
        pairs.c.n0,
        pairs.c.n1,
        bindparam("by", type_=history.c.writer.type),
        bindparam("gone", type_=history.c.deleted.type),
    )
    return prepare(insert(history).from_select(HISTORY, source), dialect)
