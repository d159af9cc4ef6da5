"""The database's two kinds of commits: what waits for the disk, and what need not."""

from __future__ import annotations

import decimal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from functools import partial

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError

from domain.errors import StoreUnavailable
from streams.logs import first_line
from streams.stores.chunks import Control, find_control, insert_control
from streams.stores.database import Database
from streams.stores.statements import run_sql, run_sql_many, send_sql

WAITS = {"sqlite": 2, "postgresql": "on"}
NEED_NOT = {"sqlite": 1, "postgresql": "off"}


def wait(connection: Connection) -> object:
    """What the database says of the wait at this transaction's commit."""
    ask = {"sqlite": "PRAGMA synchronous", "postgresql": "SHOW synchronous_commit"}
    return connection.exec_driver_sql(ask[connection.dialect.name]).scalar()


async def test_a_commit_waits_for_the_disk_unless_it_need_not(database: Database) -> None:
    kind = database.engine.dialect.name
    assert await database.write(wait) == WAITS[kind]
    assert await database.write(wait, lasting=False) == NEED_NOT[kind]
    assert await database.write(wait) == WAITS[kind]


async def test_a_series_writes_in_transactions_of_its_own(database: Database) -> None:
    kind = database.engine.dialect.name

    def both() -> tuple[object, object]:
        return database.write_now(wait, lasting=False), database.write_now(wait)

    assert await database.series(both) == (NEED_NOT[kind], WAITS[kind])


@pytest.mark.parametrize("way", [Database.write, Database.read, Database.aside, Database.series])
async def test_nothing_that_is_set_in_a_thread_is_found_by_its_next_work(
    database: Database, way: Callable[..., Awaitable[object]]
) -> None:
    """Which may be another tenant's: a handler of it would compute with fewer digits."""
    cause: ContextVar[str] = ContextVar("cause", default="none")

    def look(*_: object) -> object:
        found = cause.get(), decimal.getcontext().prec
        cause.set("job")
        decimal.getcontext().prec = 3
        return found

    assert decimal.getcontext().prec == 28
    assert [await way(database, look) for _ in range(20)] == [("none", 28)] * 20


async def test_what_need_not_last_is_seen_at_once(database: Database) -> None:
    control = Control("one", "t", "a", "stock.count", {}, epoch=0, version=1)
    await database.write(partial(insert_control, control=control, open_=True), lasting=False)
    assert await database.read(partial(find_control, job_id="one")) == control


def test_a_snapshot_is_of_one_moment(database: Database) -> None:
    control = Control("one", "t", "a", "stock.count", {}, epoch=0, version=1)

    def twice(connection: Connection) -> list[Control | None]:
        before = find_control(connection, job_id="one")
        database.write_now(partial(insert_control, control=control, open_=True))
        return [before, find_control(connection, job_id="one")]

    assert database.snapshot_now(twice) == [None, None]
    # The same connection is one for all kinds of reads again.
    assert database.read_now(partial(find_control, job_id="one")) == control
    assert database.read_now(partial(find_control, job_id="one"), single=True) == control


def test_a_snapshot_writes_nothing(database: Database) -> None:
    control = Control("one", "t", "a", "stock.count", {}, epoch=0, version=1)
    with suppress(DBAPIError):
        database.snapshot_now(partial(insert_control, control=control, open_=True))
    assert database.read_now(partial(find_control, job_id="one")) is None


@pytest.mark.parametrize("single", [False, True], ids=["together", "single"])
async def test_who_reads_writes_nothing(database: Database, *, single: bool) -> None:
    control = Control("one", "t", "a", "stock.count", {}, epoch=0, version=1)
    # SQLite forgets it, PostgreSQL refuses it.
    with suppress(DBAPIError):
        await database.read(partial(insert_control, control=control, open_=True), single=single)
    assert await database.read(partial(find_control, job_id="one"), single=single) is None
    await database.write(partial(insert_control, control=control, open_=True))
    assert await database.read(partial(find_control, job_id="one"), single=single) == control


Ask = Callable[[Connection, str, tuple[object, ...]], object]


def by_sqlalchemy(connection: Connection, sql: str, given: tuple[object, ...]) -> None:
    connection.exec_driver_sql(sql, given)


def as_many(connection: Connection, sql: str, given: tuple[object, ...]) -> None:
    run_sql_many(connection, sql, [given])


@pytest.mark.parametrize("ask", [by_sqlalchemy, run_sql, as_many, send_sql])
async def test_what_is_refused_is_repeated_by_no_error_of_ours(
    database: Database, ask: Ask
) -> None:
    mark = "?" if database.is_sqlite else "%s"
    sql = f"INSERT INTO decisions (command_id) VALUES ({mark})"

    with pytest.raises(IntegrityError) as refused:
        await database.write(lambda connection: ask(connection, sql, ("canary",)))
    assert "[parameters" not in str(refused.value)
    # What PostgreSQL says of the row is no part of what is logged, or told in a dead letter.
    assert "canary" not in first_line(str(refused.value))


@pytest.mark.parametrize("sql", ["SELECT %s::int", "SELECT %s::numeric(1)", "SELECT %s::uuid"])
async def test_what_postgresql_cannot_read_is_not_repeated(
    migrated_postgres: str, sql: str
) -> None:
    with Database(migrated_postgres) as database, pytest.raises(DBAPIError) as refused:
        await database.read(lambda connection: run_sql(connection, sql, ("canary",)))

    said = first_line(str(refused.value))
    assert "canary" not in said
    assert said.endswith("[...]")


@pytest.mark.parametrize("ask", [by_sqlalchemy, run_sql, as_many, send_sql])
async def test_a_right_that_is_missing_is_waited_for(migrated_postgres: str, ask: Ask) -> None:
    """It is given over there, as a password is."""
    sql = "UPDATE alembic_version SET version_num = %s"
    said = r"permission denied for table.*countermand db permit"
    with Database(migrated_postgres) as database, pytest.raises(StoreUnavailable, match=said):
        await database.write(lambda connection: ask(connection, sql, ("0001",)))


@pytest.mark.parametrize("ask", [by_sqlalchemy, run_sql, as_many, send_sql])
async def test_a_database_that_takes_no_writes_is_waited_for(
    migrated_postgres: str, ask: Ask
) -> None:
    """Whatever it was set so by; a connection may be so for its life, and is not kept."""
    asked = ("INSERT INTO positions (reader, position) VALUES (%s, %s)", ("x", 1))

    def refused(connection: Connection) -> None:
        connection.exec_driver_sql("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        ask(connection, *asked)

    with Database(migrated_postgres) as database:
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="takes no writes now"):
                await database.write(refused)
        await database.write(lambda connection: ask(connection, *asked))


async def test_the_server_notices_in_seconds_that_a_process_was_cut_off(
    postgres_database: str,
) -> None:
    with Database(postgres_database) as database:
        for name, value in (("tcp_keepalives_idle", "5"), ("tcp_user_timeout", "10000")):
            shown = await database.read(
                lambda c, name=name: c.exec_driver_sql(f"SHOW {name}").scalar()  # type: ignore[misc]
            )
            assert shown == value
