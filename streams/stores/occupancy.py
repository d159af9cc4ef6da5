"""Occupancy: one ``serve`` has a PostgreSQL database to itself, as it has its data directory.

At its start it takes up all that was under way: whoever held a lease is dead. The process lock
says so of a directory; a database can be reached from others, and from other machines. So it holds
a lease as owners do (:mod:`.ownership`), and begins only where nobody else lives: no other
``serve``, and no coordinator or worker of a scaled installation, none of which begins beside it.

Whoever was killed says nothing more, and counts for the few seconds of a lease. Who says something
while another waits for that lives, and the other is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

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
    WHERE holder <> ALL(%(mine)s) AND lease_until >= {_NOW} GROUP BY holder
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


Waits = Callable[[str], Awaitable[None]]
"""Is told for whom one waits."""
_Look = Callable[[frozenset[_Other]], Awaitable[list[_Other] | None]]
"""Who else was there lately, or None once nobody is in the way: those given are dead."""


async def _to_nobody(_reason: str) -> None: ...


def tells_who_works(connection: Connection) -> bool:
    """Whether the database has the tables that say who works on it; an empty one has not."""
    return bool(run_sql(connection, "SELECT to_regclass('owners') IS NOT NULL", ()).scalar())


async def unserved(database: Database, waits: Waits) -> None:
    """Return once no ``serve`` has the database, for who would work beside it over Kafka.

    Raises DataDirectoryUnusable when one does and lives, Unavailable without the database.
    """

    async def look(dead: frozenset[_Other]) -> list[_Other] | None:
        serving = await database.read(_serving)
        return None if dead.issuperset(serving) else serving

    await _once_gone(look, _Signs(LEASE_SECONDS), _in_use_by_serve, waits, RENEW_SECONDS)


class Occupancy:
    """What a ``serve`` has of its database.

    ``holder`` names this life of it, and no other; ``before`` the last one in its data directory,
    which is dead.
    """

    def __init__(
        self,
        database: Database,
        holder: str,
        *,
        before: str = "",
        lease: float = LEASE_SECONDS,
        renew: float = RENEW_SECONDS,
    ) -> None:
        self._database = database
        self._holder = holder
        self._before = before
        self._lease = lease
        self._renew_every = renew
        self._signs = _Signs(lease)

    async def take(self, waits: Waits = _to_nobody) -> None:
        """Have the database as soon as nobody else has it.

        Raises DataDirectoryUnusable when somebody does and lives, Unavailable without the database.
        """
        self._signs = _Signs(self._lease)
        await _once_gone(self._look, self._signs, _in_use, waits, self._renew_every)

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keep what was taken until the context is left, and give it up then.

        While the database is away nobody can take it. One who stood still for longer than the
        lease goes on, unless somebody else has begun meanwhile, or begins beside it: then
        DataDirectoryUnusable ends what is within.
        """
        try:
            async with background([every(self._renew_every, self._renew)]):
                yield
        finally:
            await self._release()

    async def _renew(self) -> None:
        # To its end: what came after the release would take it again.
        others = await to_its_end(self._database.write(self._kept_from, lasting=False))
        if any(one.serves for one in others):
            raise DataDirectoryUnusable(
                f"the database was taken by another {_named(others)} while this process stood "
                "still or could not reach it; stop one of them, or name another database with "
                "--database"
            )
        if living := self._signs.living(others):
            raise DataDirectoryUnusable(_in_use(living))

    async def _release(self) -> None:
        with contextlib.suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._database.write(
                    lambda connection: ownership.give_up(connection, SERVE, self._holder)
                )

    async def _look(self, dead: frozenset[_Other]) -> list[_Other] | None:
        # Lasting: the server would else come back with the holder before, as if that had taken it.
        return await self._database.write(partial(self._take, dead))

    def _take(self, dead: frozenset[_Other], connection: Connection) -> list[_Other] | None:
        """Who else was there lately; None once the database is ours."""
        others = _others(connection, self._holder, self._before)
        if not dead.issuperset(others):
            return others
        for name in (self._before, *(one.name for one in others if one.serves)):
            ownership.give_up(connection, SERVE, name)
        return None if self._renewed(connection) else others

    def _kept_from(self, connection: Connection) -> list[_Other]:
        """Who else is there; whoever has begun since has, also when they have ended by now."""
        holder = ownership.holder_of(connection, SERVE)
        if holder not in (None, self._holder):
            return [_Other(str(holder), serves=True, sign=0.0)]
        self._renewed(connection)
        return _others(connection, self._holder)

    def _renewed(self, connection: Connection) -> bool:
        return SERVE in ownership.take(connection, [SERVE], self._holder, self._lease)


class _Signs:
    """What others have said from look to look, by this process's own time.

    The database's may be set back, and what the dead have said last is in the future then.
    """

    def __init__(self, lease: float) -> None:
        self._silence = max(lease, ALIVE_SECONDS)
        self._since: dict[_Other, float] = {}

    def living(self, others: Sequence[_Other]) -> list[_Other]:
        """Those who have said more since the last look."""
        now = asyncio.get_running_loop().time()
        last = {one.name: one.sign for one in self._since}
        self._since = {one: self._since.get(one, now) for one in others}
        return [one for one in others if one.sign > last.get(one.name, one.sign)]

    def dead(self) -> frozenset[_Other]:
        """Those who have been silent for longer than anybody is who lives."""
        before = asyncio.get_running_loop().time() - self._silence
        return frozenset(one for one, since in self._since.items() if since < before)


async def _once_gone(
    look: _Look,
    signs: _Signs,
    refusal: Callable[[Sequence[_Other]], str],
    waits: Waits,
    renewed: float,
) -> None:
    """Return when nobody is in the way; raises DataDirectoryUnusable as soon as one lives.

    ``waits`` is told once those who live would have renewed what they have.
    """
    now = asyncio.get_running_loop().time
    began, said = now(), ""
    while (others := await look(signs.dead())) is not None:
        if living := signs.living(others):
            raise DataDirectoryUnusable(refusal(living))
        if others and now() - began > 2 * renewed:
            reason = f"{_named(others)} had the database a moment ago"
            if reason != said:
                log.warning("waiting", reason=reason)
            said = reason
            await waits(reason)
        await asyncio.sleep(LOOK_SECONDS)


def _serving(connection: Connection) -> list[_Other]:
    """Those who serve; where there is no table yet, nobody does."""
    if not tells_who_works(connection):
        return []
    return [one for one in _others(connection) if one.serves]


def _others(connection: Connection, *mine: str) -> list[_Other]:
    given = {"serve": SERVE, "mine": list(mine), "alive": ALIVE_SECONDS}
    return [_Other(*row) for row in run_sql(connection, _OTHERS, given).rows]


def _in_use(living: Sequence[_Other]) -> str:
    serves = any(one.serves for one in living)
    who = f"another {_named(living)}" if serves else _named(living)
    remedy = "stop that one" if serves else "stop them"
    return f"the database is in use by {who}; {remedy}, or name another database with --database"


def _in_use_by_serve(living: Sequence[_Other]) -> str:
    return (
        f"the database is in use by {_named(living)}, which has it to itself; stop that one, or "
        "set COUNTERMAND_DATABASE to another database"
    )


def _named(others: Sequence[_Other]) -> str:
    serving = [one.name for one in others if one.serves]
    if serving:
        return f"`countermand serve` ({serving[0]})"
    names = ", ".join(one.name for one in others[:MOST_NAMED])
    more = len(others) - MOST_NAMED
    return f"a scaled installation ({names}{f' and {more} more' if more > 0 else ''})"
