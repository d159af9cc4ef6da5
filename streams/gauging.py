"""Gauging: each worker keeps a record of what it uses of processor and memory."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from functools import partial

import structlog

from domain.errors import Unavailable
from domain.ports import Clock
from streams.stores import worker_use
from streams.stores.database import Database
from streams.stores.workers import WorkerRow, measured

log = structlog.get_logger(__name__)


class Gauge:
    """What this process, which is a worker, has used since it was last looked at."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        here: WorkerRow,
        *,
        measure: Callable[[WorkerRow], WorkerRow] = measured,
    ) -> None:
        self._database = database
        self._clock = clock
        self._here = here
        self._measure = measure
        self._before = self._look()

    async def run(self) -> None:
        """Keep it whenever a step is over, until cancelled."""
        while True:
            await asyncio.sleep(self.seconds_left)
            try:
                await self.keep()
            except Unavailable as error:
                # What was used meanwhile is kept with the next step.
                log.warning("waiting", reason=error.message)

    @property
    def seconds_left(self) -> float:
        """How long the present step goes on."""
        return worker_use.STEP - self._clock.now().timestamp() % worker_use.STEP

    async def keep(self) -> None:
        """Add what was used since the last time to what all workers did."""
        after = self._look()
        used = list(worker_use.used_between(self._before, after))
        await self._database.write(partial(worker_use.add, systems=self._here.systems, used=used))
        self._before = after

    def _look(self) -> WorkerRow:
        now = self._clock.now().timestamp()
        return dataclasses.replace(self._measure(self._here), seen_at=now)
