"""What one consumer reads: its partitions, its position on each, and whose turn it is."""

from collections import deque
from collections.abc import Callable

from faust.types import TP

from streams.transport.memory.log import PartitionLog, Record

__all__ = ["Reading", "Records"]

Records = dict[TP, list[Record]]


class Reading:
    """Positions of a consumer on the partitions it has.

    A position is the offset of the next message to *deliver*, so a batch that was read may be
    left half delivered and is simply read again.
    """

    def __init__(self, logs: list[PartitionLog] | None = None) -> None:
        self.logs = {log.tp: log for log in logs or []}
        self.positions: dict[TP, int] = {}
        self._turns = deque(self.logs)
        self._served: TP | None = None

    def seek(self, tp: TP, offset: int) -> int:
        """Move to the nearest offset that is held, and return it."""
        position = self.positions[tp] = self.logs[tp].clamp(offset)
        return position

    def next_batch(self, is_open: Callable[[TP], bool], size: int) -> Records:
        """Return about `size` messages, spread over the open partitions that have some.

        The partition served last comes last.
        """
        if self._served is not None:
            self._turns.rotate(-1 - self._turns.index(self._served))
        ready = [tp for tp in self._turns if self._has_more(tp) and is_open(tp)]
        share = max(size // max(len(ready), 1), 1)
        return {tp: self._read(tp, share) for tp in ready}

    def take(self, tp: TP, record: Record) -> bool:
        """Pass a message of a batch; False if it is no longer the next one."""
        if self.positions.get(tp) != record.offset:
            return False
        self.positions[tp] += 1
        self._served = tp
        return True

    def _read(self, tp: TP, share: int) -> list[Record]:
        # What was sought back to may have been dropped since.
        return self.logs[tp].read(self.seek(tp, self.positions[tp]), share)

    def _has_more(self, tp: TP) -> bool:
        position = self.positions.get(tp)
        return position is not None and position < self.logs[tp].highwater
