"""Memory: which workers of the platform have more of it than their budget, looked up for all.

However many clients follow operations, the table of workers is read once a second at most.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from math import inf

from domain.ports import Clock
from streams.stores.workers import WorkerRow
from streams.systems.annotations.load import SYSTEM

LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Over:
    """A worker that is over its budget, both in bytes."""

    worker: str
    host: str
    memory: int
    threshold: int


class MemoryWatch:
    """Asked again and again by whoever has somebody to tell."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looked_at = -inf
        self._over: Sequence[Over] = ()

    async def look(self, workers: Callable[[], Awaitable[Sequence[WorkerRow]]]) -> Sequence[Over]:
        """Those that are over it now, or were at the last look, which is not long ago."""
        now = self._clock.monotonic()
        if now - self._looked_at >= LOOK_SECONDS:
            # Before the database is asked: others who come meanwhile need not ask it as well.
            self._looked_at = now
            self._over = [
                Over(worker.name, worker.host, worker.rss, worker.memory_budget)
                for worker in await workers()
                if SYSTEM in worker.systems and worker.rss > worker.memory_budget > 0
            ]
        return self._over
