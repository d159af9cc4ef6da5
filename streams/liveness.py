"""Liveness: whether the stages move. A process that is alive and takes nothing is dead."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from domain.errors import Unavailable
from domain.ports import Clock

MEASURE_EVERY, MEASURE_SECONDS = 1.5, 3.0
"""Together less than five seconds: so soon is said that a broker is away."""
FETCHED = 10_000
"""Messages of one partition that a broker hands over at once, at most: a mebibyte of the least."""

Place = tuple[str, int]
"""A topic and the number of a partition."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a partition that an app holds is worked off, as the broker knows it.

    All before the offset ``done`` was handled; ``waiting`` messages were not.
    """

    topic: str
    partition: int
    done: int
    waiting: int

    @property
    def place(self) -> Place:
        """Which partition it is."""
        return self.topic, self.partition


@dataclass(frozen=True, slots=True)
class Still:
    """A partition that has stood for ``seconds`` though ``waiting`` messages are there."""

    topic: str
    partition: int
    waiting: int
    seconds: float


@dataclass(slots=True)
class _Watched:
    """A partition as it was last measured, and since when it stands there.

    ``ahead`` tells to which offset the partitions have what was there before that: an agent
    takes the partitions of its topic in turn, and may work that off first.
    """

    standing: Standing
    moved_at: float
    ahead: Mapping[Place, int]

    def may_wait_for(self, other: Standing) -> bool:
        """Whether ``other``, as it was, had messages that may be handled before this one's."""
        was_there = other.done < self.ahead.get(other.place, 0)
        return was_there and other.topic == self.standing.topic


class Lane:
    """The way of one app's messages: of each partition when it moved, and how many wait on it.

    ``measure`` asks the broker how far each partition is worked off that the app holds.
    """

    def __init__(
        self, name: str, clock: Clock, measure: Callable[[], Awaitable[Iterable[Standing]]]
    ) -> None:
        self.name = name
        self.broker_away = ""
        self._clock = clock
        self._measure = measure
        self._moved_at = clock.monotonic()
        self._watched: dict[Place, _Watched] = {}

    def moved(self) -> None:
        """A stage knows what it waits for, or works on for long: none of its partitions hangs."""
        self._moved_at = self._clock.monotonic()

    def handled(self, topic: str, partition: int) -> None:
        """A message of that partition was handled, which says nothing of the others."""
        watched = self._watched.get((topic, partition))
        if watched is not None:
            watched.moved_at = self._clock.monotonic()

    @property
    def waiting(self) -> int:
        """How many messages were not handled when that was last measured."""
        return sum(watched.standing.waiting for watched in self._watched.values())

    def still(self, seconds: float) -> list[Still]:
        """The partitions on which messages wait and nothing has moved for longer than that."""
        now = self._clock.monotonic()
        found = []
        for watched in self._watched.values():
            at = watched.standing
            stood = now - max(watched.moved_at, self._moved_at)
            if at.waiting and stood > seconds:
                found.append(Still(at.topic, at.partition, at.waiting, stood))
        return found

    async def measure(self) -> None:
        """Look how far each partition is; what a broker that is away has, nobody knows."""
        try:
            async with asyncio.timeout(MEASURE_SECONDS):
                standings = list(await self._measure())
        except TimeoutError:
            self._lost(f"the broker did not answer within {MEASURE_SECONDS:g} s")
        except Unavailable as error:
            self._lost(error.message)
        else:
            self.broker_away = ""
            self._watched = self._seen(standings)

    def _lost(self, reason: str) -> None:
        self.broker_away = reason
        # Whoever waits for a broker does not hang: each partition begins anew.
        self._watched = {}

    def _seen(self, standings: list[Standing]) -> dict[Place, _Watched]:
        """What is watched from now on; a partition that went to another member is forgotten."""
        now, before = self._clock.monotonic(), self._watched
        ahead = {at.place: at.done + min(at.waiting, FETCHED) for at in standings}
        moving = [
            before[at.place].standing
            for at in standings
            if at.place in before and before[at.place].standing.done != at.done
        ]
        shared_out_anew = ahead.keys() != before.keys()
        seen = {}
        for at in standings:
            last = before.get(at.place)
            # Who had nothing to do did not stand still: its time counts from now.
            if last is None or not last.standing.waiting or last.standing.done != at.done:
                seen[at.place] = _Watched(at, now, ahead)
                continue
            moved_at = now if any(map(last.may_wait_for, moving)) else last.moved_at
            kept = ahead if shared_out_anew else last.ahead
            seen[at.place] = _Watched(at, moved_at, kept)
        return seen
