"""Seats: whether who follows operations for long may still see them; roles are taken back."""

from __future__ import annotations

from collections.abc import Iterable

from api.edge import Edge
from api.standing import Looks
from domain.errors import RecordNotFound
from streams.callers import Caller


class Seats:
    """Looks now and then whether a caller has a place in the projects of operations."""

    def __init__(self, own: Edge, who: Caller) -> None:
        self._own = own
        self._who = who
        self._looks = Looks(own)

    async def check(self, number: int) -> None:
        """Raise RecordNotFound when an operation is not to be seen any more."""
        if self._looks.are_due():
            await self._own.annotations.operation(self._who, number)

    async def lost(self, numbers: Iterable[int]) -> list[int]:
        """Those of the operations that are not to be seen any more; none between looks."""
        if not self._looks.are_due():
            return []
        return [number for number in numbers if await self._is_lost(number)]

    async def _is_lost(self, number: int) -> bool:
        try:
            await self._own.annotations.operation(self._who, number)
        except RecordNotFound:
            return True
        return False
