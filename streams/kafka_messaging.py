"""Kafka messaging: how far each partition was read, and dead letters, asked of Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Final, TypeVar

from domain.errors import BrokerUnavailable, SettingsInvalid
from streams import redriving
from streams.broker_address import Broker
from streams.deadletters import Listed, Redriven
from streams.messaging import MOST_SENT, PartitionView, groups_of
from streams.redriving import Run
from streams.transport.kafka import admin
from streams.transport.kafka.positions import Place, ends_of

T = TypeVar("T")

REMEMBERED: Final = 15.0
"""Seconds for which the broker is not asked again for letters: several may ask at once."""


class InKafka:
    """The topics of an installation."""

    def __init__(self, broker: Broker, systems: Sequence[str]) -> None:
        self._broker = broker
        self._systems = tuple(systems)
        self._lister = redriving.Lister(broker)
        self._turn = asyncio.Lock()
        self._known: Listed | None = None
        self._known_until = 0.0

    async def partitions(self) -> list[PartitionView]:
        """Every partition on which somebody works; raises BrokerUnavailable."""
        groups = groups_of(self._systems)
        states = await admin.look(self._broker, list(groups))
        ends = await ends_of(self._broker, {state.topic: state.partitions for state in states})
        done: dict[Place, int] = {}
        for group in sorted({*groups.values()}):
            done |= await admin.committed(self._broker, group)
        return [
            PartitionView(topic, number, group, ends[topic, number], done.get((topic, number)))
            for topic, group in groups.items()
            for number in sorted(number for name, number in ends if name == topic)
        ]

    async def letters(self) -> Listed:
        """Letters in groups, as they were some seconds ago; raises BrokerUnavailable."""
        async with self._turn:
            now = asyncio.get_running_loop().time()
            if self._known is None or now > self._known_until:
                self._known = await _translated(self._lister.list_all())
                self._known_until = asyncio.get_running_loop().time() + REMEMBERED
            return self._known

    async def redrive(self, code: str) -> Redriven:
        """Send the letters of a code again, from where the last run ended, some at a time.

        Raises BrokerUnavailable; another run goes on from there.
        """
        async with self._turn:
            run = Run(code=code, systems=self._systems, limit=MOST_SENT)
            self._known = None
            return await _translated(redriving.redrive_all(self._broker, run))


async def _translated(work: Awaitable[T]) -> T:
    """What an operator's command calls a wrong setting is, to a caller, a broker that is away."""
    try:
        return await work
    except SettingsInvalid as error:
        raise BrokerUnavailable(error.message) from error
