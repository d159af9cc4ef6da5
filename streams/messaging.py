"""Messaging: what an operator asks of the broker, whichever it is.

How far each partition was read, which messages could not be handled, and to send those again.
:mod:`streams.memory_messaging` answers for the broker of an embedded engine,
:mod:`streams.kafka_messaging` for Kafka; the API serves both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from streams.deadletters import Listed, Redriven
from streams.topology import stages

MOST_SENT = 1000
"""Letters that are sent again at a time."""


@dataclass(frozen=True, slots=True)
class PartitionView:
    """A partition of a topic, and how far the group that works on it has come.

    ``end`` is the offset that the next message gets; all before ``done`` is worked off, of which
    nothing is known (None) where the group has never been.
    """

    topic: str
    partition: int
    group: str
    end: int
    done: int | None

    @property
    def waiting(self) -> int | None:
        """Messages that are not worked off."""
        return None if self.done is None else max(self.end - self.done, 0)


def groups_of(systems: Sequence[str]) -> dict[str, str]:
    """The group that works on each topic; those whom all processes read have none."""
    working = [stage for stage in stages(systems) if not stage.everyone]
    return {topic: stage.name.value for stage in working for topic in stage.topics}


class Messaging(Protocol):
    """What is asked; each raises BrokerUnavailable."""

    async def partitions(self) -> list[PartitionView]:
        """Every partition on which somebody works, in the order of the flow."""
        ...

    async def letters(self) -> Listed:
        """Letters in groups, the largest first; what was sent again is among them."""
        ...

    async def redrive(self, code: str) -> Redriven:
        """Send letters of a code again, from where the last run ended, ``MOST_SENT`` at most."""
        ...
