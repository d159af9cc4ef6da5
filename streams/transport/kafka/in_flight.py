"""What was delivered and is not done: how far an offset may be committed on Kafka."""

from collections import defaultdict, deque
from collections.abc import Collection, Iterable

from faust.types import TP

__all__ = ["InFlight"]


class InFlight:
    """Per partition, the offsets that agents were given and did not finish, in order.

    Faust's own rule looks for holes among the acknowledged offsets, and takes the hole that one
    slow handler leaves for one that Kafka has left. This one knows what was delivered, so that it
    stops at what is in flight and passes where Kafka holds no message: after a compaction, or
    where a producer ended a transaction.
    """

    def __init__(self) -> None:
        self._delivered: defaultdict[TP, deque[int]] = defaultdict(deque)
        self._done: dict[TP, int] = {}

    def deliver(self, tp: TP, offset: int) -> None:
        """Note an offset before an agent can see it."""
        self._delivered[tp].append(offset)

    def forget(self, partitions: Iterable[TP]) -> None:
        """Begin anew: these are no longer ours, or delivery goes on from another offset."""
        for tp in partitions:
            self._delivered.pop(tp, None)
            self._done.pop(tp, None)

    def unfinished(self, tp: TP, acked: Collection[int]) -> int:
        """How many offsets were delivered and are not done."""
        return sum(1 for offset in self._delivered.get(tp, ()) if offset not in acked)

    def committable(self, tp: TP, acked: set[int]) -> int | None:
        """Return the offset after the last that is done with all before it; None before any is.

        Offsets that are passed are removed from `acked`.
        """
        delivered = self._delivered.get(tp)
        while delivered and delivered[0] in acked:
            offset = delivered.popleft()
            acked.discard(offset)
            self._done[tp] = offset + 1
        if not delivered:
            acked.clear()
        return self._done.get(tp)
