"""A connection that is lost within a handler is no failure of an item: the chunk is tried again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Connection

from domain.errors import StoreUnavailable
from domain.operation import Context, Operation, operation
from domain.outcomes import Done, Result
from domain.registry import Registry
from streams.bootstrap.plugins import prepare
from streams.stores.database import TRUSTED_SECONDS, Database, sqlite_url
from tests.engine.stages import Stages
from tests.engine.stock import Thing, stock

_CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
    "AND state = 'idle in transaction' AND pid <> pg_backend_pid()"
)


def _losing(cut: Callable[[], None], *, swallow: bool) -> Operation:
    runs: list[int] = []

    @operation("stock.losing", item=Thing, per="chunk", tables=[stock])
    def losing(ctx: Context, items: Sequence[Thing]) -> list[Result]:
        runs.append(len(items))
        if len(runs) == 1:
            cut()
        try:
            ctx.store.insert(stock, ["name", "amount"], [("a", 1)] * len(items), ctx.positions)
        except Exception:
            if not swallow:
                raise
        return [Done({"run": len(runs)}) for _ in items]

    return losing


@pytest.mark.parametrize("swallow", [False, True], ids=["raised", "swallowed by the handler"])
async def test_a_connection_is_lost_within_a_handler(
    migrated_postgres: str, *, swallow: bool
) -> None:
    with Database(migrated_postgres) as database, Database(migrated_postgres) as other:

        def cut() -> None:
            rows = other.read_now(lambda c: c.exec_driver_sql(_CUT).fetchall())
            assert rows == [(True,)]

        registry = Registry([_losing(cut, swallow=swallow)])
        prepare(database, registry)
        stages = Stages(database, registry)
        job_id = await stages.submit("stock.losing", [{"name": "a"}, {"name": "b"}])
        with pytest.raises(StoreUnavailable):
            await stages.run_dry()
        await stages.mend()
        counts = (await stages.job(job_id)).counts
        assert (counts.succeeded, counts.failed) == (2, 0)
        assert await stages.rows("SELECT count(*) FROM stock") == [(2,)]


_END_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
    "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


def _answers(database: Database) -> bool:
    return database.write_now(lambda c: c.exec_driver_sql("SELECT 1").scalar()) == 1


async def test_connections_that_were_lost_while_idle_are_replaced_before_they_are_used(
    postgres_database: str,
) -> None:
    with Database(postgres_database) as database, Database(postgres_database) as other:
        # Two at once, so that there are two to be lost.
        assert database.write_now(lambda _: _answers(database))
        lost = other.read_now(lambda c: c.exec_driver_sql(_END_OTHERS).fetchall())
        assert len(lost) == 2
        await asyncio.sleep(TRUSTED_SECONDS)
        assert database.write_now(lambda _: _answers(database))


async def test_of_those_that_are_lost_in_use_each_is_found_out_once(postgres_database: str) -> None:
    with Database(postgres_database) as database, Database(postgres_database) as other:
        assert _answers(database)
        assert other.read_now(lambda c: c.exec_driver_sql(_END_OTHERS).fetchall()) == [(True,)]
        with pytest.raises(StoreUnavailable):
            _answers(database)
        assert _answers(database)


def _kept_open(path: Path) -> list[str]:
    """The files of a database that this process has open."""
    opened = map(os.path.realpath, Path("/proc/self/fd").iterdir())
    return [name for name in opened if name.startswith(str(path))]


async def test_an_error_on_sqlite_leaves_nothing_half_done_and_no_connection_open(
    tmp_path: Path,
) -> None:
    path = tmp_path / "countermand.db"
    with Database(sqlite_url(path)) as database:

        def fails(connection: Connection) -> None:
            connection.exec_driver_sql("INSERT INTO counted VALUES (2)")
            raise LookupError

        def count(connection: Connection) -> int:
            return int(connection.exec_driver_sql("SELECT count(*) FROM counted").scalar() or 0)

        database.write_now(lambda c: c.exec_driver_sql("CREATE TABLE counted (number INTEGER)"))
        database.write_now(lambda c: c.exec_driver_sql("INSERT INTO counted VALUES (1)"))
        for _ in range(3):
            with pytest.raises(LookupError):
                database.write_now(fails)
            with pytest.raises(StoreUnavailable):
                database.read_now(lambda c: c.exec_driver_sql("SELECT none FROM nowhere"))
            assert database.read_now(count) == 1, "the transaction that failed is gone"
        opened = len(_kept_open(path))
        database.write_now(lambda c: c.exec_driver_sql("INSERT INTO counted VALUES (3)"))
        assert database.read_now(count) == 2, "each reading begins anew"
        assert len(_kept_open(path)) == opened, "no connection is lost by an error"
    assert not _kept_open(path), "what stayed open is closed with the database"
