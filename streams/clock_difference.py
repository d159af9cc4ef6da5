"""Clock difference: whether the clock of this machine agrees with the database's.

A worker notes by its clock until when a chunk is its own, and when it was last there; any
coordinator judges both by its own. Where the two differ by seconds, who works is taken for dead.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from sqlalchemy import Connection

from domain.errors import Unavailable
from domain.ports import Clock
from streams.stores.database import Database
from streams.stores.statements import run_sql

log = structlog.get_logger(__name__)

MOST_SECONDS: Final = 1.0
"""Two machines then differ by twice as much at most, which a lease of 5 s that is renewed every
1.5 s survives."""
BEGIN_SECONDS: Final = 0.8
"""Below that a process begins, and begins again: at the edge it would end at every look."""
REMEDY: Final = "synchronise the clocks of all machines, the database's among them (NTP)"

_NOW = "SELECT extract(epoch FROM clock_timestamp())::double precision"


class ClockWatch:
    """Compares the clock of this process with that of a PostgreSQL database.

    ``fault`` says by how much they differ and what to do; it is empty while they agree.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self.fault = ""
        self._agreed = False
        self._database = database
        self._clock = clock

    async def run(self, seconds: float) -> None:
        """Look again and again; raises Unavailable once the clocks differ."""
        while not self.fault:
            await asyncio.sleep(seconds)
            try:
                await self.look()
            except Unavailable as error:
                log.warning("waiting", reason=error.message)
        raise Unavailable(self.fault)

    async def require(self) -> None:
        """Raise Unavailable while the clocks differ, and without the database."""
        await self.look()
        if self.fault:
            raise Unavailable(self.fault)

    async def look(self) -> None:
        """Compare, and say once when that has changed; raises Unavailable without the database."""
        ahead = await self._database.read(self._measured, single=True)
        agrees = abs(ahead) <= (MOST_SECONDS if self._agreed else BEGIN_SECONDS)
        if not agrees and not self.fault:
            log.warning("clock_differs", ahead_seconds=round(ahead, 1), remedy=REMEDY)
        elif agrees and self.fault:
            log.info("clock_agrees", ahead_seconds=round(ahead, 1))
        self.fault, self._agreed = "" if agrees else _fault(ahead), agrees

    def _measured(self, connection: Connection) -> float:
        before, since = self._clock.now().timestamp(), self._clock.monotonic()
        ((there,),) = run_sql(connection, _NOW, ()).rows
        return seconds_ahead(before, there, took=self._clock.monotonic() - since)


def seconds_ahead(before: float, there: float, *, took: float) -> float:
    """By how much this clock is ahead at least; less than nothing when it is behind.

    The other one showed ``there`` at some time of a question that was asked at ``before`` and
    ``took`` so long: what that may explain is no difference.
    """
    return min(max(before, there), before + took) - there


def _fault(ahead: float) -> str:
    way = "ahead of" if ahead > 0 else "behind"
    return (
        f"the clock of this machine is {abs(ahead):.1f} s {way} the database's; "
        f"this process is ready once that is less than {BEGIN_SECONDS:g} s: {REMEDY}"
    )
