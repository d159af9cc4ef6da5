"""Handlers that ask a database of their own: its faults fail their items, and hold up nobody."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, exc, text

from domain.commands import RetryJob, UndoJob
from domain.errors import StoreUnavailable
from domain.events import JobStatus
from domain.operation import Context, Operation, operation
from domain.outcomes import Done, ItemStatus, Restored, Result, UndoResult
from domain.registry import Registry
from streams.queries import Queries
from streams.stores import migrate, privileges
from streams.stores.database import Database, sqlite_url
from streams.stores.infrastructure import is_fault
from streams.stores.statements import run_sql
from tests.databases import ENGINE_ROLE, as_owner, database, database_url
from tests.engine.stages import Stages
from tests.engine.stock import Number, Thing, create, stock

__all__ = ["database", "database_url"]

BAD = 2
CODE = "handler_error"


def ask_elsewhere(item: Number) -> None:
    """A question to another database, which fails for one of the items."""
    if item.number == BAD:
        elsewhere = create_engine("sqlite://")
        with elsewhere.connect() as connection:
            connection.execute(text("SELECT price FROM nosuch"))


@operation("far.apply", item=Number)
def far_apply(_ctx: Context, item: Number) -> Result:
    """Asks while it works."""
    ask_elsewhere(item)
    return Done()


def _validate(_ctx: Context, item: Number) -> None:
    ask_elsewhere(item)


@operation("far.validate", item=Number, validate=_validate)
def far_validate(_ctx: Context, _item: Number) -> Result:
    """Asks before it works."""
    return Done()


def _inverse(_ctx: Context, item: Number, _result: Any) -> UndoResult:
    ask_elsewhere(item)
    return Restored()


@operation("far.inverse", item=Number, inverse=_inverse)
def far_inverse(_ctx: Context, _item: Number) -> Result:
    """Asks when it is undone."""
    return Done()


@operation("far.hide", item=Thing, tables=[stock])
def far_hide(ctx: Context, item: Thing) -> Result:
    """Notes elsewhere what it could not write here, and cannot do that either."""
    try:
        ctx.store.insert(stock, ["name", "amount"], [(item.name, item.amount)], ctx.positions)
    except exc.OperationalError:
        ask_elsewhere(Number(number=BAD))
    return Done()


OPERATIONS: tuple[Operation, ...] = (far_apply, far_validate, far_inverse, far_hide)


@pytest.fixture
def stages(database: Database) -> Stages:
    return Stages(database, Registry(OPERATIONS))


async def told(stages: Stages, job_id: str) -> list[tuple[ItemStatus, str | None]]:
    """What became of each item, with the code of its error."""
    queries = Queries(stages.database, stages.jobs, stages.registry)
    return [
        (view.status, view.error.code if view.error else None)
        async for view in queries.items("local", job_id)
    ]


ITEMS = [{"number": number} for number in range(5)]


@pytest.mark.parametrize("kind", ["far.apply", "far.validate"])
@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_fault_of_another_database_fails_its_item_alone(
    stages: Stages, kind: str, dry_run: bool
) -> None:
    job_id = await stages.submit(kind, ITEMS, options={"dry_run": dry_run})
    await stages.run_dry()
    good = ItemStatus.PLANNED if dry_run else ItemStatus.SUCCEEDED
    found = await told(stages, job_id)
    assert found.pop(BAD) == (ItemStatus.FAILED, CODE)
    assert found == [(good, None)] * 4


@pytest.mark.parametrize("kind", ["far.apply", "far.validate"])
async def test_it_fails_an_atomic_job_which_says_why(stages: Stages, kind: str) -> None:
    job_id = await stages.submit(kind, ITEMS, options={"atomic": True})
    await stages.run_dry()
    assert (await stages.job(job_id)).status is JobStatus.FAILED
    assert (await told(stages, job_id))[BAD] == (ItemStatus.FAILED, CODE)


async def test_it_fails_the_undo_of_its_item_alone(stages: Stages) -> None:
    job_id = await stages.submit("far.inverse", ITEMS)
    await stages.run_dry()
    await stages.command(UndoJob, job_id)
    await stages.run_dry()
    found = [status for status, _ in await told(stages, job_id)]
    assert found.pop(BAD) is not ItemStatus.ROLLED_BACK
    assert found == [ItemStatus.ROLLED_BACK] * 4


async def test_it_hides_no_fault_of_ours_that_has_taken_back_what_was_written(
    sqlite_template: Path, tmp_path: Path
) -> None:
    """A full disk ends SQLite's transaction, and with it the effects of earlier items."""
    place = tmp_path / "full.db"
    shutil.copyfile(sqlite_template, place)
    with Database(sqlite_url(place)) as database:
        migrate.create_missing(database, [stock])
        stages = Stages(database, Registry(OPERATIONS))
        items = [{"name": "x" * size} for size in (1, 900_000, 1, 1)]
        job_id = await stages.submit("far.hide", items)
        ((pages,),) = await stages.rows("PRAGMA page_count")
        fill(database, pages + 100)
        with pytest.raises(StoreUnavailable):
            await stages.run_dry()
        fill(database, 1_000_000)
        assert (await stages.job(job_id)).counts.pending == 4
        assert await stages.rows("SELECT * FROM stock") == []


def fill(database: Database, pages: int) -> None:
    """Leave so much room to the one connection that writes."""
    limit = text(f"PRAGMA max_page_count = {pages}")
    database.write_now(lambda connection: connection.execute(limit).all())


@pytest.mark.service("postgresql")
async def test_a_right_that_is_missing_fails_items_alone_which_are_retried_with_it(
    migrated_postgres: str,
) -> None:
    """To wait for it would keep a slot from all others, for a table that only these need."""
    with Database(as_owner(migrated_postgres)) as owner, Database(migrated_postgres) as engine:
        migrate.create_missing(owner, [stock])
        stages = Stages(engine, Registry([create]))
        job_id = await stages.submit("stock.create", [{"name": "x"}] * 2)
        await stages.run_dry()
        assert await told(stages, job_id) == [(ItemStatus.FAILED, CODE)] * 2
        privileges.permit(owner, ENGINE_ROLE)
        (await stages.command(RetryJob, job_id)).accepted()
        await stages.run_dry()
        assert (await stages.job(job_id)).counts.succeeded == 2


WRONG = "SELECT price FROM nosuch"


@pytest.mark.parametrize(
    "ask",
    [lambda found: found.execute(text(WRONG)), lambda found: run_sql(found, WRONG, ())],
    ids=["SQLAlchemy", "statements"],
)
def test_what_our_own_database_raises_is_known(
    database: Database, ask: Callable[[Connection], object]
) -> None:
    def raised(connection: Connection) -> Exception:
        with pytest.raises(exc.DBAPIError) as caught:
            ask(connection)
        # What no handler is to blame for is of some kinds only, which this is not everywhere.
        error = exc.OperationalError("", None, Exception("as it was lost"))
        error.__dict__.update(vars(caught.value))
        assert is_fault(connection, error)
        assert not is_fault(connection, exc.OperationalError("", None, Exception("of another")))
        return caught.value

    database.read_now(raised)
