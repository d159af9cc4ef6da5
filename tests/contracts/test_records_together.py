"""Writers that share a transaction leave what they would have left in transactions of their own."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection

from domain.errors import RecordRefused
from domain.records import Change, Deletion, Writer
from streams.stores.database import Database
from streams.stores.records import SqlRecords, Together, record_history
from tests.contracts import records as given
from tests.contracts.records import gadget, gadgets

CHUNKS, STEPS = 8, 12
WRITERS = 10
TENANTS = ("together", "apart")
ACTIONS = ("insert", "insert", "double", "update", "delete", "fetch", "in vain", "in vain")


@pytest.fixture
def stored(database: Database) -> Database:
    """A database that has the tables of these tests."""
    database.write_now(given.metadata.create_all)
    return database


class GaveUp(Exception):
    """A handler's own."""


class Side:
    """One tenant's gadgets, by name, and what was said of them on the way."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.ids: dict[str, int] = {}
        self.said: list[Any] = []

    def writer(self, chunk: int) -> Writer:
        return Writer(self.tenant, "ada", f"job-{self.tenant}", 0, chunk)

    def play(self, records: SqlRecords, chunk: int, seed: int) -> None:
        """A handler's steps in a chunk; the same for the same seed."""
        choices = random.Random(f"{seed}.{chunk}")
        with records.savepoint():
            for step in range(STEPS):
                self.step(records, choices.choice(ACTIONS), f"{chunk}.{step}", choices)

    def step(self, records: SqlRecords, action: str, name: str, choices: random.Random) -> None:
        some = choices.sample(sorted(self.ids), min(2, len(self.ids)))
        match action:
            case "insert":
                self.insert(records, [name, f"{name}'"])
            case "double":
                with pytest.raises(RecordRefused):
                    self.insert(records, [name, name])
            case "update":
                changes = [Change(self.ids[known], {"notes": name}) for known in some]
                self.said.append(records.update(gadgets, changes))
            case "delete":
                gone = [Deletion(self.ids.pop(known)) for known in some[:1]]
                self.said.append(records.delete(gadgets, gone))
            case "fetch":
                wanted = [self.ids[known] for known in some] + [10**6]
                found = records.fetch(gadgets, wanted, ["name", "notes"])
                self.said.append(sorted((row["name"], row["notes"]) for row in found.values()))
            case _:
                self.in_vain(records, name, choices)

    def insert(self, records: SqlRecords, names: list[str]) -> None:
        rows = [gadget(0, name=name) for name in names]
        self.ids |= dict(zip(names, given.add(records, rows), strict=True))

    def in_vain(self, records: SqlRecords, name: str, choices: random.Random) -> None:
        before = dict(self.ids)
        with contextlib.suppress(GaveUp), records.savepoint():
            for number, action in enumerate(choices.sample(ACTIONS[:-2], 3)):
                self.step(records, action, f"{name}.{number}", choices)
            raise GaveUp
        self.ids = before

    def left(self, database: Database) -> dict[str, Any]:
        """Each gadget by name: its row without the ids, and who wrote it when."""
        rows = given.contents(database)
        own = {key: row for key, row in rows.items() if row["tenant"] == self.tenant}
        assert {row["name"]: key for key, row in own.items()} == self.ids
        return {
            row["name"]: (
                {name: row[name] for name in row if name not in ("id", "tenant")},
                database.read_now(lambda connection, key=key: told(connection, key)),
            )
            for key, row in own.items()
        }


def told(connection: Connection, key: int) -> list[tuple[int, int, bool]]:
    entries = record_history(connection, gadgets, key)
    return [(entry.version, entry.writer.chunk, entry.deleted) for entry in entries]


