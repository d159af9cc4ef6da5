"""Workers: those that speak count, each with its slots; the dead are forgotten in time."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from domain.events import Cause
from domain.ranges import Ranges
from streams.bootstrap.scaled import _beat
from streams.clock import SystemClock
from streams.leased import kept
from streams.stores import workers
from streams.stores.chunks import Claimed
from streams.stores.database import WRITERS, Database
from streams.stores.workers import ALIVE_SECONDS, KEPT_SECONDS, WorkerRow

START = 1_800_000_000.0
SESSION = "01a21500-42d8-7116-93e6-c2c742931a40"


def row(name: str, *systems: str, slots: int = 2) -> WorkerRow:
    return WorkerRow(name=name, systems=systems or ("stock",), slots=slots, process=17)


def beat(database: Database, worker: WorkerRow, now: float) -> None:
    database.write_now(lambda connection: workers.beat(connection, worker, now))


def live(database: Database, now: float) -> list[WorkerRow]:
    return database.read_now(lambda connection: workers.live_workers(connection, now))


def slots(database: Database, system: str, now: float) -> int:
    return database.read_now(
        lambda connection: workers.slots_of(workers.live_workers(connection, now), system)
    )


def test_a_worker_is_as_it_says(database: Database) -> None:
    beat(database, workers.measured(row("one", "stock", "texts")), START)
    (seen,) = live(database, START)
    assert (seen.systems, seen.slots, seen.process) == (("stock", "texts"), 2, 17)
    assert (seen.host, seen.started_at, seen.seen_at) == (socket.gethostname(), START, START)
    assert seen.rss > 1_000_000
    assert 0 < seen.cpu_seconds <= sum(os.times()[:2]) + 1


def test_it_keeps_the_time_of_its_first_word(database: Database) -> None:
    beat(database, row("one"), START)
    beat(database, WorkerRow("one", ("stock",), 2, 17, rss=5, cpu_seconds=1.5), START + 2)
    (seen,) = live(database, START + 2)
    assert (seen.started_at, seen.seen_at, seen.rss, seen.cpu_seconds) == (START, START + 2, 5, 1.5)


def test_it_says_how_much_memory_it_may_have_and_since_when_work_waits_for_some(
    database: Database,
) -> None:
    beat(database, row("one"), START)
    assert [(w.memory_budget, w.held_since) for w in live(database, START)] == [(0, None)]
    held = dataclasses.replace(row("one"), memory_budget=1 << 33, held_since=START + 1)
    beat(database, held, START + 2)
    assert [(w.memory_budget, w.held_since) for w in live(database, START)] == [
        (1 << 33, START + 1)
    ]


def test_it_says_what_each_slot_holds_anew(database: Database) -> None:
    beat(database, row("one"), START)
    assert [worker.holds for worker in live(database, START)] == [()]
    for holds in (({"work": [0, 2]}, {}), ({"work": [0]}, {"work": [2, 3], "other": [1]})):
        beat(database, dataclasses.replace(row("one"), holds=holds), START + 1)
        seen = live(database, START + 1)
        assert [worker.holds for worker in seen] == [holds]
    assert workers.slots_holding(seen, "work") == [[0], [2, 3]]
    assert workers.slots_holding(seen, "other") == [[1]]
    beat(database, row("of the release before"), START + 1)
    assert workers.slots_holding(live(database, START + 1), "work") == []


def test_slots_are_those_of_the_system(database: Database) -> None:
    beat(database, row("one", "stock", "texts", slots=2), START)
    beat(database, row("two", "stock", slots=3), START)
    beat(database, row("three", "text"), START)
    assert [slots(database, system, START) for system in ("stock", "texts", "mail")] == [5, 2, 0]


@pytest.mark.parametrize(("silent", "counted"), [(ALIVE_SECONDS, 2), (ALIVE_SECONDS + 0.1, 0)])
def test_who_is_silent_is_dead(database: Database, silent: float, counted: int) -> None:
    beat(database, row("one"), START)
    assert slots(database, "stock", START + silent) == counted


@pytest.mark.parametrize("heartbeat", [0.2, 1.5, 10.0])
def test_a_worker_counts_between_two_words_though_leases_are_long(
    database: Database, heartbeat: float
) -> None:
    """And when two of them were lost."""
    beat(database, row("one"), START)
    assert slots(database, "stock", START + 3 * workers.beat_pause(heartbeat)) == 2


def test_who_ends_in_peace_is_gone_at_once(database: Database) -> None:
    beat(database, row("one"), START)
    beat(database, row("two", slots=3), START)
    database.write_now(lambda connection: workers.forget(connection, "one"))
    assert slots(database, "stock", START) == 3


def test_the_dead_are_removed_some_at_a_time(database: Database) -> None:
    for number in range(5):
        beat(database, row(f"dead-{number}"), START)
    beat(database, row("silent"), START + 1)

    def remove() -> int:
        now = START + KEPT_SECONDS + 1
        return database.write_now(lambda c: workers.remove_dead(c, now, most=3))

    assert [remove(), remove(), remove()] == [3, 2, 0]
    assert [worker.name for worker in live(database, START + 1)] == ["silent"]


# -- busy workers -------------------------------------------------------------------------


@pytest.fixture
async def busy(migrated_postgres: str) -> AsyncIterator[Database]:
    """All threads that write are in handlers that take long."""
    may_end, begun = threading.Event(), threading.Semaphore(0)

    def handle(_: Connection) -> None:
        begun.release()
        may_end.wait(60)

    with Database(migrated_postgres) as database:
        handlers = [asyncio.ensure_future(database.write(handle)) for _ in range(WRITERS)]
        try:
            for _ in handlers:
                assert await asyncio.to_thread(begun.acquire, timeout=10)
            yield database
        finally:
            may_end.set()
            await asyncio.gather(*handlers)


async def test_a_worker_whose_handlers_all_take_long_is_heard_of(busy: Database) -> None:
    """Else it would count as dead, and its transactions as those of a frozen one."""
    base: Any = SimpleNamespace(database=busy, clock=SystemClock())
    intake: Any = SimpleNamespace(told=lambda row: row)
    async with asyncio.timeout(5):
        await _beat(base, intake, row("busy"), [])
    assert [worker.name for worker in live(busy, time.time())] == ["busy"]


async def test_it_keeps_the_leases_of_what_it_works_in_the_background(busy: Database) -> None:
    chunk = Claimed("job", 0, Cause.APPLY, 0, Ranges.of([0]), None, epoch=0, attempt=1, starts=1)
    lost = asyncio.Event()
    async with kept(busy, SystemClock(), [chunk], lease=5.0, heartbeat=0.05, lost=lost.set):
        # It hears that there is no such lease, in the time in which it would prolong it.
        await asyncio.wait_for(lost.wait(), 5)


# -- frozen workers, which keep their transactions ---------------------------------------


@pytest.fixture
def session(migrated_postgres: str) -> Iterator[Database]:
    with Database(migrated_postgres, session=SESSION) as database:
        yield database


def end_frozen(database: Database, now: float) -> int:
    return database.write_now(lambda connection: workers.end_frozen(connection, now))


@pytest.mark.slow
def test_a_transaction_of_a_silent_worker_is_ended(
    session: Database, migrated_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat(session, row(f"host-1-{SESSION}"), START)
    monkeypatch.setattr(workers, "ALIVE_SECONDS", 0.2)
    with Database(migrated_postgres) as other, session.engine.connect() as frozen:
        frozen.exec_driver_sql("SELECT 1")
        assert end_frozen(other, START + 0.1) == 0, "it was heard of"
        while not end_frozen(other, START + 0.3):
            time.sleep(0.05)
        with pytest.raises(OperationalError):
            frozen.exec_driver_sql("SELECT 1")


@pytest.mark.slow
def test_no_other_transaction_is_ended(
    session: Database, migrated_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat(session, row(f"host-1-{SESSION}"), START)
    monkeypatch.setattr(workers, "ALIVE_SECONDS", 0.1)
    with (
        Database(migrated_postgres) as other,
        other.engine.connect() as nobodys,
        session.engine.connect() as idle,
    ):
        idle.exec_driver_sql("SELECT 1")
        idle.rollback()
        nobodys.exec_driver_sql("SELECT 1")
        time.sleep(0.3)
        assert end_frozen(other, START + 9) == 0
        idle.exec_driver_sql("SELECT 1")
