"""Jobs that wrote to the same records are undone one after another, the last one first."""

from __future__ import annotations

import pytest

from domain.outcomes import Counts
from domain.registry import Registry
from streams.stores import migrate
from streams.stores.database import Database
from tests.databases import database, database_url
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock
from tests.engine.test_undo_parts import additions, amounts, by_hand, undo
from tests.engine.test_undo_preview import conflicts

__all__ = ["database", "database_url"]

THINGS = [1, 2, 3]


@pytest.fixture
async def stages(database: Database) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(operations))


async def more(stages: Stages) -> str:
    """Another job that writes to each of the things."""
    items = [{"id": n, "amount": 10} for n in THINGS]
    job_id = await stages.submit("stock.add", items, options={"chunk_size": 2})
    await stages.run_dry()
    return job_id


async def test_what_was_put_back_before_is_in_nobody_s_way(stages: Stages) -> None:
    first, second, third = await additions(stages, THINGS), await more(stages), await more(stages)
    for job_id, left in ((third, 11), (second, 1), (first, 0)):
        assert await undo(stages, job_id) == Counts(rolled_back=3)
        assert await amounts(stages) == dict.fromkeys(THINGS, left)


async def test_who_still_stands_between_is_named(stages: Stages) -> None:
    first, second, third = await additions(stages, THINGS), await more(stages), await more(stages)
    await undo(stages, third)
    assert await undo(stages, first) == Counts(conflict=3)
    assert [second in reason for reason in (await conflicts(stages, first)).values()] == [True] * 3
    assert await amounts(stages) == dict.fromkeys(THINGS, 11)


async def test_what_was_done_again_stands(stages: Stages) -> None:
    first, second = await additions(stages, THINGS), await more(stages)
    await undo(stages, second)
    await undo(stages, second)
    assert await amounts(stages) == dict.fromkeys(THINGS, 11)
    assert await undo(stages, first) == Counts(conflict=3)


async def test_a_single_edit_stands_whoever_is_undone(stages: Stages) -> None:
    first, second = await additions(stages, THINGS), await more(stages)
    await undo(stages, second)
    await by_hand(stages, change=(2,))
    assert await undo(stages, first) == Counts(rolled_back=2, conflict=1)
    assert await amounts(stages) == {1: 0, 2: 77, 3: 0}


async def test_what_was_deleted_and_is_back_can_be_taken_away_by_who_made_it(
    stages: Stages,
) -> None:
    made = await stages.submit("stock.create", [{"name": "x"}] * 3)
    await stages.run_dry()
    removed = await stages.submit("stock.remove", [{"id": n, "amount": 0} for n in THINGS])
    await stages.run_dry()
    assert await amounts(stages) == {}
    await undo(stages, removed)
    assert await undo(stages, made) == Counts(rolled_back=3)
    assert await amounts(stages) == {}
