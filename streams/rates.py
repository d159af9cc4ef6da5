"""Rates: how often somebody may do something, and what is left of it.

Windows of a fixed length, counted by the library ``limits``: in memory where one process
answers, in the database where several do.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import FixedWindowRateLimiter

from domain.ports import Clock


@dataclass(frozen=True, slots=True)
class Taken:
    """One more: whether it is within the rate, and what is left; seconds are whole ones."""

    allowed: bool
    limit: int
    window: int
    remaining: int
    reset: int
    """Until the next window begins."""


class Rate:
    """So many in a window, each with their own count."""

    def __init__(self, item: RateLimitItem, storage: Storage, clock: Clock) -> None:
        self._item = item
        self._strategy = FixedWindowRateLimiter(storage)
        self._clock = clock

    @classmethod
    def of(cls, text: str, clock: Clock, storage: Storage | None = None) -> Rate:
        """A rate as it is written, ``600/minute``; raises ValueError for what is none."""
        return cls(parse(text), storage or MemoryStorage(), clock)

    async def take(self, *whose: str) -> Taken:
        """Count one more of somebody's."""
        allowed = await self._strategy.hit(self._item, *whose)
        left = await self._strategy.get_window_stats(self._item, *whose)
        return Taken(
            allowed=allowed,
            limit=self._item.amount,
            window=self._item.get_expiry(),
            remaining=left.remaining,
            reset=max(ceil(left.reset_time - self._clock.now().timestamp()), 1),
        )
