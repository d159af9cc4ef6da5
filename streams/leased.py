"""Leased: chunks that are worked beyond their message, each under a lease that is prolonged.

For what takes longer than a transaction may: slow items, and effects outside that are taken
back. Who dies leaves the lease to run out, and the sweep finds the chunk.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection

from domain.errors import CountermandError, Unavailable
from domain.ports import Clock
from streams.loops import patiently
from streams.stores import chunks as chunk_store
from streams.stores.chunks import Claimed
from streams.stores.database import Database

log = structlog.get_logger(__name__)

T = TypeVar("T")

AGAIN_SECONDS = 0.25
"""Between two tries while the database is away. Whoever has to do with a lease must be back before
others are, who take a chunk once its lease has run out."""


class Leased:
    """Runs chunks in the background; ``close`` hands back what is not done.

    ``lease`` and ``heartbeat`` in seconds.
    """

    def __init__(self, *, database: Database, clock: Clock, lease: float, heartbeat: float) -> None:
        self._database = database
        self._clock = clock
        self._lease = lease
        self._heartbeat = heartbeat
        self._running: dict[asyncio.Task[None], Claimed] = {}
        self._closing: set[asyncio.Task[Any] | None] = set()
        self._begun: set[asyncio.Future[None]] = set()
        self.draining = False
        """Whether no more calls begin, as whoever works here is told to end."""

    def start(self, chunk: Claimed, work: Callable[[], Awaitable[None]]) -> None:
        """Begin to work a chunk, unless this attempt at it runs already; returns at once."""
        if self._runs_already(chunk):
            return
        task = asyncio.create_task(self._guarded(chunk, work))
        self._running[task] = chunk
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        self._closing.discard(task)

    def closing(self) -> None:
        """Called by work that closes its chunk now: it tells of that, whoever has it then."""
        self._closing.add(asyncio.current_task())

    def _lost(self, task: asyncio.Task[Any] | None) -> None:
        """Have no call go on for nobody: its job was stopped, or another worker has its items."""
        if task is not None and task not in self._closing:
            task.cancel()

    def _runs_already(self, chunk: Claimed) -> bool:
        """Whether this attempt runs; an earlier attempt at the chunk is stopped."""
        for task, other in list(self._running.items()):
            if (other.job_id, other.chunk) == (chunk.job_id, chunk.chunk):
                if other.attempt == chunk.attempt:
                    return True
                task.cancel()
        return False

    @property
    def in_flight(self) -> int:
        """How many chunks are being worked."""
        return len(self._running)

    async def quiet(self) -> None:
        """Return when nothing is worked any more."""
        while self._running:
            await asyncio.wait(self._running)

    @contextlib.asynccontextmanager
    async def begun(self) -> AsyncIterator[None]:
        """Around a call that is not to be made twice and the storing of what it said.

        Once it is ``draining`` the next one waits, until its chunk is given up.
        """
        ended = asyncio.get_running_loop().create_future()
        if self.draining:
            await ended
        self._begun.add(ended)
        try:
            yield
        finally:
            self._begun.discard(ended)
            ended.set_result(None)

    @property
    def ends(self) -> list[asyncio.Future[None]]:
        """The ends of the calls that have begun."""
        return [*self._begun]

    async def close(self) -> None:
        """Stop, and give up the leases of what is not done; what was stored stays."""
        held = list(self._running.values())
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if held:
            # Without the database they run out.
            with contextlib.suppress(Unavailable):
                await self._database.write(partial(chunk_store.hand_back, held=held))

    async def write(self, work: Callable[[Connection], T]) -> T:
        """As the database's, also once it is back: what was called for must not be lost with it.

        Its fence decides what is written then. A cancellation ends the wait.
        """
        return await patiently(lambda: self._database.write(work), longest=AGAIN_SECONDS)

    async def _guarded(self, chunk: Claimed, work: Callable[[], Awaitable[None]]) -> None:
        """A chunk that cannot be finished is left to the sweep, with the reason in the log."""
        try:
            await self._kept(chunk, work)
        except Exception as error:
            log.exception("slow_chunk_left", job_id=chunk.job_id, chunk=chunk.chunk)
            if _is_away(error):
                # Nobody has died of it, so this start is no sign of what it does to workers.
                await self.write(partial(chunk_store.hand_back, held=[chunk]))

    async def _kept(self, chunk: Claimed, work: Callable[[], Awaitable[None]]) -> None:
        async with kept(
            self._database,
            self._clock,
            [chunk],
            lease=self._lease,
            heartbeat=self._heartbeat,
            lost=partial(self._lost, asyncio.current_task()),
        ):
            await work()


def _is_away(error: BaseException) -> bool:
    """Whether something that we need was away, and the same would be well at another time."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(_is_away, error.exceptions))
    return isinstance(error, Unavailable)


@contextlib.asynccontextmanager
async def kept(
    database: Database,
    clock: Clock,
    claimed: Sequence[Claimed],
    *,
    lease: float,
    heartbeat: float,
    longest: float = math.inf,
    moved: Callable[[], None] = lambda: None,
    lost: Callable[[], None] = lambda: None,
) -> AsyncIterator[None]:
    """Prolong leases for as long as the block runs, but no more than ``longest`` seconds.

    ``moved`` is called at each heartbeat: what keeps its lease does not stand still. ``lost`` is
    called when no lease is left to prolong; a database that does not answer has taken none.
    Most blocks end before the first heartbeat; they cost a timer, and no task.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + longest

    async def prolong() -> bool | None:
        """Whether a lease is left; None while the database is away."""
        until = clock.now().timestamp() + lease
        with contextlib.suppress(CountermandError):
            held = await database.write_beside(
                lambda connection: chunk_store.prolong(connection, claimed, until), lasting=False
            )
            return bool(held)
        return None

    async def beat() -> None:
        while loop.time() < end:
            moved()
            is_held = await prolong()
            if is_held is False:
                lost()
                return
            # Once it is back, before the sweep finds a lease that has run out meanwhile.
            await asyncio.sleep(heartbeat if is_held else min(heartbeat, AGAIN_SECONDS))

    async with contextlib.AsyncExitStack() as beating:

        def begin() -> None:
            task = loop.create_task(beat())
            beating.push_async_callback(_cancelled, task)

        first = loop.call_later(heartbeat, begin)
        beating.callback(first.cancel)
        yield


@contextlib.asynccontextmanager
async def cancelled_at_exit(work: Any) -> AsyncIterator[asyncio.Future[Any]]:
    """Have something run for as long as the block does."""
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        await _cancelled(task)


async def _cancelled(task: asyncio.Future[Any]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
