"""What was in flight and is called back is worked in its order again: the later item wins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import text

from domain.commands import AdjustJob, PauseJob, ResumeJob
from domain.events import JobStatus
from domain.operation import Context, Operation, operation
from domain.outcomes import Done, Failed, Result
from domain.records import Change
from domain.registry import Registry
from streams.stores import migrate
from streams.stores.database import Database
from tests.databases import database, database_url
from tests.engine.stages import Stages
from tests.engine.stock import Number, operations, stock

__all__ = ["database", "database_url"]

BAD = -1
ITEMS = 400


@pytest.fixture
def worked() -> list[int]:
    """The numbers in the order in which they were worked."""
    return []


def _counting(worked: list[int]) -> Operation:
    @operation("stock.count", item=Number, tables=[stock])
    def count(ctx: Context, item: Number) -> Result:
        """Have the only thing say the number; the later one wins."""
        worked.append(item.number)
        ctx.store.update(stock, [Change(1, {"amount": item.number}, position=ctx.position)])
        return Failed("bad", "below zero") if item.number == BAD else Done()

    return count


@pytest.fixture(params=[False, True], ids=["alone", "shared"])
async def stages(database: Database, worked: list[int], request: pytest.FixtureRequest) -> Stages:
    migrate.create_missing(database, [stock])
    registry = Registry([*operations, _counting(worked)])
    stages = Stages(database, registry, shared=request.param)
    await stages.submit("stock.create", [{"name": "one"}])
    await stages.run_dry()
    return stages


async def _pause(stages: Stages, job_id: str) -> None:
    stages.bus.clear()
    (await stages.command(PauseJob, job_id)).accepted()
    (await stages.command(ResumeJob, job_id)).accepted()


async def _lower_a_cap(stages: Stages, job_id: str) -> None:
    stages.bus.clear()
    (await stages.command(AdjustJob, job_id, concurrency=1)).accepted()


async def _hit_a_limit(stages: Stages, job_id: str) -> None:
    """The first message brings the failure that pauses the job; the others are late."""
    await stages.deliver(stages.bus.pop(0))
    stages.bus += await stages.coordinator.look(job_id)
    assert (await stages.job(job_id)).status is JobStatus.PAUSED
    await stages.run_dry()
    (await stages.command(ResumeJob, job_id)).accepted()


@pytest.mark.parametrize("numbers", [range(400), range(399, -1, -1)], ids=["up", "down"])
@pytest.mark.parametrize(
    ("call_back", "first"), [(_pause, []), (_lower_a_cap, []), (_hit_a_limit, [BAD])]
)
async def test_of_two_items_on_one_record_the_later_one_wins(
    stages: Stages,
    worked: list[int],
    call_back: Callable[[Stages, str], Awaitable[None]],
    first: list[int],
    numbers: range,
) -> None:
    wanted = [*first, *numbers]
    job_id = await stages.submit(
        "stock.count",
        [{"number": n} for n in wanted],
        options={"chunk_size": 10, "tolerate": [{"failed": 0, "then": "pause"}]},
    )
    assert len((await stages.job(job_id)).open) > 10, "many chunks are in flight"
    await call_back(stages, job_id)
    await stages.mend()
    assert worked == wanted
    assert await stages.rows("SELECT amount FROM stock") == [(wanted[-1],)]


async def test_of_two_chunks_that_have_killed_their_workers_the_first_goes_first_again(
    stages: Stages, worked: list[int]
) -> None:
    items = [{"number": n} for n in range(200)]
    await stages.submit("stock.count", items, options={"chunk_size": 10})
    stages.bus.clear()
    died = text("UPDATE chunks SET starts = 3, lease_until = 0.0 WHERE open AND chunk < 2")
    await stages.database.write(lambda connection: connection.execute(died))
    await stages.mend()
    assert sorted(worked) == list(range(200))
    assert [number for number in worked if number < 20] == list(range(20))
