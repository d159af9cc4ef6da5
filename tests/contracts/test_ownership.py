"""Ownership: one process at a time, and soon another when that one is dead or frozen."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Connection, text

from domain.errors import StoreUnavailable, VersionConflict
from streams.stores import read_model
from streams.stores.database import Database
from streams.stores.events import EventRecorder
from streams.stores.ownership import LeasedOwner, Ownership, SoleOwner
from tests.services.postgres import PostgresServer
from tests.stored_events import append, stored_event

T = TypeVar("T")

PATIENCE = 20.0
BACKENDS = ("sole", pytest.param("leased", marks=pytest.mark.service("postgresql")))


@pytest.fixture(params=BACKENDS)
def ownership(request: pytest.FixtureRequest) -> Ownership:
    if request.param == "sole":
        return SoleOwner()
    return LeasedOwner(request.getfixturevalue("stored"), "this")


@pytest.fixture
def stored(migrated_postgres: str) -> Iterator[Database]:
    with Database(migrated_postgres) as database:
        yield database


class Work:
    """Work for ever, as the test sees it."""

    def __init__(self) -> None:
        self.runs = asyncio.Queue[None]()
        self.ended = asyncio.Event()

    async def __call__(self) -> None:
        self.ended.clear()
        self.runs.put_nowait(None)
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()

    async def begun(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.runs.get()

    async def over(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.ended.wait()


@contextlib.asynccontextmanager
async def owning(owner: Ownership, name: str, work: Work) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.ensure_future(owner.own(name, work))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# -- what holds for every owner ---------------------------------------------------------


async def test_the_work_runs_until_it_is_cancelled(ownership: Ownership) -> None:
    work = Work()
    async with owning(ownership, "outbox", work) as task:
        await work.begun()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert work.ended.is_set()


async def test_the_end_of_the_work_is_the_end(ownership: Ownership) -> None:
    done = []

    async def short() -> None:
        done.append(1)

    async with asyncio.timeout(PATIENCE):
        await ownership.own("outbox", short)
    assert done == [1]


@pytest.mark.parametrize("failure", [ValueError("a mistake"), TimeoutError("its own")])
async def test_a_failure_of_the_work_is_seen(ownership: Ownership, failure: Exception) -> None:
    async def broken() -> None:
        raise failure

    with pytest.raises(type(failure), match=str(failure)):
        await ownership.own("outbox", broken)


# -- leases -----------------------------------------------------------------------------


async def test_one_works_and_the_next_follows_at_once(stored: Database) -> None:
    first, second = Work(), Work()
    async with owning(LeasedOwner(stored, "second", lease=60.0, renew=0.05), "outbox", second):
        await second.begun()
        async with owning(LeasedOwner(stored, "first", lease=60.0, renew=0.05), "outbox", first):
            async with owning(LeasedOwner(stored, "other"), "projector", other := Work()):
                await other.begun()
            assert first.runs.empty(), "while another owns it"
            async with owning(LeasedOwner(stored, "second"), "timers", Work()):
                pass
            assert not second.ended.is_set()
    assert first.runs.empty()


async def test_who_ends_in_peace_leaves_the_lease(stored: Database) -> None:
    first, second = Work(), Work()
    async with owning(LeasedOwner(stored, "first", lease=60.0, renew=0.05), "outbox", first) as one:
        await first.begun()
        async with owning(LeasedOwner(stored, "second", lease=60.0, renew=0.05), "outbox", second):
            one.cancel()
            await second.begun()
            assert first.ended.is_set()


async def test_a_lease_that_another_took_ends_the_work(stored: Database) -> None:
    work = Work()
    async with owning(LeasedOwner(stored, "slow", lease=60.0, renew=0.05), "outbox", work):
        await work.begun()
        await stored.write(
            lambda connection: connection.execute(text("UPDATE owners SET holder = 'other'"))
        )
        await work.over()
        await stored.write(
            lambda connection: connection.execute(text("UPDATE owners SET lease_until = 0"))
        )
        await work.begun()


async def test_a_database_whose_clock_was_set_back_keeps_nobody_out(stored: Database) -> None:
    """What a dead owner has said last is in the future then, further ahead than any lease."""
    leave = text("INSERT INTO owners VALUES ('outbox', 'dead', extract(epoch FROM now()) + 600)")
    await stored.write(lambda connection: connection.execute(leave))
    work = Work()
    async with owning(LeasedOwner(stored, "this", renew=0.05), "outbox", work):
        await work.begun()
    assert held(stored) == {}


async def test_a_clock_that_was_set_back_a_little_takes_no_lease_from_who_lives(
    stored: Database,
) -> None:
    ahead = text("INSERT INTO owners VALUES ('outbox', 'lives', extract(epoch FROM now()) + 90)")
    await stored.write(lambda connection: connection.execute(ahead))
    work = Work()
    async with owning(LeasedOwner(stored, "this", lease=60.0, renew=0.05), "outbox", work):
        await asyncio.sleep(0.5)
        assert work.runs.empty()
    assert held(stored) == {"outbox": "lives"}


async def test_without_the_database_the_work_ends_with_the_lease(
    stored: Database, postgres_process: PostgresServer
) -> None:
    """And it goes on once the database is back."""
    work = Work()
    name = stored.url.database
    async with owning(LeasedOwner(stored, "alone", lease=1.0, renew=0.1), "outbox", work):
        await work.begun()
        with postgres_process.connect() as server:
            server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
            )
            await work.over()
            server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        await work.begun()


async def test_many_who_ask_are_one_who_owns(stored: Database) -> None:
    owners = [LeasedOwner(stored, f"holder-{n}", lease=60.0, renew=0.02) for n in range(6)]
    works = [Work() for _ in owners]
    tasks = [asyncio.ensure_future(o.own("outbox", w)) for o, w in zip(owners, works, strict=True)]
    for _ in owners:
        waiting = [asyncio.ensure_future(work.runs.get()) for work in works]
        done, _pending = await asyncio.wait(
            waiting, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED
        )
        assert len(done) == 1
        for look in waiting:
            look.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        number = waiting.index(done.pop())
        tasks[number].cancel()
        await asyncio.gather(tasks[number], return_exceptions=True)
    assert all(work.ended.is_set() for work in works)


# -- leases of one process ----------------------------------------------------------------

NAMES = ("outbox", "projector", "sweep", "timers")


class Counting(Database):
    """Counts transactions, and lets renewals wait for their turn."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.written = 0
        self.renewing, self.turn = asyncio.Event(), asyncio.Event()
        self.turn.set()

    async def write(self, work: Callable[[Connection], T], *, lasting: bool = True) -> T:
        self.written += 1
        if not lasting:
            self.renewing.set()
            await self.turn.wait()
        return await super().write(work, lasting=lasting)


