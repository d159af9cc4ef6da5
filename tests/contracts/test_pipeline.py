"""What is sent and not waited for counts as if it had been run at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, bindparam, func, insert, select
from sqlalchemy.exc import IntegrityError

from domain.errors import StoreUnavailable
from streams.stores.chunks import Control, insert_control, version_of
from streams.stores.database import Database
from streams.stores.pipeline import FEW, MOST_KEPT, pipeline_of
from streams.stores.schema import decisions, job_control
from streams.stores.statements import fixed, insertion, send_sql

SECONDS = 20.0
ASKED = fixed(select(job_control.c.version).where(job_control.c.job_id == bindparam("job")))
INSERT = insertion(decisions, "command_id", "job_id", "version", "decided_at")


def row(command: str) -> dict[str, object]:
    return {"command_id": command, "job_id": "one", "version": 1, "decided_at": 1.0}


def control(job_id: str) -> Control:
    return Control(job_id, "t", "a", "stock.count", {}, epoch=0, version=7)


def many(connection: Connection) -> int:
    return int(connection.scalar(select(func.count()).select_from(decisions)) or 0)


async def test_what_is_sent_is_seen_by_what_is_asked_next_and_stored(database: Database) -> None:
    def work(connection: Connection) -> tuple[int, int]:
        assert version_of(connection, "one") == 0
        insert_control(connection, control("one"), open_=True)
        INSERT.send(connection, **row("a"))
        INSERT.send_many(connection, [row("b"), row("c")])
        # Of ours, and of SQLAlchemy's.
        return version_of(connection, "one"), many(connection)

    assert await database.write(work) == (7, 3)
    assert await database.read(many) == 3


@pytest.mark.parametrize("rows", [1, FEW, FEW + 1, MOST_KEPT + 1])
async def test_any_number_of_rows_is_stored(database: Database, rows: int) -> None:
    def work(connection: Connection) -> None:
        INSERT.send_many(connection, [row(f"{number}") for number in range(rows)])
        INSERT.send(connection, **row("last"))

    await database.write(work)
    assert await database.read(many) == rows + 1


def ask_ours(connection: Connection) -> None:
    version_of(connection, "one")


def ask_sqlalchemy(connection: Connection) -> None:
    many(connection)


def send_more(connection: Connection) -> None:
    INSERT.send(connection, **row("more"))


def write_many(connection: Connection) -> None:
    connection.execute(insert(decisions), [row(f"{number}") for number in range(3)])


def do_nothing(connection: Connection) -> None:
    del connection


@pytest.mark.parametrize("then", [ask_ours, ask_sqlalchemy, send_more, write_many, do_nothing])
async def test_an_error_of_what_was_sent_undoes_it_all(
    database: Database, then: Callable[[Connection], None]
) -> None:
    await database.write(lambda connection: INSERT.run(connection, **row("taken")))

    def work(connection: Connection) -> None:
        insert_control(connection, control("one"), open_=True)
        INSERT.send(connection, **row("fresh"))
        INSERT.send(connection, **row("taken"))
        then(connection)

    with pytest.raises(IntegrityError):
        await database.write(work)
    assert await database.read(many) == 1
    assert await database.read(lambda connection: version_of(connection, "one")) == 0
    # The connection is as good as before.
    await database.write(lambda connection: INSERT.run(connection, **row("later")))
    assert await database.read(many) == 2


async def test_an_error_of_ours_undoes_what_was_sent_before(database: Database) -> None:
    def work(connection: Connection) -> None:
        INSERT.send(connection, **row("a"))
        raise KeyError("ours")

    with pytest.raises(KeyError):
        await database.write(work)
    assert await database.read(many) == 0
    await database.write(lambda connection: INSERT.run(connection, **row("later")))


async def test_a_statement_that_is_asked_says_how_many_rows_it_touched(database: Database) -> None:
    def work(connection: Connection) -> int:
        insert_control(connection, control("one"), open_=True)
        return connection.execute(job_control.update().values(version=8)).rowcount

    assert await database.write(work) == 1


async def test_what_does_not_depend_on_what_was_sent_goes_before_it(database: Database) -> None:
    """Which SQLite, where nothing is kept, does not do; the answer is the same."""
    await database.write(lambda connection: insert_control(connection, control("two"), open_=True))

    def work(connection: Connection) -> tuple[int, int]:
        INSERT.send(connection, **row("a"))
        seen = ASKED.ahead(connection, job="two").scalar()
        return seen, len(pipeline_of(connection) or [])

    kept = {"sqlite": 0, "postgresql": 1}[database.engine.dialect.name]
    assert await database.write(work) == (7, kept)
    assert await database.read(many) == 1


async def test_more_than_are_kept_are_run_before_the_end(database: Database) -> None:
    def work(connection: Connection) -> int:
        for number in range(MOST_KEPT + 5):
            INSERT.send(connection, **row(f"{number}"))
        return len(pipeline_of(connection) or [])

    assert await database.write(work) < MOST_KEPT
    assert await database.read(many) == MOST_KEPT + 5


async def test_nobody_waits_for_what_is_sent(migrated_postgres: str) -> None:
    """But the commit does, here for a lock that another has: it is run by then."""
    sent, lock = threading.Event(), "SELECT pg_advisory_xact_lock(1)"
    waiting = "SELECT 1 FROM pg_locks WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))"

    def work(connection: Connection) -> None:
        assert version_of(connection, "one") == 0
        send_sql(connection, lock, ())
        sent.set()

    with Database(migrated_postgres) as database:
        with database.engine.connect() as other:
            other.exec_driver_sql(lock)
            writing = asyncio.ensure_future(database.write(work))
            assert await asyncio.to_thread(sent.wait, SECONDS)
            async with asyncio.timeout(SECONDS):
                while not other.exec_driver_sql(waiting).all():  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.01)
        await writing


async def test_who_stands_still_after_many_rows_is_noticed(migrated_postgres: str) -> None:
    """The driver writes many rows in a mode after which the server would not."""

    def work(connection: Connection) -> None:
        idle = "SET LOCAL idle_in_transaction_session_timeout TO '200ms'"
        connection.exec_driver_sql(idle)
        INSERT.run_many(connection, [row(f"{number}") for number in range(20)])
        time.sleep(1.0)
        ask_ours(connection)

    with Database(migrated_postgres) as database:
        with pytest.raises(StoreUnavailable, match="stood still"):
            await database.write(work)
        assert await database.read(many) == 0


async def test_an_error_at_the_commit_itself_is_raised(migrated_postgres: str) -> None:
    """As that of a constraint that is looked at no sooner."""
    with Database(migrated_postgres) as database:

        def make(connection: Connection) -> None:
            connection.exec_driver_sql(
                "CREATE TABLE late (a int, UNIQUE (a) DEFERRABLE INITIALLY DEFERRED)"
            )

        def work(connection: Connection) -> None:
            send_sql(connection, "INSERT INTO late VALUES (%s), (%s)", (1, 1))
            assert connection.exec_driver_sql("SELECT count(*) FROM late").scalar() == 2

        await database.write(make)
        with pytest.raises(IntegrityError):
            await database.write(work)
        left = "SELECT count(*) FROM late"
        assert await database.read(lambda c: c.exec_driver_sql(left).scalar()) == 0
