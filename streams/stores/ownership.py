"""Ownership: what one process at a time does for all (outbox, projector, sweep, ...).

An owner holds a lease: a row that it renews, and that anybody may take once it has run
out. That ends the ownership of a process that is dead, frozen or cut off alike; why it is
no advisory lock is told in docs/adr/0006. A frozen owner that wakes up may still do what
it was about to do, so whatever owners do is fenced by a compare-and-set of its own: two of
them cost time, never truth.

The time is the database's, since clocks of machines differ. An owner stops by its own
watch, which it reads before it asks, so never later than others may take the lease.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog
from sqlalchemy import Connection, Double, bindparam, cast, extract, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from domain.errors import Unavailable
from streams.loops import background
from streams.stores.database import Database
from streams.stores.schema import owners
from streams.stores.statements import fixed, run_sql

log = structlog.get_logger(__name__)

Work = Callable[[], Awaitable[None]]

LEASE_SECONDS = 2.0
RENEW_SECONDS = 0.5
"""Between two renewals, and between two looks of those who wait. The lease and this are the
longest that nobody owns what a dead process owned."""
RELEASE_SECONDS = 1.0

_NOW = cast(extract("epoch", func.clock_timestamp()), Double)
_MAY_TAKE = fixed(
    select(or_(owners.c.holder == bindparam("me"), owners.c.lease_until < _NOW)).where(
        owners.c.name == bindparam("owned")
    )
)
_INSERT = insert(owners).values(
    name=bindparam("owned"),
    holder=bindparam("me"),
    lease_until=_NOW + bindparam("seconds", type_=Double),
)
_TAKE = fixed(
    _INSERT.on_conflict_do_update(
        index_elements=[owners.c.name],
        set_={"holder": _INSERT.excluded.holder, "lease_until": _INSERT.excluded.lease_until},
        where=or_(owners.c.holder == _INSERT.excluded.holder, owners.c.lease_until < _NOW),
    ).returning(owners.c.name)
)
_RELEASE = fixed(
    update(owners)
    .where(owners.c.name == bindparam("owned"), owners.c.holder == bindparam("me"))
    .values(lease_until=0.0)
)
# A lease that is lost with the server runs out before the server is back.
_NO_FLUSH = "SET LOCAL synchronous_commit TO off"


class Ownership(Protocol):
    """Decides which process does what only one should do."""

    async def own(self, name: str, work: Work) -> None:
        """Run ``work`` while this process owns ``name``; return when the work does.

        The work is cancelled when the ownership is lost, and starts again with the next.
        """
        ...


class SoleOwner:
    """Owner of everything at once: the process lock proves that there is no other process."""

    async def own(self, name: str, work: Work) -> None:  # noqa: ARG002 - the port's signature
        """Run ``work``."""
        await work()


class LeasedOwner:
    """One of the processes on a PostgreSQL database; ``holder`` is a name of its own."""

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
        self._renew = renew

    async def own(self, name: str, work: Work) -> None:
        """Wait until the lease is free, and run ``work`` as long as it can be renewed."""
        claim = _Claim(self._database, name, self._holder, self._lease)
        try:
            async with background([claim.keep(self._renew)]):
                while not await claim.lasted(work):
                    log.warning("ownership_lost", owned=name, holder=self._holder)
        finally:
            await claim.release()


class _Claim:
    """What this process has of one lease, and the work that depends on it."""

    def __init__(self, database: Database, name: str, holder: str, lease: float) -> None:
        self._database = database
        self._name = name
        self._holder = holder
        self._lease = lease
        self._until = 0.0
        self._held = asyncio.Event()
        self._limit: asyncio.Timeout | None = None

    async def keep(self, pause: float) -> None:
        """Take the lease when it is free, and renew it."""
        now = asyncio.get_running_loop().time
        while True:
            asked = now()
            try:
                taken = await self._database.write(self._take)
            except Unavailable as error:
                # What is held stays so until it runs out.
                log.warning("waiting", reason=error.message)
            else:
                self._move(asked + self._lease if taken else 0.0)
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter

    async def lasted(self, work: Work) -> bool:
        """Whether the work came to its own end before the lease ran out."""
        await self._held.wait()
        try:
            async with asyncio.timeout_at(self._until) as self._limit:
                log.info("owner", owned=self._name, holder=self._holder)
                await work()
                return True
        except TimeoutError:
            if self._limit is None or not self._limit.expired():
                raise
            return False
        finally:
            self._limit = None
            self._held.clear()

    async def release(self) -> None:
        """Let others have it at once, if the database is there."""
        if self._until:
            with contextlib.suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(RELEASE_SECONDS):
                    await self._database.write(self._give_up)

    def _move(self, until: float) -> None:
        self._until = until
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(until)
        if until:
            self._held.set()

    def _take(self, connection: Connection) -> bool:
        """Who waits only looks, and writes nothing."""
        seen = _MAY_TAKE.run(connection, owned=self._name, me=self._holder).first()
        if seen is not None and not seen[0]:
            return False
        run_sql(connection, _NO_FLUSH, ())
        taken = _TAKE.run(connection, owned=self._name, me=self._holder, seconds=self._lease)
        return taken.first() is not None

    def _give_up(self, connection: Connection) -> None:
        _RELEASE.run(connection, owned=self._name, me=self._holder)
