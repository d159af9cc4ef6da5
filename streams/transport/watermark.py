"""The low watermark: how far an offset may be committed with messages still in flight."""

from collections.abc import Collection

from faust.types import TP

__all__ = ["LowWatermark"]


class LowWatermark:
    """Per partition, the offset below which every message was acknowledged.

    Faust's own rule commits the highest run of acknowledged offsets and may jump over a message
    that is still being processed when an agent has several workers. This one counts up from the
    offset where delivery began and stops at the first that is missing. It relies on offsets
    without holes, so it suits neither compacted nor transactional topics.
    """

    def __init__(self) -> None:
        self._next: dict[TP, int] = {}

    def start(self, tp: TP, offset: int) -> None:
        """Count from this offset, where delivery begins."""
        self._next[tp] = offset

    def unfinished(self, tp: TP, acked: Collection[int], *, position: int) -> int:
        """How many offsets were delivered, up to where delivery goes on, and are not done."""
        first = self._next.get(tp, position)
        return max(position - first, 0) - sum(1 for offset in acked if first <= offset < position)

    def advance(self, tp: TP, acked: set[int]) -> int | None:
        """Return the offset to commit, or None if it did not move.

        Offsets that are passed are removed from `acked`, as are those left over from a delivery
        before the start.
        """
        first = self._next.get(tp)
        if first is None:
            acked.clear()
            return None
        offset = first
        while offset in acked:
            acked.discard(offset)
            offset += 1
        acked.difference_update([late for late in acked if late < offset])
        if offset == first:
            return None
        self._next[tp] = offset
        return offset
