"""Large edits: a patch is merged body by body, however much the chosen items are together."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from domain.commands import RetryJob, Selection
from domain.errors import InvalidCommand
from domain.events import JobStatus
from domain.registry import Registry
from streams import editing
from streams.queries import Queries
from streams.stores import audit, migrate
from streams.stores.database import Database
from streams.stores.payloads import MAX_LINE_BYTES
from tests.databases import database, database_url
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url"]

MANY, LARGE = 128, 250_000
HELD = 16_000_000
"""The last eight parts that were read, the one that is cut, and what is being patched."""


@pytest.fixture
def stages(database: Database) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(operations))


def _refused(size: int, seed: int) -> dict[str, Any]:
    """An item that fails, of bytes that no compression makes few."""
    return {"name": "!" + random.Random(seed).randbytes(size // 2).hex()}


async def _failed(stages: Stages, items: list[dict[str, Any]]) -> str:
    job_id = await stages.submit("stock.create", items)
    await stages.mend()
    assert (await stages.job(job_id)).counts.failed == len(items)
    return job_id


async def _retry(stages: Stages, job_id: str, **select: Any) -> None:
    """Ask for a retry; raises the refusal."""
    command = RetryJob(
        command_id=stages.ids.new(),
        job_id=job_id,
        tenant="local",
        actor="tester",
        select=Selection.model_validate(select),
    )
    stages.bus += await stages.coordinator.handle(command)
    stages.decisions[command.command_id].accepted()


async def _most_held(work: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """The largest number of bytes that Python holds at once for some work."""
    tracemalloc.start()
    try:
        await work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def _uploads(stages: Stages) -> list[tuple[Any, ...]]:
    names = ("uploads", "payloads", "payload_keys")
    return [(await stages.rows(f"SELECT count(*) FROM {name}"))[0] for name in names]


async def test_what_is_held_does_not_grow_with_the_bodies(stages: Stages) -> None:
    items = [_refused(LARGE, n) for n in range(MANY)]
    job_id = await _failed(stages, items)
    held = await _most_held(lambda: _retry(stages, job_id, patch={"amount": 1}))
    assert held < HELD < MANY * LARGE
    await stages.mend()

    # Both were named by that edit, and with them all that lies in between.
    ends = [0, MANY - 1]
    held = await _most_held(lambda: _retry(stages, job_id, items=ends, patch={"amount": 2}))
    assert held < HELD
    assert await _most_held(stages.mend) < HELD, "nor of what those who work them read"

    queries = Queries(stages.database, stages.jobs, stages.registry)
    async for view in queries.items("local", job_id):
        amount = 2 if view.position in ends else 1
        assert view.item == {**items[view.position], "amount": amount}
    report = await stages.database.aside(lambda: audit.verify(stages.database, None, job_id=job_id))
    assert report.sound, report.findings


async def test_scattered_items_are_patched_as_their_last_edit_left_them(stages: Stages) -> None:
    job_id = await _failed(stages, [{"name": f"!{n}"} for n in range(60)])
    await _retry(stages, job_id, items=[*range(3, 40, 3)], patch={"amount": 1})
    await stages.mend()
    edits = [{"item": n, "body": {"name": f"!edited {n}"}} for n in (6, 7, 33)]
    await _retry(stages, job_id, edits=edits)
    await stages.mend()
    await _retry(stages, job_id, items=[2, 3, 6, 7, 8, 33, 36, 59], patch={"name": "good"})
    await stages.mend()
    rows = await stages.rows("SELECT amount FROM stock ORDER BY id")
    assert [amount for (amount,) in rows] == [0, 1, 0, 0, 0, 0, 1, 0]


async def test_more_than_one_transaction_should_take_is_refused_and_leaves_nothing(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await _failed(stages, [_refused(400_000, n) for n in range(8)])
    before = await _uploads(stages)
    monkeypatch.setattr(editing, "MOST_EDITED_BYTES", 2_500_000)
    with pytest.raises(InvalidCommand, match=r"first 6 of the 8 items .* choose fewer") as refusal:
        await _retry(stages, job_id, patch={"amount": 1})
    assert refusal.value.pointer == "/patch"
    assert await _uploads(stages) == before
    assert (await stages.job(job_id)).status is JobStatus.FAILED
    await _retry(stages, job_id, items=[*range(6)], patch={"name": "good"})
    await stages.mend()
    assert (await stages.job(job_id)).counts.succeeded == 6


async def test_an_item_that_the_patch_makes_too_long_is_named(stages: Stages) -> None:
    things = [_refused(1000 if n != 5 else MAX_LINE_BYTES - 100, n) for n in range(8)]
    job_id = await _failed(stages, things)
    before = await _uploads(stages)
    with pytest.raises(InvalidCommand, match=r"item 5 .* longer than 1000000 bytes") as refusal:
        await _retry(stages, job_id, items=[*range(3, 8)], patch={"note": "x" * 200})
    assert refusal.value.pointer == "/patch"
    assert await _uploads(stages) == before
