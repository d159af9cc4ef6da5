"""Occupancy: one ``serve`` has a PostgreSQL database to itself, as it has its data directory.

At its start it takes up all that was under way: whoever held a lease is dead. The process lock
says so of a directory; a database can be reached from others, and from other machines. So it holds
a lease as owners do (:mod:`.ownership`), and begins only where nobody else lives: no other
``serve``, and no coordinator or worker of a scaled installation.

Whoever was killed says nothing more, and counts for the few seconds of a lease. Who says something
while another waits for that lives, and the other is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection

from domain.errors import DataDirectoryUnusable, Unavailable
from streams.loops import background, every, to_its_end
from streams.stores import ownership
from streams.stores.database import Database
from streams.stores.statements import run_sql
from streams.stores.workers import ALIVE_SECONDS

log = structlog.get_logger(__name__)

SERVE = "serve"
"""What the lease is called."""
LEASE_SECONDS = 6.0
RENEW_SECONDS = 1.5
"""Between two renewals: what keeps one process from three of them ends nothing."""
LOOK_SECONDS = 0.25
RELEASE_SECONDS = 1.0
MOST_NAMED = 3

_NOW = "extract(epoch FROM clock_timestamp())"
_OTHERS = f"""
    SELECT holder, bool_or(name = %(serve)s), max(lease_until) FROM owners
    WHERE holder <> %(me)s AND lease_until >= {_NOW} GROUP BY holder
    UNION ALL
    SELECT name, false, seen_at FROM workers WHERE seen_at >= {_NOW} - %(alive)s
    ORDER BY 1
"""  # noqa: S608 - a constant of ours


@dataclass(frozen=True, slots=True)
class _Other:
    """Somebody who was there lately; ``sign`` is another each time that they are."""

    name: str
    serves: bool
    sign: float


class Occupancy:
    """What a ``serve`` has of its database; ``holder`` is its name, and that of its next life."""

    def __init__(
        self,
        database: Database,
        holder: str,
        *,
        lease: float = LEASE_SECONDS,
        renew: float = RENEW_SECONDS,
    ) -> None:
        self._database = database
        self._holder = holder
        self._lease = lease
        self._renew_every = renew

    async def take(self) -> None:
        """Have the database as soon as nobody else has it.

        Raises DataDirectoryUnusable when somebody does and lives, Unavailable without the database.
        """
        known: dict[str, float] = {}
        while (others := await self._database.write(self._look, lasting=False)) is not None:
            living = [one for one in others if one.sign > known.setdefault(one.name, one.sign)]
            if living:
                raise DataDirectoryUnusable(_in_use(living))
            await asyncio.sleep(LOOK_SECONDS)

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keep what was taken until the context is left, and give it up then.

        While the database is away nobody can take it. One who stood still for longer than the
        lease goes on, unless somebody else has begun meanwhile: then DataDirectoryUnusable ends
        what is within.
        """
        try:
            async with background([every(self._renew_every, self._renew)]):
                yield
        finally:
            await self._release()

    async def _renew(self) -> None:
        # To its end: what came after the release would take it again.
        others = await to_its_end(self._database.write(self._kept_from, lasting=False))
        if others:
            raise DataDirectoryUnusable(
                f"the database was taken by {_named(others)} while this process stood still or "
                "could not reach it; stop one of them, or name another database with --database"
            )

    async def _release(self) -> None:
        with contextlib.suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._database.write(
                    lambda connection: ownership.give_up(connection, SERVE, self._holder)
                )

    def _look(self, connection: Connection) -> list[_Other] | None:
        """Who else was there lately; None once the database is ours."""
        others = self._others(connection)
        return None if not others and self._taken(connection) else others

    def _kept_from(self, connection: Connection) -> list[_Other]:
        """Who has what cannot be renewed; nobody where somebody only looks at it just now."""
        if self._taken(connection):
            return []
        return [one for one in self._others(connection) if one.serves]

    def _taken(self, connection: Connection) -> bool:
        return SERVE in ownership.take(connection, [SERVE], self._holder, self._lease)

    def _others(self, connection: Connection) -> list[_Other]:
        given = {"serve": SERVE, "me": self._holder, "alive": ALIVE_SECONDS}
        return [_Other(*row) for row in run_sql(connection, _OTHERS, given).rows]


def _in_use(living: Sequence[_Other]) -> str:
    remedy = "stop that one" if any(one.serves for one in living) else "stop them"
    return (
        f"the database is in use by {_named(living)}; {remedy}, or name another database with "
        "--database"
    )


def _named(others: Sequence[_Other]) -> str:
    serving = [one.name for one in others if one.serves]
    if serving:
        return f"another `countermand serve` ({serving[0]})"
    names = ", ".join(one.name for one in others[:MOST_NAMED])
    more = len(others) - MOST_NAMED
    return f"a scaled installation ({names}{f' and {more} more' if more > 0 else ''})"
