"""Shared clock: the database's time, by which all processes of an installation go.

A worker notes by its clock until when a chunk is its own, and when it was last there; any
coordinator judges both by its own. Where the clocks of machines differ by seconds, who works
would be taken for dead.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import Connection

from domain.ports import Clock
from streams.stores.database import Database
from streams.stores.statements import run_sql

log = structlog.get_logger(__name__)

TOLERATED_SECONDS: Final = 0.25
"""So little is left as it is: time that is set again and again jumps to and fro."""
REMEDY: Final = "synchronise the clocks of all machines (NTP)"

_NOW = "SELECT extract(epoch FROM clock_timestamp())::double precision"


class SharedClock:
    """The clock of this machine, set right by ``added`` seconds."""

    def __init__(self, own: Clock) -> None:
        self.added = 0.0
        self._own = own

    def now(self) -> datetime:
        """The present moment in UTC, by the database's clock."""
        return self._own.now() + timedelta(seconds=self.added)

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._own.monotonic()


class ClockWatch:
    """Keeps ``clock`` at the time of a PostgreSQL database.

    ``difference`` says how far the machine's own is off; it is empty while they agree.
    """

    def __init__(self, database: Database, own: Clock) -> None:
        self.clock = SharedClock(own)
        self.difference = ""
        self._database = database
        self._own = own

    async def look(self) -> None:
        """Compare, and set the clock right; raises Unavailable without the database."""
        self._heed(await self._database.read(self._measured, single=True))

    def _measured(self, connection: Connection) -> float:
        # Nothing that passes between these two may be missing in what the question took.
        since = self._own.monotonic()
        before = self._own.now().timestamp()
        ((there,),) = run_sql(connection, _NOW, ()).rows
        return seconds_ahead(before, there, took=self._own.monotonic() - since)

    def _heed(self, ahead: float) -> None:
        if abs(ahead + self.clock.added) <= TOLERATED_SECONDS:
            return
        agrees = abs(ahead) <= TOLERATED_SECONDS
        self.clock.added = 0.0 if agrees else -ahead
        self.difference = "" if agrees else _said(ahead)
        if agrees:
            log.info("clock_agrees", ahead_seconds=round(ahead, 1))
        else:
            log.warning("clock_differs", ahead_seconds=round(ahead, 1), remedy=REMEDY)


def seconds_ahead(before: float, there: float, *, took: float) -> float:
    """By how much this clock is ahead at least; less than nothing when it is behind.

    The other one showed ``there`` at some time of a question that was asked at ``before`` and
    ``took`` so long: what that may explain is no difference.
    """
    return min(max(before, there), before + took) - there


def _said(ahead: float) -> str:
    way = "ahead of" if ahead > 0 else "behind"
    return (
        f"the clock of this machine is {abs(ahead):.1f} s {way} the database's, by which this "
        f"process goes: {REMEDY}"
    )
