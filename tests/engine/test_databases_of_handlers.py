"""Handlers that ask a database of their own: its faults fail their items, and hold up nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, exc, text

from domain.commands import UndoJob
from domain.events import JobStatus
from domain.operation import Context, Operation, operation
from domain.outcomes import Done, ItemStatus, Restored, Result, UndoResult
from domain.registry import Registry
from streams.queries import Queries
from streams.stores.database import Database
from streams.stores.infrastructure import is_fault
from streams.stores.statements import run_sql
from tests.databases import database, database_url
from tests.engine.stages import Stages
from tests.engine.stock import Number

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


OPERATIONS: tuple[Operation, ...] = (far_apply, far_validate, far_inverse)


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
