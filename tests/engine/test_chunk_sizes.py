"""The automatic size of chunks is nearly as good as the best that a caller could have said.

By processor time an item where the engine has work to do, by time where a handler waits. Sizes
take turns, so that what else the machine does is shared by all of them. The same is worked out
from what a transaction and a chunk cost in ``tests/unit/domain/test_planning.py``.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel
from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table, Text

from domain.events import JobStatus
from domain.operation import Context, operation
from domain.outcomes import Done, Result
from domain.registry import Registry
from streams.bootstrap import embedded
from streams.settings import Settings
from tests.engine.conftest import Desk
from tests.proof.figures import tell

Size = int | Literal["auto"]
Costs = dict[Size, list[float]]
WITHIN = 1.15
LARGE = "é = 20 kB " * 1820

metadata = MetaData()
rows = Table(
    "sized",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("tenant", String(100), nullable=False),
    Column("body", Text, nullable=False),
)


class Row(BaseModel):
    """A row to be written."""

    body: str


class Nap(BaseModel):
    """So many milliseconds."""

    ms: float


@operation("sized.write", item=Row, per="chunk", independent=True, tables=[rows])
def write(ctx: Context, items: Sequence[Row]) -> list[Result]:
    """Rows, many at once."""
    ids = ctx.store.insert(rows, ["body"], [(item.body,) for item in items], ctx.positions)
    return [Done({"id": number}) for number in ids]


@operation("sized.nap", item=Nap)
def nap(_ctx: Context, item: Nap) -> Result:
    """Wait, one item after the other."""
    time.sleep(item.ms / 1000)
    return Done()


@operation("sized.call", item=Nap, slow=True, concurrency=32)
async def call(_ctx: Context, item: Nap) -> Result:
    """Wait for somebody else, many items at once."""
    await asyncio.sleep(item.ms / 1000)
    return Done()


@dataclass(frozen=True)
class Workload:
    """What is done, with how many items, and which sizes are tried; ``clock`` judges."""

    operation: str
    item: dict[str, Any]
    items: int
    sizes: tuple[int, ...]
    clock: Callable[[], float]
    rounds: int = 14


WORKLOADS = {
    "tiny rows": Workload(
        "sized.write", {"body": "x"}, 40_000, (20, 100, 500, 1000, 2000), time.process_time
    ),
    "rows of 20 kB": Workload(
        "sized.write", {"body": LARGE}, 1200, (5, 20, 50, 100, 200, 400), time.process_time
    ),
    "a handler of 50 ms": Workload("sized.nap", {"ms": 50}, 120, (1, 5, 20, 60), time.monotonic, 4),
    "slow calls of 50 ms": Workload(
        "sized.call", {"ms": 50}, 2000, (16, 64, 128, 512), time.monotonic, 4
    ),
}


@pytest.fixture
async def desk(data_dir: Path) -> AsyncIterator[Desk]:
    """In this very process and on SQLite, so that its processor time is all that is used."""
    async with embedded(Settings(data_dir=data_dir), Registry([write, nap, call])) as engine:
        yield Desk(engine)


async def _cost(desk: Desk, work: Workload, size: Size, items: int) -> float:
    """Seconds an item, of the clock that judges."""
    begun = work.clock()
    things = [work.item] * items
    job_id = await desk.submit(work.operation, things, options={"chunk_size": size})
    ended = f"SELECT 1 FROM job_control WHERE job_id = '{job_id}' AND ended IS NOT NULL"
    await desk.when(ended, seconds=120)
    took = work.clock() - begun
    assert (await desk.job(job_id)).status is JobStatus.COMPLETED
    return took / items


async def _compared(desk: Desk, work: Workload, rounds: int, items: int) -> Costs:
    """The costs of each size in some rounds, after one that does not count."""
    taken: Costs = {size: [] for size in (*work.sizes, "auto")}
    await _cost(desk, work, "auto", items)
    for number in range(rounds):
        # Forth and back: none always follows the same one.
        for size in list(taken)[:: 1 if number % 2 else -1]:
            taken[size].append(await _cost(desk, work, size, items))
    return taken


def _ratio(costs: Costs, name: str) -> float:
    """Of automatic to the size that was the best, the median over single rounds.

    Which one is the best is judged by the other rounds: chance would choose itself.
    """
    chosen = {size: statistics.median(each[::2]) for size, each in costs.items()}
    best = min((size for size in costs if size != "auto"), key=lambda size: chosen[size])
    pairs = zip(costs["auto"][1::2], costs[best][1::2], strict=True)
    ratio = statistics.median(auto / other for auto, other in pairs)
    middle = {size: statistics.median(each) for size, each in costs.items()}
    each = ", ".join(f"{size}: {cost * 1e6:.0f} us" for size, cost in middle.items())
    rounds = len(costs["auto"])
    tell("automatic chunk size to the best one", f"{ratio:.2f}", work=name, rounds=rounds)
    tell(f"an item of {name}, by chunk size", each, best=best)
    return ratio


@pytest.mark.proof
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", WORKLOADS)
async def test_the_automatic_size_is_within_15_percent_of_the_best(desk: Desk, name: str) -> None:
    work = WORKLOADS[name]
    assert _ratio(await _compared(desk, work, work.rounds, work.items), name) <= WITHIN
