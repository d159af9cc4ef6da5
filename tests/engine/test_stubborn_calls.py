"""Calls that do not do as they are told, and faults of ours: the chunk ends all the same."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError
from typing import Any

import pytest
from sqlalchemy import update

from domain.commands import CancelJob
from domain.errors import StoreUnavailable
from domain.events import JobStatus
from domain.operation import Context, operation
from domain.outcomes import Done, Result
from domain.registry import Registry
from streams import topics
from streams.envelope import Outgoing
from streams.slow import SlowPool
from streams.stores import chunks as chunk_store
from streams.stores.database import Database
from streams.stores.ledger import entries
from streams.stores.schema import chunks
from tests.databases import sqlite_database, sqlite_template
from tests.engine.stages import Stages
from tests.engine.stock import Number

__all__ = ["sqlite_database", "sqlite_template"]


@pytest.mark.parametrize("at_once", [True, False])
async def test_it_holds_up_no_worker_beyond_its_own_end(
    sqlite_database: Database, at_once: bool
) -> None:
    begun, cancelled, may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @operation("stubborn.call", item=Number, slow=True)
    async def call(_ctx: Context, _item: Number) -> Result:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
        if not at_once:
            await may_end.wait()
        return Done()

    stages = Stages(sqlite_database, Registry([call]))
    await stages.submit("stubborn.call", [{"number": 1}])
    await stages.run_dry()
    await asyncio.wait_for(begun.wait(), 10)
    closing = asyncio.ensure_future(stages.slow.close())
    await asyncio.wait_for(cancelled.wait(), 10)

    may_end.set()
    await asyncio.wait_for(closing, 10)
    assert stages.slow.leased.in_flight == 0
    assert await stages.rows("SELECT 1 FROM outcomes") == []


async def _cancel(stages: Stages, job_id: str) -> None:
    (await stages.command(CancelJob, job_id)).accepted()


async def _have_taken_over(stages: Stages, job_id: str) -> None:
    """As the sweep does when it has long not heard of its worker."""
    taken = update(chunks).where(chunks.c.job_id == job_id).values(attempt=2)
    await stages.database.write(lambda connection: connection.execute(taken))


LOSSES = pytest.mark.parametrize("lose", [_cancel, _have_taken_over])


@LOSSES
async def test_a_thread_that_asks_is_told_that_nobody_waits_any_more(
    sqlite_database: Database, lose: Callable[[Stages, str], Awaitable[None]]
) -> None:
    begun, told = threading.Event(), threading.Event()
    may_end = threading.Event()

    @operation("stubborn.ask", item=Number, slow=True)
    def ask(ctx: Context, _item: Number) -> Result:
        begun.set()
        try:
            while not may_end.wait(0.01):
                ctx.heartbeat()
        except CancelledError:
            told.set()
            raise
        return Done()

    stages = Stages(sqlite_database, Registry([ask]), heartbeat=0.01)
    job_id = await stages.submit("stubborn.ask", [{"number": 1}])
    await stages.run_dry()
    try:
        assert await asyncio.to_thread(begun.wait, 10)
        await lose(stages, job_id)
        assert await asyncio.to_thread(told.wait, 10)
    finally:
        may_end.set()
    await asyncio.wait_for(stages.slow.leased.quiet(), 10)
    assert stages.hung == []


@LOSSES
async def test_a_call_that_nobody_waits_for_any_more_is_cancelled(
    sqlite_database: Database, lose: Callable[[Stages, str], Awaitable[None]]
) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    @operation("stubborn.ask", item=Number, slow=True)
    async def ask(_ctx: Context, _item: Number) -> Result:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return Done()

    stages = Stages(sqlite_database, Registry([ask]), heartbeat=0.01)
    job_id = await stages.submit("stubborn.ask", [{"number": 1}])
    await stages.run_dry()
    await asyncio.wait_for(begun.wait(), 10)
    await lose(stages, job_id)
    await asyncio.wait_for(cancelled.wait(), 10)
    await asyncio.wait_for(stages.slow.leased.quiet(), 10)
    job = await stages.job(job_id)
    assert (job.counts.succeeded, job.counts.failed) == (0, 0)


async def test_a_call_goes_on_while_the_database_is_away_and_after_a_graceful_cancel(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()
    beats, enough = list[int](), threading.Event()

    @operation("stubborn.ask", item=Number, slow=True)
    async def ask(_ctx: Context, item: Number) -> Result:
        begun.set()
        await may_end.wait()
        return Done(item.number)

    def away(*_: object) -> None:
        beats.append(1)
        if len(beats) > 2:
            enough.set()
        raise StoreUnavailable("gone")

    stages = Stages(sqlite_database, Registry([ask]), heartbeat=0.01)
    job_id = await stages.submit("stubborn.ask", [{"number": 1}])
    await stages.run_dry()
    await asyncio.wait_for(begun.wait(), 10)
    (await stages.command(CancelJob, job_id, graceful=True)).accepted()
    with monkeypatch.context() as patched:
        patched.setattr(chunk_store, "prolong", away)
        assert await asyncio.to_thread(enough.wait, 10)
    may_end.set()
    await stages.work_out()
    job = await stages.job(job_id)
    assert (job.status, job.counts.succeeded) == (JobStatus.CANCELLED, 1)


async def test_a_lease_is_prolonged_as_soon_as_the_database_is_back(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have run out meanwhile, and the sweep would have the call made again."""
    prolonged, may_end = asyncio.Event(), asyncio.Event()
    loop, beats = asyncio.get_running_loop(), list[float]()
    then = chunk_store.prolong

    @operation("stubborn.ask", item=Number, slow=True)
    async def ask(_ctx: Context, item: Number) -> Result:
        await may_end.wait()
        return Done(item.number)

    def prolong(*given: Any) -> Any:
        beats.append(loop.time())
        if len(beats) < 4:
            raise StoreUnavailable("gone")
        loop.call_soon_threadsafe(prolonged.set)
        return then(*given)

    monkeypatch.setattr(chunk_store, "prolong", prolong)
    stages = Stages(sqlite_database, Registry([ask]), heartbeat=1.0)
    job_id = await stages.submit("stubborn.ask", [{"number": 1}])
    await stages.run_dry()
    await asyncio.wait_for(prolonged.wait(), 10)
    assert beats[3] - beats[0] < 2.5, "three heartbeats would be longer"
    may_end.set()
    await stages.work_out()
    assert (await stages.job(job_id)).counts.succeeded == 1


