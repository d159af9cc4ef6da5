"""Memory messaging: how far each partition was read, and dead letters, of an embedded broker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from streams import topics
from streams.deadletters import Letter, Listed, Redriven, Send, grouped, redrive
from streams.messaging import MOST_SENT, PartitionView, groups_of
from streams.transport.memory import MemoryBroker


class InMemory:
    """The broker of an embedded engine; its letters are gone with the process."""

    def __init__(self, broker: MemoryBroker, send: Send, systems: Sequence[str]) -> None:
        self._broker = broker
        self._send = send
        self._systems = tuple(systems)
        self._read: dict[tuple[str, int], int] = {}
        """By code and partition, behind which letter the last run has ended."""

    async def partitions(self) -> list[PartitionView]:
        """Every partition on which somebody works, in the order of the flow."""
        return [
            PartitionView(topic, number, group, log.highwater, log.committed(group))
            for topic, group in groups_of(self._systems).items()
            for number, log in enumerate(self._broker.partitions(topic))
        ]

    async def letters(self) -> Listed:
        """Letters in groups; what was sent again is among them."""
        return await grouped(self._letters())

    async def redrive(self, code: str) -> Redriven:
        """Send the letters of a code again, from where the last run ended, some at a time."""
        letters = self._letters(unread_of=code)
        return await redrive(letters, self._send, code=code, systems=self._systems, limit=MOST_SENT)

    async def _letters(self, unread_of: str = "") -> AsyncIterator[Letter]:
        """Letters of a code are done with when the next one is asked for."""
        for number, log in enumerate(self._broker.partitions(topics.DEAD)):
            end, place = log.highwater, (unread_of, number)
            for record in log.read(self._read.get(place, 0) if unread_of else 0, end):
                if record.offset >= end:
                    break
                yield Letter(record.key or b"", record.value or b"", tuple(record.headers))
                if unread_of:
                    self._read[place] = record.offset + 1