@pytest.fixture
def counting(migrated_postgres: str) -> Iterator[Counting]:
    with Counting(migrated_postgres) as database:
        yield database


def held(database: Database) -> dict[str, str]:
    """Who holds what now."""
    rows = "SELECT name, holder FROM owners WHERE lease_until > EXTRACT(epoch FROM now())"
    return database.read_now(lambda found: dict(found.execute(text(rows)).tuples().all()))


@contextlib.asynccontextmanager
async def owning_all(owner: Ownership, names: Sequence[str]) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        for name in names:
            work = Work()
            await stack.enter_async_context(owning(owner, name, work))
            await work.begun()
        yield


async def test_all_leases_of_a_process_are_renewed_at_once(counting: Counting) -> None:
    async with owning_all(LeasedOwner(counting, "this", renew=0.1), NAMES):
        before, began = counting.written, time.monotonic()
        async with asyncio.timeout(PATIENCE):
            while counting.written < before + 10:  # noqa: ASYNC110 - it only counts
                await asyncio.sleep(0.05)
        seconds = time.monotonic() - began
        renewals = counting.written - before
        assert held(counting) == dict.fromkeys(NAMES, "this")
    assert renewals <= seconds / 0.1 + 5, "one for all of them, and not four times as many"
    assert held(counting) == {}


async def test_what_others_hold_keeps_nobody_from_the_rest(stored: Database) -> None:
    async with owning_all(LeasedOwner(stored, "other"), NAMES[:2]):
        owner, waiting = LeasedOwner(stored, "this", renew=0.05), Work()
        async with owning(owner, NAMES[0], waiting), owning_all(owner, NAMES[2:]):
            assert held(stored) == dict(zip(NAMES, ["other", "other", "this", "this"], strict=True))
            assert waiting.runs.empty()
        assert held(stored) == dict.fromkeys(NAMES[:2], "other")


