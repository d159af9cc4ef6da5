"""Vitals: whether the process takes work. Progress counts, not that it lives."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from domain.errors import CountermandError
from streams.intake import Intake, Memory
from streams.liveness import Lane
from streams.metrics import Metrics
from streams.retaining import Retained
from streams.shared_clock import ClockWatch
from streams.stores.database import Database

STUCK_SECONDS = 30.0
MOST_NAMED = 5
"""Partitions that a reason names for each lane; the others are counted."""
DATABASE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Health:
    """``reasons`` say what is wrong; there is none when ``ready``.

    ``waiting`` messages were last seen on the partitions of this process. ``notes`` say what
    is not as it should be, and keeps it from no work; ``memory`` is that of a process that works.
    """

    ready: bool
    reasons: list[str]
    waiting: int
    notes: list[str] = field(default_factory=list)
    memory: Memory | None = None
    retained: Mapping[str, int] = field(default_factory=dict)
    """What this process has done by the rules of retention, where it is its work."""


class Vitals:
    """Asks the database, and whether messages wait that nobody takes.

    ``starting`` is what the process waits for before it takes any work, ``ending`` why it is
    about to take no more; ``intake`` is that of a process that works, ``clocks`` of one that
    shares its work with other machines.
    """

    def __init__(
        self,
        database: Database,
        lanes: Sequence[Lane],
        *,
        starting: str = "",
        retained: Retained | None = None,
        intake: Intake | None = None,
        clocks: ClockWatch | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.metrics = metrics or Metrics()
        """What the stages of the process have counted."""
        self.starting = starting
        self.ending = ""
        self._retained = retained
        self._intake = intake
        self._clocks = clocks
        self._database = database
        self._lanes = lanes

    async def health(self) -> Health:
        """Whether the process takes work, and if not, why."""
        reasons = [reason for reason in (self.starting, self.ending) if reason]
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                await self._database.answers()
        except TimeoutError:
            reasons.append(f"the database did not answer within {DATABASE_SECONDS:g} s")
        except CountermandError as error:
            reasons.append(error.message)
        for lane in self._lanes:
            if lane.broker_away:
                reasons.append(f"{lane.name}: {lane.broker_away}")
            reasons += _standing(lane)
        memory = None if self._intake is None else self._intake.look()
        notes = [self._clocks.difference] if self._clocks and self._clocks.difference else []
        if memory is not None and memory.over_since is not None:
            held = (
                "messages wait until it has less" if memory.held_since else "nothing waits for it"
            )
            notes.append(f"it has more memory than its budget ({memory}); {held}")
        waiting = sum(lane.waiting for lane in self._lanes)
        retained = {} if self._retained is None else self._retained.counted
        return Health(not reasons, reasons, waiting, notes, memory, retained)

    @property
    def broker_away(self) -> str:
        """Why the broker cannot be reached, as far as this process knows; empty when it can."""
        return next((lane.broker_away for lane in self._lanes if lane.broker_away), "")

    async def measure(self) -> None:
        """Ask the broker for each lane, for all at once; belongs into a loop."""
        await asyncio.gather(*(lane.measure() for lane in self._lanes))

    @property
    def stuck(self) -> bool:
        """Whether a partition has not moved for long, though messages wait on it.

        The watchdog ends the process then.
        """
        return any(lane.still(STUCK_SECONDS) for lane in self._lanes)


def _standing(lane: Lane) -> list[str]:
    """A reason for each partition that stands still, or for the first few of many."""
    still = lane.still(STUCK_SECONDS)
    said = [
        f"{lane.name}: {one.waiting} messages wait on partition {one.partition} of {one.topic} "
        f"and none was handled for {one.seconds:.0f} s"
        for one in still[:MOST_NAMED]
    ]
    more = len(still) - len(said)
    return [*said, f"{lane.name}: nor on {more} other partitions"] if more else said
