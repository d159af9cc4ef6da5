"""Undo brings back every column type exactly, in the form in which the database keeps it."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Enum,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    Time,
    TypeDecorator,
    Uuid,
    insert,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB

from domain.errors import RecordRefused
from domain.outcomes import Restored
from domain.records import Change, Deletion
from streams.stores.database import Database
from streams.stores.records import Ahead, restore
from tests.contracts import records as given
from tests.contracts.records import writing


class Colour(enum.Enum):
    """Kept by its name."""

    RED = 1
    BLUE = 2


class Backwards(TypeDecorator[str]):
    """A type of a plug-in's own: text that is kept backwards."""

    impl = String(40)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else value[::-1]

    def process_result_value(self, value: Any | None, dialect: Any) -> str | None:
        return None if value is None else str(value)[::-1]


metadata = MetaData()
Key = BigInteger().with_variant(Integer, "sqlite")

things = Table(
    "things",
    metadata,
    Column("id", Key, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("tenant", String(100), nullable=False),
    # SQLite has no decimals, and SQLAlchemy warns of that; text keeps them there.
    Column("amount", Numeric(40, 12).with_variant(String(60), "sqlite")),
    Column("flag", Boolean),
    Column("at", DateTime(timezone=True).with_variant(DateTime(), "sqlite")),
    Column("clock", Time),
    Column("span", Interval),
    Column("uid", Uuid),
    Column("colour", Enum(Colour, name="thing_colour")),
    Column("document", JSON().with_variant(JSONB(), "postgresql")),
    Column("raw", LargeBinary),
    Column("backwards", Backwards()),
    Column("real", Double),
    Column("big", BigInteger),
    Column("text", Text),
)

FULL = {
    "amount": Decimal("1234567890123456789012345678.123456789012"),
    "flag": True,
    "at": dt.datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC),
    "clock": dt.time(1, 2, 3, 4),
    "span": dt.timedelta(days=-3, seconds=5, microseconds=7),
    "uid": uuid.UUID(int=2**127 + 5),
    "colour": Colour.BLUE,
    "document": {"b": [1, None, {"ä": '"quoted" \\'}], "a": 0.1},
    "raw": bytes(range(256)),
    "backwards": "olleh",
    "real": 1 / 3,
    "big": -(2**63),
    "text": '\'; DROP TABLE things; -- {"bytes":"x"} %s %(a)s ? :a é \U0001f600\t\r\n',
}
EMPTY = dict.fromkeys(FULL)
SMALL = {
    "amount": Decimal("-0.000000000001"),
    "flag": False,
    "at": dt.datetime(1, 1, 1, tzinfo=dt.UTC),
    "clock": dt.time(0),
    "span": dt.timedelta(0),
    "uid": uuid.UUID(int=0),
    "colour": Colour.RED,
    "document": [],
    "raw": b"",
    "backwards": "",
    "real": -1e-300,
    "big": 2**63 - 1,
    "text": "",
}


@pytest.fixture
def stored(database: Database) -> Database:
    database.write_now(metadata.create_all)
    return database


def for_backend(database: Database, row: dict[str, Any]) -> dict[str, Any]:
    """The row as the backend's variant of a type takes it."""
    if not database.is_sqlite:
        return row
    amount, at = row["amount"], row["at"]
    return row | {
        "amount": None if amount is None else str(amount),
        "at": None if at is None else at.replace(tzinfo=None),
    }


def everything(database: Database) -> dict[int, Any]:
    """All rows as Python sees them, and as the database keeps them."""
    form = 'typeof("{0}") || quote("{0}")' if database.is_sqlite else 'CAST("{0}" AS TEXT)'
    kept = [literal_column(form.format(column.name)) for column in things.columns]

    def read(connection: Any) -> dict[int, Any]:
        seen = connection.execute(select(things)).mappings().all()
        raw = {row[0]: tuple(row) for row in connection.execute(select(things.c.id, *kept))}
        return {
            row["id"]: ({k: v for k, v in row.items() if k != "version"}, raw[row["id"]][3:])
            for row in seen
        }

    return database.read_now(read)


def test_written_values_are_those_that_sqlalchemy_writes(stored: Database) -> None:
    rows = [for_backend(stored, row) for row in (FULL, EMPTY, SMALL)]
    with writing(stored) as records:
        ids = given.add(records, rows, things)
        found = records.fetch(things, ids, list(FULL))
    with stored.engine.begin() as connection:
        own = {"version": 1, "tenant": "local"}
        for key, row in zip(ids, rows, strict=True):
            connection.execute(insert(things).values(id=key + 100, **own, **row))
    seen = everything(stored)
    for key, row in zip(ids, rows, strict=True):
        assert found[key] == row | {"id": key}
        assert seen[key][0] == seen[key + 100][0] | {"id": key}
        assert seen[key][1] == seen[key + 100][1]


@pytest.mark.parametrize("verb", ["update", "delete"])
def test_every_type_comes_back(stored: Database, verb: str) -> None:
    rows = [for_backend(stored, row) for row in (FULL, EMPTY, SMALL)]
    with writing(stored, given.hand("maker")) as records:
        ids = given.add(records, rows, things)
    before = everything(stored)
    with writing(stored) as records:
        if verb == "update":
            other = rows[1:] + rows[:1]
            changes = [Change(key, row) for key, row in zip(ids, other, strict=True)]
            records.update(things, changes)
        else:
            records.delete(things, [Deletion(key) for key in ids])
        images = records.encoded_images()
    assert images is not None
    done = everything(stored)
    assert done != before
    for generation, expected in ((1, before), (2, done), (3, before)):
        target = given.job(generation - 1, generation=generation - 1)
        writer = given.job(generation, generation=generation)
        with stored.engine.begin() as connection:
            restoration = restore(
                Ahead(connection, metadata.tables, writer.tenant),
                images,
                writer,
                0.0,
                target=target,
            )
        assert set(restoration.results.values()) == {Restored()}
        assert everything(stored) == expected
        assert restoration.images is not None
        images = restoration.images


def test_a_value_of_another_type_is_refused_and_nothing_is_written(stored: Database) -> None:
    with writing(stored) as records:
        for row in ({"text": ["a"]}, {"raw": 1.5}, {"text": object()}):
            with pytest.raises((RecordRefused, TypeError)):
                given.add(records, [{"big": 1}, row | {"big": 2}][1:], things)
    assert everything(stored) == {}
