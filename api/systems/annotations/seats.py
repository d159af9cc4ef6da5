"""Seats: whether who follows operations for long may still see them; roles are taken back."""

from __future__ import annotations

from collections.abc import Iterable

from api.edge import Edge
from domain.errors import RecordNotFound, RoleLacking
from streams.callers import Caller


class Seats:
    """Looks now and then whether a caller has a place in the projects of operations."""

    def __init__(self, own: Edge, who: Caller) -> None:
        self._own = own
        self._who = who
        self._looked = own.clock.monotonic()

    async def check(self, number: int) -> None:
        """Raise RecordNotFound when an operation is not to be seen any more.

        Asked at every turn, it looks every few seconds.
        """
        if self._is_time():
            await self._own.annotations.operation(self._who, number)

    async def lost(self, numbers: Iterable[int]) -> list[int]:
        """Those of the operations that are not to be seen any more; it looks as rarely."""
        if not self._is_time():
            return []
        return [number for number in numbers if await self._is_lost(number)]

    def _is_time(self) -> bool:
        now = self._own.clock.monotonic()
        if now - self._looked < self._own.limits.recheck:
            return False
        self._looked = now
        return True

    async def _is_lost(self, number: int) -> bool:
        try:
            await self._own.annotations.operation(self._who, number)
        except (RecordNotFound, RoleLacking):
            return True
        return False
