"""Alerts: that a worker has passed its memory budget, told once to who follows operations."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from api.edge import Edge
from domain.values import Value

MEMORY_ALERT: Final = "memory_alert"


class MemoryAlert(Value):
    """A worker of a running operation has more memory than its budget."""

    operation_id: int
    worker: str
    host: str
    memory_bytes: int
    threshold_bytes: int
    at: datetime


class Alerts:
    """What one client has been told: each worker once for each operation.

    One that was below its budget meanwhile is told of again.
    """

    def __init__(self, own: Edge) -> None:
        self._own = own
        self._told: set[tuple[str, int]] = set()

    async def new(self, running: Mapping[str, int]) -> list[MemoryAlert]:
        """What is to be told now of running operations, which are named by their jobs."""
        if not running:
            return []
        over = await self._own.annotations.memory.look(self._own.situation.workers)
        concerned = {(each.worker, number): each for each in over for number in running.values()}
        new = concerned.keys() - self._told
        self._told, now = set(concerned), self._own.clock.now()
        return [
            MemoryAlert(
                operation_id=number,
                worker=worker,
                host=concerned[worker, number].host,
                memory_bytes=concerned[worker, number].memory,
                threshold_bytes=concerned[worker, number].threshold,
                at=now,
            )
            for worker, number in sorted(new)
        ]
