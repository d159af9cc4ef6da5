"""A connection that is lost within a handler is no failure of an item: the chunk is tried again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from domain.errors import StoreUnavailable
from domain.operation import Context, Operation, operation
from domain.outcomes import Done, Result
from domain.registry import Registry
from streams.bootstrap.plugins import prepare
from streams.stores.database import Database
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
    postgres_database: str, *, swallow: bool
) -> None:
    with Database(postgres_database) as database, Database(postgres_database) as other:

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