async def test_who_has_closed_a_chunk_tells_of_it_however_long_that_takes(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chunk is not its own any more then, and that is how it should be."""

    @operation("stubborn.ask", item=Number, slow=True)
    async def ask(_ctx: Context, item: Number) -> Result:
        return Done(item.number)

    stages = Stages(sqlite_database, Registry([ask]), heartbeat=0.01)
    sent = list[Outgoing]()

    async def slowly(message: Outgoing) -> None:
        await stages.coordinator.look(job_id)
        await asyncio.sleep(0.2)
        sent.append(message)

    job_id = await stages.submit("stubborn.ask", [{"number": 1}])
    monkeypatch.setattr(stages.slow, "send", slowly)
    await stages.run_dry()
    await asyncio.wait_for(stages.slow.leased.quiet(), 10)
    assert (await stages.job(job_id)).status is JobStatus.COMPLETED
    assert len(sent) == 1


@pytest.mark.parametrize("is_async", [True, False])
async def test_what_validate_may_not_return_is_no_success(
    sqlite_database: Database, is_async: bool
) -> None:
    def approve(_ctx: Context, item: Number) -> Any:
        return Done("validated") if item.number == 1 else None

    async def ask(_ctx: Context, item: Number) -> Result:
        return Done(item.number)

    def hang(_ctx: Context, item: Number) -> Result:
        return Done(item.number)

    declare = operation("stubborn.checked", item=Number, slow=True, validate=approve)
    stages = Stages(sqlite_database, Registry([declare(ask if is_async else hang)]))
    job_id = await stages.submit("stubborn.checked", [{"number": 0}, {"number": 1}])
    await stages.work_out()

    job = await stages.job(job_id)
    assert (job.counts.succeeded, job.counts.failed) == (1, 1)


async def test_a_fault_of_ours_fails_what_is_left_of_a_slow_chunk(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left to the sweep, it would meet the same fault again and again, and the job never end."""

    @operation("stubborn.ask", item=Number, slow=True)
    async def ask(_ctx: Context, item: Number) -> Result:
        return Done(item.number)

    def broken(*_: object) -> None:
        raise RuntimeError("our fault")

    stages = Stages(sqlite_database, Registry([ask]))
    job_id = await stages.submit("stubborn.ask", [{"number": number} for number in range(3)])
    monkeypatch.setattr(SlowPool, "_store", broken)
    await stages.work_out()

    job = await stages.job(job_id)
    assert (job.status, job.counts.failed) == (JobStatus.FAILED, 3)
    (row,) = await stages.rows("SELECT ledger FROM outcomes")
    assert {entry.code for entry in entries(row[0])} == {"internal"}


async def test_a_message_that_cannot_be_sent_fails_nothing(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at the end of a process, whose broker has gone before its chunks."""
    calls: list[int] = []

    @operation("stubborn.ask", item=Number, slow=True)
    async def ask(_ctx: Context, item: Number) -> Result:
        calls.append(item.number)
        await asyncio.sleep(item.number / 50)
        return Done(item.number)

    async def closed(_: object) -> None:
        raise RuntimeError("the producer is closed")

    stages = Stages(sqlite_database, Registry([ask]))
    job_id = await stages.submit("stubborn.ask", [{"number": number} for number in range(3)])
    with monkeypatch.context() as patched:
        patched.setattr(stages.slow, "send", closed)
        await stages.work_out()
    assert (await stages.job(job_id)).counts.failed == 0

    await stages.mend()
    assert (await stages.job(job_id)).counts.succeeded == 3
    assert sorted(calls) == [0, 1, 2], "a progress that is not told costs no call"


def away_for(tries: int, then: Callable[..., Any]) -> Callable[..., Any]:
    """The database is away as often as that."""
    left = iter(range(tries))

    def tried(*given: Any, **named: Any) -> Any:
        if next(left, None) is not None:
            raise StoreUnavailable("gone")
        return then(*given, **named)

    return tried


@pytest.mark.parametrize("place", ["_store", "_close"])
async def test_a_database_that_is_away_fails_nothing_and_repeats_no_call(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    calls: list[int] = []

    @operation("stubborn.ask", item=Number, slow=True)
    async def ask(_ctx: Context, item: Number) -> Result:
        calls.append(item.number)
        await asyncio.sleep(item.number / 50)
        return Done(item.number)

    stages = Stages(sqlite_database, Registry([ask]))
    job_id = await stages.submit("stubborn.ask", [{"number": number} for number in range(3)])
    write = getattr(stages.slow, place)
    monkeypatch.setattr(stages.slow, place, away_for(3, write))
    async with asyncio.timeout(10):
        await stages.work_out()
    assert (await stages.job(job_id)).counts.succeeded == 3
    assert sorted(calls) == [0, 1, 2], "each was paid for once"
    assert await stages.rows("SELECT attempt, starts FROM chunks") == [(1, 1)]


async def test_a_chunk_that_is_left_as_the_database_is_away_counts_no_start(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three of them would pass for three deaths, and fail the item."""

    @operation("stubborn.ask", item=Number, slow=True)
    async def ask(_ctx: Context, item: Number) -> Result:
        return Done(item.number)

    stages = Stages(sqlite_database, Registry([ask]))
    job_id = await stages.submit("stubborn.ask", [{"number": 1}])
    for _ in range(4):
        read = away_for(1, stages.slow._prepare)
        monkeypatch.setattr(stages.slow, "_prepare", read)
        monkeypatch.setattr(chunk_store, "hand_back", away_for(2, chunk_store.hand_back))
        async with asyncio.timeout(10):
            await stages.work_out()
        assert await stages.rows("SELECT starts, lease_until FROM chunks") == [(0, None)]
        stages.restart()
        await stages.sweep.run(stages.send)
    await stages.mend()
    assert (await stages.job(job_id)).counts.succeeded == 1


async def _asked_for_ever(database: Database) -> Stages:
    """With a call that has begun and never ends."""
    begun = asyncio.Event()

    @operation("stubborn.ask", item=Number, slow=True)
    async def ask(_ctx: Context, _item: Number) -> Result:
        begun.set()
        await asyncio.Event().wait()
        return Done()

    stages = Stages(database, Registry([ask]))
    await stages.submit("stubborn.ask", [{"number": 1}])
    await stages.run_dry()
    await asyncio.wait_for(begun.wait(), 10)
    return stages


async def test_a_lease_is_given_back_once_however_often_that_is_tried(
    sqlite_database: Database,
) -> None:
    """Who hears nothing of a commit tries again."""
    stages = await _asked_for_ever(sqlite_database)
    held = list(stages.slow.leased._running.values())
    for _ in range(2):
        await stages.database.write(lambda connection: chunk_store.hand_back(connection, held))
    assert await stages.rows("SELECT starts FROM chunks") == [(0,)]
    await stages.slow.close()


async def test_a_worker_ends_while_the_database_is_away(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its leases run out; and a result that waits for the database keeps it no longer."""
    waits = asyncio.Event()
    loop = asyncio.get_running_loop()

    @operation("stubborn.ask", item=Number, slow=True)
    async def ask(_ctx: Context, item: Number) -> Result:
        return Done(item.number)

    def away(*_: object, **__: object) -> None:
        loop.call_soon_threadsafe(waits.set)
        raise StoreUnavailable("gone")

    stages = Stages(sqlite_database, Registry([ask]))
    job_id = await stages.submit("stubborn.ask", [{"number": 1}])
    with monkeypatch.context() as patched:
        patched.setattr(SlowPool, "_store", away)
        patched.setattr(chunk_store, "hand_back", away)
        await stages.run_dry()
        await asyncio.wait_for(waits.wait(), 10)
        await asyncio.wait_for(stages.slow.drain(0.1), 5)
        await asyncio.wait_for(stages.slow.close(), 5)
    assert stages.slow.leased.in_flight == 0

    stages.restart()
    await stages.mend()
    assert (await stages.job(job_id)).counts.succeeded == 1


async def test_results_are_stored_while_nobody_can_be_told_of_them(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that is away is waited for, for half a minute and more."""

    @operation("stubborn.ask", item=Number, slow=True)
    async def ask(_ctx: Context, item: Number) -> Result:
        await asyncio.sleep(item.number / 50)
        return Done(item.number)

    stages = Stages(sqlite_database, Registry([ask]))
    told: list[str] = []

    async def slowly(message: Outgoing) -> None:
        told.append(message.topic)
        if message.topic == topics.OUTCOMES:
            await asyncio.Event().wait()
        await stages.send(message)

    monkeypatch.setattr(stages.slow, "send", slowly)
    job_id = await stages.submit("stubborn.ask", [{"number": number} for number in range(3)])
    async with asyncio.timeout(10):
        await stages.work_out()
    assert (await stages.job(job_id)).counts.succeeded == 3
    assert told.count(topics.OUTCOMES) == 1, "of which none holds up the next result"


@pytest.mark.parametrize("places", [2, 8])
async def test_what_has_begun_ends_and_no_more_begins_while_a_worker_drains(
    sqlite_database: Database, places: int
) -> None:
    begun: list[int] = []
    may_end = asyncio.Event()

    @operation("stubborn.ask", item=Number, slow=True, concurrency=places)
    async def ask(_ctx: Context, item: Number) -> Result:
        begun.append(item.number)
        await may_end.wait()
        return Done(item.number)

    stages = Stages(sqlite_database, Registry([ask]))
    job_id = await stages.submit("stubborn.ask", [{"number": number} for number in range(5)])
    await stages.run_dry()
    async with asyncio.timeout(10):
        while len(begun) < min(places, 5):  # noqa: ASYNC110 - whoever is called tells nobody
            await asyncio.sleep(0.01)
    draining = asyncio.ensure_future(stages.slow.drain(10))
    await asyncio.sleep(0.05)
    assert not draining.done()
    may_end.set()
    await asyncio.wait_for(draining, 5)
    assert sorted(begun) == list(range(min(places, 5))), "no more have begun"
    await stages.slow.close()

    stages.restart()
    await stages.mend()
    assert (await stages.job(job_id)).counts.succeeded == 5
    assert sorted(begun) == list(range(5)), "and none of them twice"


async def test_a_drain_waits_no_longer_than_it_may(sqlite_database: Database) -> None:
    stages = await _asked_for_ever(sqlite_database)
    await asyncio.wait_for(stages.slow.drain(0.1), 5)
    await asyncio.wait_for(stages.slow.close(), 5)
    assert await stages.rows("SELECT 1 FROM outcomes") == []
