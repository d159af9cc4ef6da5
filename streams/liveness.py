"""Liveness: whether the stages move. A process that is alive and takes nothing is dead."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from domain.errors import Unavailable
from domain.ports import Clock

MEASURE_EVERY, MEASURE_SECONDS = 1.5, 3.0
"""Together less than five seconds: so soon is said that a broker is away."""


class Lane:
    """The way of one app's messages: when it last moved, and how many wait on it.

    ``measure`` asks the broker how many messages of the app's partitions were not handled.
    """

    def __init__(self, name: str, clock: Clock, measure: Callable[[], Awaitable[int]]) -> None:
        self.name = name
        self.waiting = 0
        self.broker_away = ""
        self._clock = clock
        self._measure = measure
        self._moved_at = clock.monotonic()

    def moved(self) -> None:
        """A message was handled and acknowledged, or its stage knows what it waits for."""
        self._moved_at = self._clock.monotonic()

    @property
    def idle_seconds(self) -> float:
        """How long nothing was handled; only means harm while messages wait."""
        return self._clock.monotonic() - self._moved_at

    async def measure(self) -> None:
        """Look how many messages wait; what a broker that is away has, nobody knows."""
        try:
            async with asyncio.timeout(MEASURE_SECONDS):
                waiting = await self._measure()
            if not self.waiting:
                # Who had nothing to do did not stand still: its time counts from now.
                self.moved()
            self.waiting, self.broker_away = waiting, ""
        except TimeoutError:
            self._lost(f"the broker did not answer within {MEASURE_SECONDS:g} s")
        except Unavailable as error:
            self._lost(error.message)

    def _lost(self, reason: str) -> None:
        self.broker_away, self.waiting = reason, 0
        # Whoever waits for a broker does not hang.
        self.moved()
