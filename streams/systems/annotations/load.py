"""Load: how much of processor and memory the workers of the platform use now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf

from domain.ports import Clock
from streams.stores.workers import WorkerRow

SYSTEM = "annotations"
LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Figures:
    """Of all workers together; 100 % is one processor."""

    workers: int
    cpu_percent: float
    memory_bytes: int


NOTHING_USED = Figures(0, 0.0, 0)


@dataclass(frozen=True, slots=True)
class _Seen:
    at: float
    seconds: float
    percent: float


class Load:
    """Remembers what each worker has last said, for what it has used since."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._looked_at = -inf
        self._figures = NOTHING_USED

    async def lately(self, workers: Callable[[], Awaitable[Sequence[WorkerRow]]]) -> Figures:
        """The figures of now, or of the last look, which is not long ago.

        However many clients are told of progress, the workers are asked for once a second.
        """
        now = self._clock.monotonic()
        if now - self._looked_at >= LOOK_SECONDS:
            self._figures = self.look(await workers())
            # After that: whoever comes meanwhile, at the first look, has no figures to take.
            self._looked_at = now
        return self._figures

    def look(self, workers: Iterable[WorkerRow]) -> Figures:
        """The figures of those that are alive; the others are forgotten."""
        mine = [worker for worker in workers if SYSTEM in worker.systems]
        self._seen = {worker.name: self._of(worker) for worker in mine}
        return Figures(
            workers=len(mine),
            cpu_percent=round(sum(seen.percent for seen in self._seen.values()), 1),
            memory_bytes=sum(worker.rss for worker in mine),
        )

    def _of(self, worker: WorkerRow) -> _Seen:
        """What it used since it was last asked for, or since it began."""
        last = self._seen.get(worker.name)
        if last is not None and last.at >= worker.seen_at:
            return last
        since, used = (worker.started_at, 0.0) if last is None else (last.at, last.seconds)
        passed = max(worker.seen_at - since, 0.001)
        percent = 100.0 * max(worker.cpu_seconds - used, 0.0) / passed
        return _Seen(worker.seen_at, worker.cpu_seconds, percent if worker.seen_at > since else 0.0)
