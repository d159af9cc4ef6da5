"""The watch over memory: whom it names, and how often it asks."""

from __future__ import annotations

from datetime import UTC, datetime

from streams.stores.workers import WorkerRow
from streams.systems.annotations.memory import LOOK_SECONDS, MemoryWatch


class _Clock:
    seconds = 100.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


def _worker(name: str, rss: int, budget: int, system: str = "annotations") -> WorkerRow:
    return WorkerRow(name, (system,), 1, 1, "host", rss, memory_budget=budget)


async def test_it_names_whom_the_platform_has_over_budget_and_asks_once_a_second() -> None:
    asked = 0

    async def workers() -> list[WorkerRow]:
        nonlocal asked
        asked += 1
        return [
            _worker("over", 101, 100),
            _worker("within", 100, 100),
            _worker("unbounded", 999, 0),
            _worker("stranger", 999, 1, system="stock"),
        ]

    clock = _Clock()
    watch = MemoryWatch(clock)
    for _ in range(3):
        assert [(each.worker, each.memory) for each in await watch.look(workers)] == [("over", 101)]
    assert asked == 1
    clock.seconds += LOOK_SECONDS
    await watch.look(workers)
    assert asked == 2