async def test_a_lease_is_not_taken_again_by_the_renewal_that_was_under_way(
    counting: Counting,
) -> None:
    owner, first, second = LeasedOwner(counting, "this", renew=0.01), Work(), Work()
    async with owning(owner, "sweep", second), owning(owner, "outbox", first) as task:
        await first.begun()
        await second.begun()
        counting.turn.clear()
        counting.renewing.clear()
        await counting.renewing.wait()
        task.cancel()
        await first.over()
        await asyncio.sleep(0.1)
        counting.turn.set()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0.1)
        assert held(counting) == {"sweep": "this"}


async def test_who_is_frozen_in_a_renewal_takes_no_lease_from_others(stored: Database) -> None:
    mine, others = Work(), Work()
    owner = LeasedOwner(stored, "this", lease=1.0, renew=0.1)
    async with owning(owner, "sweep", mine):
        await mine.begun()
        frozen = stored.engine.connect()
        try:
            frozen.execute(text("INSERT INTO owners VALUES ('outbox', 'frozen', 0)"))
            frozen.commit()
            # As in a renewal, of a lease that has run out.
            frozen.execute(text("UPDATE owners SET lease_until = 0 WHERE name = 'outbox'"))
            async with owning(owner, "outbox", others):
                await asyncio.sleep(2.5)
                assert not mine.ended.is_set(), "its own were renewed all the while"
                assert others.runs.empty()
                frozen.rollback()
                await others.begun()
        finally:
            frozen.close()


# -- processes that die or stand still --------------------------------------------------

_PROCESS = """
import asyncio, sys
from streams.stores.database import Database
from streams.stores.ownership import LeasedOwner

async def work():
    print("owner", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        print("over", flush=True)

async def main():
    with Database(sys.argv[1]) as database:
        print("asks", flush=True)
        await LeasedOwner(database, sys.argv[2]).own("outbox", work)

asyncio.run(main())
"""


class Process:
    """A process that wants to own the outbox."""

    def __init__(self, database: Database, holder: str) -> None:
        url = database.url.render_as_string(hide_password=False)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROCESS, url, holder],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
        )

    def says(self) -> str:
        """The next line that is no log; the test's own time limit ends the wait."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() in {"asks", "owner", "over"}:
                return line.strip()
        raise AssertionError("the process has ended")

    def send(self, wanted: signal.Signals) -> None:
        self._process.send_signal(wanted)

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def processes(stored: Database) -> Iterator[tuple[Process, Process]]:
    """Two of them; the first is the owner."""
    first = Process(stored, "first")
    try:
        assert [first.says(), first.says()] == ["asks", "owner"]
        second = Process(stored, "second")
        try:
            assert second.says() == "asks"
            yield first, second
        finally:
            second.end()
    finally:
        first.end()


def test_a_killed_owner_is_replaced(processes: tuple[Process, Process]) -> None:
    first, second = processes
    killed = time.monotonic()
    first.send(signal.SIGKILL)
    assert second.says() == "owner"
    assert time.monotonic() - killed < 3.0


def test_a_frozen_owner_is_replaced_and_knows_when_it_wakes(
    processes: tuple[Process, Process],
) -> None:
    first, second = processes
    frozen = time.monotonic()
    first.send(signal.SIGSTOP)
    assert second.says() == "owner"
    assert time.monotonic() - frozen < 8.0
    first.send(signal.SIGCONT)
    assert first.says() == "over"


def test_a_second_owner_moves_no_position(stored: Database) -> None:
    """What an owner does after it has slept is fenced by itself."""
    stored.write_now(lambda connection: read_model.advance(connection, "outbox", seen=0, to=5))
    with pytest.raises(VersionConflict):
        stored.write_now(lambda connection: read_model.advance(connection, "outbox", seen=0, to=3))


def test_who_stands_still_in_the_order_of_events_is_passed(stored: Database) -> None:
    recorder = EventRecorder(stored)
    frozen = stored.engine.connect()
    try:
        recorder.insert_events([stored_event("frozen", 1)], connection=frozen)
        append(stored, stored_event("next", 1))  # waits less than its lock_timeout
        with pytest.raises(StoreUnavailable, match="stood still"):
            stored.write_now(
                lambda _: recorder.insert_events([stored_event("frozen", 2)], connection=frozen)
            )
    finally:
        frozen.invalidate()
        frozen.close()
    assert [event.originator_id for event in recorder.select_notifications(1, 10)] == ["next"]
