"""Grants: a row a job, read in the order in which places are given, one at a time in a system."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from domain.errors import StoreUnavailable
from streams.stores import chunks, grants
from streams.stores.chunks import Control
from streams.stores.database import Database
from streams.stores.grants import Grant

NOW = 1_800_000_000.0


def grant(job_id: str, **changes: object) -> Grant:
    base = Grant(job_id, "stock", "a", priority=5, since=NOW, most=3, in_flight=0)
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def put(database: Database, *rows: Grant) -> None:
    for row in rows:
        database.write_now(lambda connection, row=row: grants.put_grant(connection, row))  # type: ignore[misc]


def waiting(database: Database, each: int, offered_after: float = 0.0) -> list[str]:
    rows = database.read_now(
        lambda connection: grants.waiting(connection, "stock", each, offered_after=offered_after)
    )
    return sorted(row.job_id for row in rows)


def test_a_row_is_what_was_put_last(database: Database) -> None:
    last = grant("one", most=0, in_flight=4, since=NOW + 1)
    put(database, grant("one", offered_at=NOW), last)
    assert database.read_now(lambda c: grants.find_grant(c, "one")) == last
    assert database.read_now(lambda c: grants.granted(c, "stock")) == [last]
    database.write_now(lambda c: grants.drop_grant(c, "one"))
    assert database.read_now(lambda c: grants.find_grant(c, "one")) is None


def test_the_first_of_each_tenant_wait(database: Database) -> None:
    put(
        database,
        *(grant(f"a{n}", since=NOW + n) for n in range(4)),
        grant("urgent", priority=9, since=NOW + 30),
        *(grant(f"b{n}", tenant="b", since=NOW + 100 + n) for n in range(4)),
        grant("elsewhere", system="texts"),
        grant("busy", most=0, in_flight=2),
    )
    assert waiting(database, 1) == ["b0", "urgent"]
    assert waiting(database, 2) == ["a0", "b0", "b1", "urgent"]
    assert len(waiting(database, 10)) == 9
    assert database.read_now(grants.systems) == ["stock", "texts"]


def test_an_offer_that_nobody_took_is_passed_over(database: Database) -> None:
    put(database, grant("one"), grant("two"), grant("three"))
    database.write_now(lambda c: grants.offer(c, ["one", "two"], NOW))
    put(database, grant("two"))
    assert waiting(database, 9, offered_after=NOW - 1) == ["one", "three", "two"]
    assert waiting(database, 9, offered_after=NOW) == ["three", "two"]


def test_jobs_without_a_row_are_found_some_at_a_time(database: Database) -> None:
    def begin(job_id: str, *, open_: bool) -> None:
        control = Control(job_id, "a", "tester", "stock.create", {}, 0, 1)
        database.write_now(lambda c: chunks.insert_control(c, control, open_=open_))

    for number in range(5):
        begin(f"job-{number}", open_=number != 1)
    put(database, grant("job-3"))

    def unlisted(after: str) -> list[str]:
        return database.read_now(lambda connection: grants.unlisted(connection, after, 2))

    assert unlisted("") == ["job-0", "job-2"]
    assert unlisted("job-2") == ["job-4"]
    database.write_now(grants.clear_grants)
    assert unlisted("job-2") == ["job-3", "job-4"]


def test_weights_are_above_nothing(database: Database) -> None:
    def weigh(weight: float) -> None:
        statement = text("INSERT INTO tenant_weights VALUES ('a', :weight)")
        database.write_now(lambda connection: connection.execute(statement, {"weight": weight}))

    assert database.read_now(grants.weights) == {}
    with pytest.raises(IntegrityError):
        weigh(0.0)
    weigh(2.5)
    assert database.read_now(grants.weights) == {"a": 2.5}
    for weight in (4.0, 3.0):
        database.write_now(lambda found, weight=weight: grants.weigh(found, "a", weight))  # type: ignore[misc]
    assert database.read_now(grants.weights) == {"a": 3.0}


@pytest.fixture
def stored(migrated_postgres: str) -> Iterator[Database]:
    with Database(migrated_postgres) as database:
        yield database


@pytest.mark.service("postgresql")
def test_the_lock_is_held_until_the_end_and_for_one_system(stored: Database) -> None:
    def lock(connection: Connection, system: str) -> None:
        connection.execute(text("SET LOCAL lock_timeout = '50ms'"))
        grants.lock_grants(connection, system)

    with stored.engine.begin() as holder:
        grants.lock_grants(holder, "stock")
        stored.write_now(lambda connection: lock(connection, "texts"))
        with pytest.raises(StoreUnavailable, match="lock"):
            stored.write_now(lambda connection: lock(connection, "stock"))
    stored.write_now(lambda connection: lock(connection, "stock"))


@pytest.mark.service("postgresql")
def test_who_stands_still_with_the_lock_is_passed(stored: Database) -> None:
    frozen = stored.engine.connect()
    try:
        grants.lock_grants(frozen, "stock")
        stored.write_now(lambda connection: grants.lock_grants(connection, "stock"))
        with pytest.raises(StoreUnavailable, match="stood still"):
            stored.write_now(lambda _: grants.lock_grants(frozen, "stock"))
    finally:
        frozen.invalidate()
        frozen.close()
