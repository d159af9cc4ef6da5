"""What a step says of itself alone: jobs of other kinds, each in its turn and in its time."""

from __future__ import annotations

import pytest

from domain.registry import Registry
from streams.stores import migrate
from streams.stores.database import Database
from tests.databases import database, database_url
from tests.engine.batches import GOOD, children, statuses, step, submit
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url"]


@pytest.fixture(params=[False, True], ids=["alone", "shared"])
def stages(database: Database, request: pytest.FixtureRequest) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(operations), shared=request.param)


async def test_steps_of_other_kinds_go_by_a_priority_and_a_timeout_of_their_own(
    stages: Stages,
) -> None:
    """Those that stand first in the batch begin last, and what is late keeps nobody else."""
    await stages.submit("stock.create", GOOD)
    await stages.run_dry()
    for _ in range(6):
        # They have all places when the batch comes.
        await stages.submit("stock.wait", [{"number": 1}] * 8)
    small = {"chunk_size": 2}
    numbers = [{"number": n} for n in range(8)]
    additions = [{"id": 1, "amount": 1}] * 8
    batch = await submit(
        stages,
        step("low", operation="stock.send", items=numbers, priority=0, options=small),
        step("usual", items=GOOD * 3, options=small),
        step("high", operation="stock.add", items=additions, priority=9, options=small),
        step("late", items=GOOD, timeout=30, options={"rate": 0.01}, priority=8),
        priority=4,
    )
    steps = await children(stages, batch)
    assert {name: job.priority for name, job in steps.items()} == {
        "low": 0,
        "usual": 4,
        "high": 9,
        "late": 8,
    }
    assert not any(job.open for job in steps.values())
    await stages.work_out()
    began = {name: job.started_at for name, job in (await children(stages, batch)).items()}
    in_turn = sorted(began, key=lambda name: began[name] or stages.clock.now())
    assert {*in_turn[:2]} == {"high", "late"}, in_turn
    stages.clock.pass_seconds(31)
    stages.bus += await stages.coordinator.look(f"{batch}-4")
    await stages.run_dry()
    assert await stages.rows("SELECT amount FROM stock WHERE id = 1") == [(8,)]
    assert await statuses(stages, batch) == {
        "low": "completed",
        "usual": "completed",
        "high": "completed",
        "late": "cancelled",
    }
