"""Intake: a worker that has more memory than it may takes no more work, unless it has none.

What it has in hand is what its memory is for; with less of that the memory comes back. A
worker with nothing in hand takes one chunk all the same: else a process whose memory does
not come back would stand still for ever, and say nothing. Nobody waits for a message that
waits for memory: where all give up what they hold, it is left to whoever is handed it next.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

import structlog

from domain.ports import Clock
from streams.express import NotBegun
from streams.stores.workers import WorkerRow

log = structlog.get_logger(__name__)

M = TypeVar("M")
R = TypeVar("R")

PAUSE = 0.2
"""Seconds between two looks at the memory of a process that waits for it."""
KEPT_PART = 0.95
"""Below that part of its budget a process has kept it again: at the edge it would say so at
every message."""
MIB = 1 << 20


def _never() -> bool:
    return False


@dataclasses.dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory in bytes, as last measured, and since when it is over its budget.

    ``held_since`` is since when messages wait for it; ``waits`` is how many had to so far,
    ``alone`` how many were taken over budget, as there was nothing else in hand.
    """

    used: int
    budget: int
    over_since: datetime | None
    held_since: datetime | None
    waits: int
    alone: int

    def __str__(self) -> str:
        return f"{self.used / MIB:.0f} of {self.budget / MIB:.0f} MiB"


class Intake:
    """Lets messages through to the stages of one process.

    ``measure`` tells its resident memory, ``background`` how many chunks are worked beyond
    their messages; ``budget`` is in bytes.
    """

    def __init__(
        self,
        *,
        budget: int,
        measure: Callable[[], int],
        background: Callable[[], int],
        clock: Clock,
    ) -> None:
        self._budget = budget
        self._measure = measure
        self._background = background
        self._clock = clock
        self._used = 0
        self._over_since: datetime | None = None
        self._held_since: datetime | None = None
        self._held = 0
        self._handled = 0
        self._waits = 0
        self._alone = 0
        self._closed = False

    async def through(
        self,
        stage: Callable[[M], Awaitable[R]],
        moved: Callable[[], None],
        message: M,
        *,
        is_late: Callable[[], bool] = _never,
    ) -> R:
        """What the stage makes of a message, once there is memory for it.

        ``moved`` is called meanwhile: who waits for memory does not stand still. Raises NotBegun
        once ``is_late`` says that messages which are not begun are to be left to others.
        """
        if self._is_over():
            await self._wait(moved, is_late)
        self._handled += 1
        try:
            return await stage(message)
        finally:
            self._handled -= 1

    def close(self) -> None:
        """Let everything through: the process ends, and hands back what it is given."""
        self._closed = True

    def look(self) -> Memory:
        """Measure, and say once when the budget is exceeded or kept again."""
        self._is_over()
        return Memory(
            used=self._used,
            budget=self._budget,
            over_since=self._over_since,
            held_since=self._held_since,
            waits=self._waits,
            alone=self._alone,
        )

    def told(self, row: WorkerRow) -> WorkerRow:
        """What a worker says of itself, with its budget, and since when work waits for it."""
        seen = self.look()
        since = None if seen.held_since is None else seen.held_since.timestamp()
        return dataclasses.replace(row, memory_budget=seen.budget, held_since=since)

    def _is_over(self) -> bool:
        self._used = self._measure()
        since = self._over_since
        over = self._used > (self._budget if since is None else self._budget * KEPT_PART)
        if over and since is None:
            self._over_since = self._clock.now()
            log.warning("memory_over_budget", **self._figures())
        elif since is not None and not over:
            self._over_since = None
            seconds = (self._clock.now() - since).total_seconds()
            log.info("memory_within_budget", seconds=round(seconds, 1), **self._figures())
        return over

    async def _wait(self, moved: Callable[[], None], is_late: Callable[[], bool]) -> None:
        if self._is_free():
            return
        self._waits += 1
        self._held += 1
        if self._held_since is None:
            self._held_since = self._clock.now()
            log.warning("intake_waits", in_hand=self._in_hand, **self._figures())
        try:
            while not self._is_free():
                if is_late():
                    raise NotBegun
                moved()
                await asyncio.sleep(PAUSE)
        finally:
            self._held -= 1
            if not self._held:
                self._held_since = None

    def _is_free(self) -> bool:
        """Whether a message may be taken: there is memory, or nothing else that has it."""
        if self._closed or not self._is_over():
            return True
        if not self._in_hand:
            self._take_alone()
            return True
        return False

    @property
    def _in_hand(self) -> int:
        return self._handled + self._background()

    def _take_alone(self) -> None:
        self._alone += 1
        log.warning("taken_over_budget", **self._figures())

    def _figures(self) -> dict[str, int]:
        return {"memory_mib": self._used // MIB, "budget_mib": self._budget // MIB}
