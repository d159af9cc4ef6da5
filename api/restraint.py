"""Restraint: refusals of those who call too often, spaced out, so that they cost others nothing.

A refusal costs about as much as a small answer, and who is refused at once asks again at once.
The first refusal is told at once; each further one of the same tenant, or of the same address,
has its turn after the one before it. Its connection waits meanwhile, and asks nothing else.
"""

from __future__ import annotations

import asyncio
from typing import Final

from domain.ports import Clock

SPACING: Final = 0.02
"""Seconds between two refusals."""
LONGEST: Final = 3.0
"""A refusal is put off so many seconds at most; more of them together are told more often."""
KEPT: Final = 1000
"""Of so many it is known when they were refused last; who was so the longest ago is forgotten."""


class Restraint:
    """When those who are refused are told so."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next: dict[str, float] = {}

    async def hold(self, whose: str) -> None:
        """Return when it is the turn of one more refusal."""
        await asyncio.sleep(self.delay(whose))

    def delay(self, whose: str) -> float:
        """Seconds until it is the turn of one more, which is taken; 0 to ``LONGEST``."""
        now = self._clock.monotonic()
        due = min(max(self._next.pop(whose, now), now), now + LONGEST)
        self._next[whose] = due + SPACING
        if len(self._next) > KEPT:
            del self._next[next(iter(self._next))]
        return due - now
