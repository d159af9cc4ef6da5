"""One partition: its messages, who has read how far, and who waits for room."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from faust.types import TP

from streams.transport.errors import BacklogFullError

__all__ = ["Headers", "PartitionLog", "Record"]

Headers = list[tuple[str, bytes]]
Listener = Callable[[], None]


class Record(NamedTuple):
    """A stored message."""

    offset: int
    timestamp: int
    """Milliseconds since the epoch."""
    key: bytes | None
    value: bytes | None
    headers: Headers
    size: int
    """Bytes it would take in a Kafka request."""


class PartitionLog:
    """Messages of one partition, with contiguous offsets.

    What every group has committed is dropped. The rest may grow to `limit` bytes; then a sender
    waits. Where no group has ever subscribed nobody is owed anything, so the oldest go instead.
    """

    def __init__(self, tp: TP, limit: int) -> None:
        self.tp = tp
        self._limit = limit
        self._records: list[Record] = []
        self._first = 0
        self._bytes = 0
        self._committed: dict[str, int] = {}
        self._senders = asyncio.Lock()
        self._room = asyncio.Event()
        self._on_append: set[Listener] = set()
        self._on_pressure: set[Listener] = set()

    @property
    def earliest(self) -> int:
        """Offset of the oldest message still held."""
        return self._first

    @property
    def highwater(self) -> int:
        """Offset the next message will get."""
        return self._first + len(self._records)

    @property
    def backlog_bytes(self) -> int:
        """Bytes held at the moment."""
        return self._bytes

    @property
    def is_pressed(self) -> bool:
        """Whether a sender waits for room."""
        return self._senders.locked()

    def watch(self, on_append: Listener, on_pressure: Listener) -> None:
        """Call `on_append` for each new message and `on_pressure` when a sender has to wait."""
        self._on_append.add(on_append)
        self._on_pressure.add(on_pressure)

    def unwatch(self, on_append: Listener, on_pressure: Listener) -> None:
        """End what `watch` began."""
        self._on_append.discard(on_append)
        self._on_pressure.discard(on_pressure)

    async def append(
        self,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        timestamp: int,
        size: int,
        patience: float,
    ) -> Record:
        """Store a message, waiting up to `patience` seconds for room.

        Senders that wait are served in the order they came.
        """
        if not self._senders.locked() and self._has_room(size):
            return self._store(key, value, headers, timestamp, size)
        try:
            async with asyncio.timeout(patience), self._senders:
                await self._wait_for_room(size)
                return self._store(key, value, headers, timestamp, size)
        except TimeoutError:
            topic, partition = self.tp
            raise BacklogFullError(topic, partition, self._slowest(), patience) from None

    def read(self, offset: int, limit: int) -> list[Record]:
        """Return up to `limit` messages from `offset` on, or from the oldest still held."""
        start = max(offset - self._first, 0)
        return self._records[start : start + limit]

    def clamp(self, offset: int) -> int:
        """Return the nearest offset that can be read from."""
        return min(max(offset, self.earliest), self.highwater)

    def committed(self, group: str) -> int | None:
        """Return how far a group has committed, None if it never subscribed."""
        return self._committed.get(group)

    def commit(self, group: str, offset: int) -> None:
        """Move a group's position forward and drop what all groups have done."""
        if offset > self._committed.get(group, -1):
            self._committed[group] = min(offset, self.highwater)
            self._trim(min(self._committed.values()) - self._first)

    def forget(self, group: str) -> None:
        """Drop a group that will not come back, and what was held for it alone."""
        if self._committed.pop(group, None) is not None and self._committed:
            self._trim(min(self._committed.values()) - self._first)
        self._room.set()

    def _has_room(self, size: int) -> bool:
        if not self._records or self._bytes + size <= self._limit:
            return True
        if self._committed:
            return False
        self._drop_oldest(size)
        return True

    async def _wait_for_room(self, size: int) -> None:
        while not self._has_room(size):
            self._room.clear()
            for press in tuple(self._on_pressure):
                press()
            await self._room.wait()

    def _store(
        self, key: bytes | None, value: bytes | None, headers: Headers, timestamp: int, size: int
    ) -> Record:
        record = Record(self.highwater, timestamp, key, value, headers, size)
        self._records.append(record)
        self._bytes += size
        for wake in self._on_append:
            wake()
        return record

    def _drop_oldest(self, size: int) -> None:
        """Make room for `size` bytes, and a quarter of the limit more so that it is seldom done."""
        target = max(self._limit * 3 // 4 - size, 0)
        held, count = self._bytes, 0
        while held > target:
            held -= self._records[count].size
            count += 1
        self._trim(count)

    def _trim(self, count: int) -> None:
        if count <= 0:
            return
        self._bytes -= sum(record.size for record in self._records[:count])
        del self._records[:count]
        self._first += count
        self._room.set()

    def _slowest(self) -> list[str]:
        lowest = min(self._committed.values(), default=0)
        return sorted(group for group, offset in self._committed.items() if offset == lowest)
