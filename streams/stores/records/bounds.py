"""Bounds: whose writes a call of a handler may leave behind, checked at each of them.

An undo puts back what the items of a job have written. A write of no item of its chunk would
be left by it, and said to be put back.
"""

from __future__ import annotations

from collections.abc import Sequence

from domain.errors import PluginInvalid
from domain.records import NOBODY, Call, Leaves


class Bounds:
    """What one call may write, or anything where there is none.

    Every call of a handler has some of its own, and few of them are asked much.
    """

    __slots__ = ("_call", "_own")

    def __init__(self, call: Call | None) -> None:
        self._call = call
        self._own: frozenset[int] | None = None

    def of_records(self, table: str, positions: Sequence[int]) -> list[int]:
        """The items that cause writes to a table; raises PluginInvalid for what may not be."""
        if self._call is not None and self._call.leaves is not Leaves.RECORDS:
            raise PluginInvalid(f"a write to {table}: {_UNWANTED[self._call.leaves]}")
        named = self.named(positions)
        self._check(f"a write to {table}", named)
        return named

    def of_part(self, position: int) -> None:
        """Raise PluginInvalid for a part of a file that may not be."""
        if self._call is not None and self._call.leaves is Leaves.NOTHING:
            raise PluginInvalid(f"a part of a file: {_UNWANTED[Leaves.NOTHING]}")
        self._check("a part of a file", [position])

    def named(self, positions: Sequence[int]) -> list[int]:
        """The items, with that of the call where it is left out."""
        if self._call is None or self._call.alone == NOBODY:
            return list(positions)
        return [self._call.alone if each == NOBODY else each for each in positions]

    def _check(self, what: str, positions: Sequence[int]) -> None:
        if self._call is None:
            return
        if self._own is None:
            self._own = frozenset(self._call.positions)
        if self._own.issuperset(positions):
            return
        stranger = next(each for each in positions if each not in self._own)
        said = "no position" if stranger == NOBODY else f"position {stranger}"
        raise PluginInvalid(
            f"{what} says {said}, which is no item of this call; give it the one of ctx.positions "
            "that causes it"
        )


ANYBODY = Bounds(None)
"""Where no handler is being called."""

_UNWANTED = {
    Leaves.PARTS: "the operation is read_only; leave read_only out, or write no record",
    Leaves.NOTHING: "validate writes nothing; write in the function of the operation",
}
