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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

import structlog
from sqlalchemy import (
    ARRAY,
    Connection,
    Double,
    Text,
    bindparam,
    cast,
    column,
    exists,
    extract,
    func,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from domain.errors import Unavailable
from streams.loops import background
from streams.stores.database import Database
from streams.stores.event_order import NOT_FROZEN
from streams.stores.schema import owners
from streams.stores.statements import fixed, run_sql

log = structlog.get_logger(__name__)

Work = Callable[[], Awaitable[None]]

LEASE_SECONDS = 2.0
RENEW_SECONDS = 0.5
"""Between two renewals, and between two looks of those who wait. The lease and this are the
longest that nobody owns what a dead process owned."""
TOGETHER_SECONDS = 0.02
"""How long one waits for others of its process, to be renewed with them."""
RELEASE_SECONDS = 1.0

_NOW = cast(extract("epoch", func.clock_timestamp()), Double)
_ASKED = (
    func.unnest(bindparam("names", type_=ARRAY(Text)))
    .table_valued(column("name", Text), name="asked")
    .render_derived()
)
_LEASE = bindparam("seconds", type_=Double)
_UNTIL = _NOW + _LEASE
# No lease is that long: the clock was set back since, and whoever lives has said so again soon.
_SET_BACK = owners.c.lease_until > _NOW + _LEASE + _LEASE
# A row that somebody is just changing is somebody's: whoever is frozen there holds nobody up.
_FREE = (
    select(owners.c.name)
    .join(_ASKED, _ASKED.c.name == owners.c.name)
    .where(or_(owners.c.holder == bindparam("me"), owners.c.lease_until < _NOW, _SET_BACK))
    .with_for_update(of=owners, skip_locked=True)
    .cte("free")
)
_RENEWED = (
    update(owners)
    .where(owners.c.name == _FREE.c.name)
    .values(holder=bindparam("me"), lease_until=_UNTIL)
    .returning(owners.c.name)
    .cte("renewed")
)
_FIRST = (
    insert(owners)
    .from_select(
        ["name", "holder", "lease_until"],
        select(_ASKED.c.name, bindparam("me", type_=Text), _UNTIL).where(
            ~exists().where(owners.c.name == _ASKED.c.name)
        ),
    )
    .on_conflict_do_nothing()
    .returning(owners.c.name)
    .cte("first")
)
# Who waits only looks, and writes nothing.
_TAKE = fixed(union_all(select(_RENEWED.c.name), select(_FIRST.c.name)))
_RELEASE = fixed(
    update(owners)
    .where(owners.c.name == bindparam("owned"), owners.c.holder == bindparam("me"))
    .values(lease_until=0.0)
)
_HOLDER = fixed(select(owners.c.holder).where(owners.c.name == bindparam("owned")))


def take(connection: Connection, names: Sequence[str], holder: str, seconds: float) -> set[str]:
    """Take or renew, for so long, those leases that are free or the holder's; tells which.

    All who ask for a name ask for as long: what is held for more than twice that is free as well.
    """
    # Else others who ask for the first time would wait for a process that is frozen here.
    run_sql(connection, NOT_FROZEN, ())
    given = {"names": list(names), "me": holder, "seconds": seconds}
    return {name for (name,) in _TAKE.run(connection, **given)}


def give_up(connection: Connection, name: str, holder: str) -> None:
    """Let others have a lease, if it is the holder's."""
    _RELEASE.run(connection, owned=name, me=holder)


def holder_of(connection: Connection, name: str) -> str | None:
    """Who had a lease last, also once it has run out; None where nobody ever had."""
    holder: str | None = _HOLDER.run(connection, owned=name).scalar()
    return holder


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
        self._leases = _Leases(database, holder, lease)
        self._renew = renew

    async def own(self, name: str, work: Work) -> None:
        """Wait until the lease is free, and run ``work`` as long as it can be renewed."""
        claim = _Claim(self._leases, name)
        try:
            async with background([claim.keep(self._renew)]):
                while not await claim.lasted(work):
                    log.warning("ownership_lost", owned=name, holder=self._leases.holder)
        finally:
            await claim.release()


class _Leases:
    """Takes and renews in one transaction what a process asks for at about the same time."""

    def __init__(self, database: Database, holder: str, lease: float) -> None:
        self.holder = holder
        self._database = database
        self._lease = lease
        self._asked: dict[str, asyncio.Future[bool]] = {}
        self._asking: asyncio.Future[None] | None = None
        self._writing = asyncio.Lock()

    async def take(self, name: str) -> float:
        """Until when, by the loop's clock, the lease is this process's; 0 if it is another's.

        Raises Unavailable without the database.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self._lease
        answer: asyncio.Future[bool] = loop.create_future()
        self._asked[name] = answer
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self._ask())
        return until if await answer else 0.0

    async def give_up(self, name: str) -> None:
        """Let others have the lease."""
        self._asked.pop(name, None)
        # Not before the renewal that is under way, which would take it again.
        async with self._writing:
            await self._database.write(lambda connection: give_up(connection, name, self.holder))

    async def _ask(self) -> None:
        while self._asked:
            await asyncio.sleep(TOGETHER_SECONDS)
            async with self._writing:
                asked, self._asked = self._asked, {}
                await self._answer(asked)

    async def _answer(self, asked: Mapping[str, asyncio.Future[bool]]) -> None:
        try:
            # A lease that is lost with the server runs out before the server is back.
            taken = await self._database.write(partial(self._take, sorted(asked)), lasting=False)
        except Exception as error:
            for answer in asked.values():
                if not answer.done():
                    answer.set_exception(error)
        else:
            for name, answer in asked.items():
                if not answer.done():
                    answer.set_result(name in taken)

    def _take(self, names: Sequence[str], connection: Connection) -> set[str]:
        return take(connection, names, self.holder, self._lease)


class _Claim:
    """What this process has of one lease, and the work that depends on it."""

    def __init__(self, leases: _Leases, name: str) -> None:
        self._leases = leases
        self._name = name
        self._until = 0.0
        self._held = asyncio.Event()
        self._limit: asyncio.Timeout | None = None

    async def keep(self, pause: float) -> None:
        """Take the lease when it is free, and renew it."""
        now = asyncio.get_running_loop().time
        while True:
            try:
                self._move(await self._leases.take(self._name))
            except Unavailable as error:
                # What is held stays so until it runs out.
                log.warning("waiting", reason=error.message)
            # At the same times as the others of this process.
            await asyncio.sleep(pause - now() % pause)

    async def lasted(self, work: Work) -> bool:
        """Whether the work came to its own end before the lease ran out."""
        await self._held.wait()
        try:
            async with asyncio.timeout_at(self._until) as self._limit:
                log.info("owner", owned=self._name, holder=self._leases.holder)
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
        with contextlib.suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._leases.give_up(self._name)

    def _move(self, until: float) -> None:
        self._until = until
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(until)
        if until:
            self._held.set()
