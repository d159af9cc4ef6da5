"""Vitals: whether the engine takes work. Progress counts, not that the process lives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from domain.errors import CountermandError
from streams.liveness import Progress
from streams.stores.database import Database

STUCK_SECONDS = 30.0
DATABASE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Health:
    """``reasons`` say what is wrong; there is none when ``ready``."""

    ready: bool
    reasons: list[str]


class Vitals:
    """Asks the database, and whether messages wait that nobody takes.

    ``longest`` is how many seconds a handler may hold up all others: on SQLite there is
    one writer, and a chunk writes for as long as its operation's timeout allows.
    """

    def __init__(
        self,
        database: Database,
        progress: Progress,
        waiting: Callable[[], int],
        *,
        longest: float = 0.0,
    ) -> None:
        self._database = database
        self._progress = progress
        self._waiting = waiting
        self._patience = STUCK_SECONDS + longest

    async def health(self) -> Health:
        """Whether the engine takes work, and if not, why."""
        reasons: list[str] = []
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                await self._database.read(lambda connection: connection.exec_driver_sql("SELECT 1"))
        except TimeoutError:
            reasons.append(f"the database did not answer within {DATABASE_SECONDS:g} s")
        except CountermandError as error:
            reasons.append(error.message)
        if self.stuck:
            reasons.append(
                f"{self._waiting()} messages wait and none was handled for "
                f"{self._progress.idle_seconds:.0f} s"
            )
        return Health(not reasons, reasons)

    @property
    def stuck(self) -> bool:
        """Whether messages wait and nothing has moved for long: the watchdog ends the process."""
        return self._progress.idle_seconds > self._patience and self._waiting() > 0
