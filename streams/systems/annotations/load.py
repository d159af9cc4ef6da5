"""Load: how much of processor and memory the workers of the platform use now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from streams.stores.workers import WorkerRow

SYSTEM = "annotations"


@dataclass(frozen=True, slots=True)
class Figures:
    """Of all workers together; 100 % is one processor."""

    workers: int
    cpu_percent: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class _Seen:
    at: float
    seconds: float
    percent: float


class Load:
    """Remembers what each worker has last said, for what it has used since."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

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