@pytest.mark.parametrize("sole", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_what_is_left_is_the_same(stored: Database, seed: int, *, sole: bool) -> None:
    one, many = (Side(tenant) for tenant in TENANTS)
    images: dict[str, list[bool]] = {tenant: [] for tenant in TENANTS}

    def at_once(connection: Connection) -> None:
        together = Together(connection, writers=CHUNKS, sole=True)
        for chunk in range(CHUNKS):
            records = SqlRecords(connection, one.writer(chunk), given.NOW, together)
            one.play(records, chunk, seed)
            images[one.tenant].append(records.encoded_images() is None)
        together.flush()

    stored.write_now(at_once)
    for chunk in range(CHUNKS):

        def apart(connection: Connection, chunk: int = chunk) -> None:
            together = Together(connection, sole=sole)
            records = SqlRecords(connection, many.writer(chunk), given.NOW, together)
            many.play(records, chunk, seed)
            images[many.tenant].append(records.encoded_images() is None)

        stored.write_now(apart)
    assert one.said == many.said
    assert one.left(stored) == many.left(stored)
    given.assert_counted(stored)
    assert images["together"] == images["apart"]


def test_what_was_read_does_not_outlive_a_write(stored: Database) -> None:
    def work(connection: Connection) -> list[Any]:
        together = Together(connection, writers=2)
        first = SqlRecords(connection, given.job(0), given.NOW, together)
        (key,) = given.add(first, [gadget(0)])
        seen = [first.fetch(gadgets, [key], ["name"])[key]["name"]]
        second = SqlRecords(connection, given.job(1), given.NOW, together)
        second.update(gadgets, [Change(key, {"name": "new"})])
        seen.append(second.fetch(gadgets, [key], ["name"])[key]["name"])
        with contextlib.suppress(GaveUp), second.savepoint():
            second.delete(gadgets, [Deletion(key)])
            seen.append(second.fetch(gadgets, [key], ["name"]))
            raise GaveUp
        seen.append(second.fetch(gadgets, [key], ["name"])[key]["name"])
        together.flush()
        return seen

    assert stored.write_now(work) == ["gadget 0", "new", {}, "new"]


@pytest.mark.service("postgresql")
def test_ten_writers_make_fewer_journeys_than_three_each(migrated_postgres: str) -> None:
    """A look-up and an insert; each writer alone would make nine."""
    with Database(migrated_postgres) as database:
        database.write_now(given.metadata.create_all)
        assert database.write_now(journeys) < 3 * WRITERS


@pytest.mark.service("postgresql")
def test_a_block_of_ids_outlives_the_rehearsal_that_has_drawn_it(migrated_postgres: str) -> None:
    """A dry run of many chunks would else draw a block for each of them."""
    with Database(migrated_postgres) as database:
        database.write_now(given.metadata.create_all)
        assert database.write_now(rehearsed) == list(range(WRITERS))


def rehearsed(connection: Connection) -> list[int]:
    """Ids of gadgets that were only rehearsed, each by another writer, behind the first one's."""
    together = Together(connection, writers=WRITERS, sole=True)
    ids: list[int] = []
    for chunk in range(WRITERS):
        records = SqlRecords(connection, given.job(chunk, job_id="dry"), given.NOW, together)
        with records.rehearsal():
            ids += given.add(records, [gadget(0, name=f"one of {chunk}")])
    together.flush()
    return [key - ids[0] for key in ids]


def journeys(connection: Connection) -> int:
    """How often the database is asked by writers who share a transaction."""
    asked: list[str] = []

    class Counting(psycopg.Cursor[Any]):
        def execute(self, query: Any, *args: Any, **kwargs: Any) -> Counting:
            asked.append(query)
            super().execute(query, *args, **kwargs)
            return self

    raw: Any = connection.connection.dbapi_connection
    raw.cursor_factory = Counting
    together = Together(connection, writers=WRITERS, sole=True)
    for chunk in range(WRITERS):
        records = SqlRecords(connection, given.job(chunk, job_id="ten"), given.NOW, together)
        with records.savepoint():
            records.fetch(given.shelves, [1], ["name"])
            given.add(records, [gadget(0, name=f"one of {chunk}")])
    together.flush()
    raw.cursor_factory = psycopg.Cursor
    return len(asked)
