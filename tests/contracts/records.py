"""What the tests of the records port share: tables of every column type, and quick writes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    case,
    func,
    select,
    true,
)

from domain.records import Writer
from streams.stores.database import Database
from streams.stores.records import SqlRecords
from streams.stores.schema import chunks, history, writers
from streams.stores.statements import INSERTS

TENANT = "local"
NOW = 1_700_000_000.0

metadata = MetaData()
Key = BigInteger().with_variant(Integer, "sqlite")


def _own() -> list[Column[Any]]:
    return [
        Column("id", Key, primary_key=True),
        Column("version", Integer, nullable=False),
        Column("tenant", String(100), nullable=False),
    ]


shelves = Table(
    "shelves",
    metadata,
    *_own(),
    Column("name", String(20), nullable=False),
    UniqueConstraint("tenant", "name", name="shelves_name"),
)

gadgets = Table(
    "gadgets",
    metadata,
    *_own(),
    Column("name", String(20), nullable=False),
    Column("shelf_id", Key, ForeignKey("shelves.id", name="gadgets_shelf")),
    Column("price", Numeric(14, 4, asdecimal=False)),
    Column("weight", Double),
    Column("sold", Boolean, nullable=False, default=False),
    Column("made_on", Date),
    Column("seen_at", DateTime),
    Column("photo", LargeBinary),
    Column("order", Integer, nullable=False, server_default="7"),
    Column("notes", Text),
    UniqueConstraint("tenant", "name", name="gadgets_name"),
    CheckConstraint("weight <> -13", name="gadgets_weight"),
)
"""``order`` is a reserved word, so that quoting is tested too."""

COLUMNS = ("name", "shelf_id", "price", "weight", "made_on", "seen_at", "photo", "notes")


def gadget(number: int, **values: Any) -> dict[str, Any]:
    """The values of a gadget with something in each column."""
    return {
        "name": f"gadget {number}",
        "shelf_id": None,
        "price": number + 0.25,
        "weight": number / 7,
        "made_on": dt.date(2024, 1, 1) + dt.timedelta(days=number),
        "seen_at": dt.datetime(2024, 2, 3, 4, 5, 6, 789_012),  # noqa: DTZ001
        "photo": bytes(range(number % 250, 256)),
        "notes": f"naïve “quotes” \\ {number}\n\U0001f600",
        **values,
    }


def job(chunk: int = 0, *, generation: int = 0, job_id: str = "job-1") -> Writer:
    """A chunk of a job as a writer."""
    return Writer(TENANT, "ada", job_id, generation, chunk)


def hand(actor: str = "anna", tenant: str = TENANT) -> Writer:
    """Somebody who edits by hand."""
    return Writer(tenant, actor)


def planned(connection: Connection, undoer: Writer, target: Writer) -> None:
    """A chunk that undoes another is known as one, before it does."""
    row = INSERTS[connection.dialect.name](chunks).values(
        job_id=undoer.job_id,
        chunk=undoer.chunk,
        target=target.chunk,
        cause="rollback",
        generation=undoer.generation,
        items="[]",
        epoch=0,
        attempt=1,
        starts=0,
        claim_by=0.0,
        open=False,
    )
    connection.execute(row.on_conflict_do_nothing())


@contextmanager
def writing(database: Database, writer: Writer | None = None) -> Iterator[SqlRecords]:
    """Records in a transaction that is committed at the end."""
    with database.engine.begin() as connection:
        yield SqlRecords(connection, writer or job(), NOW)


def add(records: SqlRecords, rows: Sequence[Mapping[str, Any]], table: Table = gadgets) -> range:
    """Insert rows, each caused by the item of its place."""
    columns = list(rows[0]) if rows else []
    values = [tuple(row[key] for key in columns) for row in rows]
    return records.insert(table, columns, values, range(len(rows)))


def assert_counted(database: Database) -> None:
    """Who has written knows how much: what the history says when it is counted."""
    old, gone = history.c.version > 1, history.c.deleted.is_(true())
    kinds = (and_(~gone, ~old), and_(~gone, old), gone)
    sums = [func.sum(case((kind, 1), else_=0)) for kind in kinds]
    by_history = (
        select(history.c.writer, history.c.table_id, *sums)
        .group_by(history.c.writer, history.c.table_id)
        .order_by(history.c.writer)
    )
    counts = (writers.c.table_id, writers.c.created, writers.c.changed, writers.c.deleted)
    by_writers = select(writers.c.writer, *counts).order_by(writers.c.writer)
    told, written = database.read_now(
        lambda found: tuple(
            [tuple(row) for row in found.execute(statement)]
            for statement in (by_writers, by_history)
        )
    )
    assert told == written


def contents(database: Database, table: Table = gadgets) -> dict[int, dict[str, Any]]:
    """All rows of a table, of all tenants, by id; without the version."""
    rows = database.read_now(lambda connection: connection.execute(select(table)).mappings().all())
    return {row["id"]: {key: row[key] for key in row if key != "version"} for row in rows}


def versions(database: Database, table: Table = gadgets) -> dict[int, int]:
    """The version of each row."""
    wanted = select(table.c.id, table.c.version)
    rows = database.read_now(lambda connection: connection.execute(wanted).all())
    return {row.id: row.version for row in rows}
