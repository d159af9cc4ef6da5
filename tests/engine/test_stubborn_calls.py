"""A call that takes its cancellation for nothing ends all the same, and its worker with it."""

from __future__ import annotations

import asyncio

import pytest

from domain.operation import Context, operation
from domain.outcomes import Done, Result
from domain.registry import Registry
from streams.stores.database import Database
from tests.databases import sqlite_database, sqlite_template
from tests.engine.stages import Stages
from tests.engine.stock import Number

__all__ = ["sqlite_database", "sqlite_template"]


@pytest.mark.parametrize("at_once", [True, False])
async def test_it_holds_up_no_worker_beyond_its_own_end(
    sqlite_database: Database, at_once: bool
) -> None:
    begun, cancelled, may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @operation("stubborn.call", item=Number, slow=True)
    async def call(_ctx: Context, _item: Number) -> Result:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
        if not at_once:
            await may_end.wait()
        return Done()

    stages = Stages(sqlite_database, Registry([call]))
    await stages.submit("stubborn.call", [{"number": 1}])
    await stages.run_dry()
    await asyncio.wait_for(begun.wait(), 10)
    closing = asyncio.ensure_future(stages.slow.close())
    await asyncio.wait_for(cancelled.wait(), 10)

    may_end.set()
    await asyncio.wait_for(closing, 10)
    assert stages.slow.leased.in_flight == 0
    assert await stages.rows("SELECT 1 FROM outcomes") == []
