"""What is slow or away for a while is waited for, and is not taken for dead."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
from sqlalchemy import Connection

from domain.errors import StoreUnavailable, VersionConflict
from domain.operation import Context, operation
from domain.options import JobOptions
from domain.outcomes import Done, Result
from domain.registry import Registry
from streams import agents
from streams.agents import Binding, deliver
from streams.envelope import Outgoing
from streams.failpoints import Failpoints
from streams.liveness import Lane, Standing
from streams.outbox import READER, Outbox
from streams.stores import read_model
from streams.stores.database import READERS, WRITERS, Database
from streams.vitals import STUCK_SECONDS, Vitals
from streams.worker import AT_ONCE_ITEMS
from tests.databases import database, database_url, sqlite_database
from tests.engine.stages import HandClock, Stages
from tests.engine.stock import Number

__all__ = ["database", "database_url", "sqlite_database"]


@operation("patience.quick", item=Number, timeout=0.2)
def quick(_ctx: Context, item: Number) -> Result:
    """Nothing much."""
    return Done(item.number)


async def one_waits() -> list[Standing]:
    return [Standing("t", 0, done=0, waiting=1)]


async def test_a_chunk_that_waits_for_its_turn_to_write_does_not_hang(
    sqlite_database: Database,
) -> None:
    stages = Stages(sqlite_database, Registry([quick]))
    job_id = await stages.submit("patience.quick", [{"number": 1}])
    turn = threading.Event()
    # In this order the one writer takes them: the claim, another's long write, the chunk.
    working = asyncio.create_task(stages.deliver(stages.bus.pop(0)))
    await asyncio.sleep(0)
    other = asyncio.create_task(sqlite_database.write(lambda _: turn.wait(5)))
    await asyncio.sleep(0.5)
    turn.set()
    await asyncio.gather(working, other)
    await stages.run_dry()
    assert stages.hung == []
    assert (await stages.job(job_id)).counts.succeeded == 1


async def test_who_had_nothing_to_do_is_not_stuck_at_the_first_message(
    sqlite_database: Database,
) -> None:
    clock, waits = HandClock(), [0]

    async def waiting() -> list[Standing]:
        return [Standing("t", 0, done=0, waiting=waits[0])]

    vitals = Vitals(sqlite_database, [Lane("work", clock, waiting)])
    await vitals.measure()
    clock.pass_seconds(STUCK_SECONDS * 9)
    waits[0] = 1
    await vitals.measure()
    assert not vitals.stuck, "the message may have come just now"
    clock.pass_seconds(STUCK_SECONDS + 1)
    await vitals.measure()
    assert vitals.stuck


async def test_a_process_that_reads_as_much_as_it_can_is_ready(database: Database) -> None:
    may_read = threading.Event()

    def slow(_: Connection) -> None:
        may_read.wait(20)

    reading = [database.read(slow) for _ in range(2 * READERS)]
    beside = [database.series(lambda: database.read_now(slow)) for _ in range(WRITERS)]
    busy = asyncio.gather(*reading, *beside)
    await asyncio.sleep(0)
    try:
        for _ in range(3):
            assert (await Vitals(database, []).health()).reasons == []
    finally:
        may_read.set()
        await busy


async def test_a_stage_that_waits_for_the_database_is_not_stuck(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "FIRST_PAUSE", 0.0)
    clock = HandClock()

    lane = Lane("work", clock, one_waits)
    vitals = Vitals(sqlite_database, [lane])
    await vitals.measure()
    seen: list[bool] = []

    async def handle(_: object) -> list[Outgoing]:
        clock.pass_seconds(STUCK_SECONDS - 1)
        seen.append(vitals.stuck)
        if len(seen) < 10:
            raise StoreUnavailable("the disk is full")
        return []

    async def send(_: Outgoing) -> None:
        raise AssertionError("nothing is sent")

    binding = Binding(
        topic="t", decode=lambda v: v, handle=handle, moved=lane.moved, handled=lane.handled
    )
    await deliver(binding, SimpleNamespace(value=b"", topic="t", partition=0), send, Failpoints())
    assert seen == [False] * 10
    clock.pass_seconds(STUCK_SECONDS + 1)
    assert vitals.stuck


async def test_a_chunk_may_take_as_long_as_its_operation_says(sqlite_database: Database) -> None:
    """It waits for itself, and whoever waits behind it waits for a worker that is well."""
    clock, begun, may_end = HandClock(), threading.Event(), threading.Event()

    @operation("patience.long", item=Number, timeout=60.0)
    def long(_ctx: Context, item: Number) -> Result:
        begun.set()
        may_end.wait(20)
        return Done(item.number)

    lane = Lane("work", clock, one_waits)
    vitals = Vitals(sqlite_database, [lane])
    await vitals.measure()
    stages = Stages(sqlite_database, Registry([long]), heartbeat=0.01, moved=lane.moved)
    job_id = await stages.submit("patience.long", [{"number": 1}])
    working = asyncio.create_task(stages.run_dry())
    try:
        assert await asyncio.to_thread(begun.wait, 10)
        clock.pass_seconds(2 * STUCK_SECONDS)
        async with asyncio.timeout(10):
            while vitals.stuck:
                await asyncio.to_thread(may_end.wait, 0.01)
    finally:
        may_end.set()
        await working
    assert (await stages.job(job_id)).counts.succeeded == 1


async def test_a_chunk_whose_items_take_long_to_read_is_not_stuck(
    sqlite_database: Database,
) -> None:
    clock, may_read = HandClock(), threading.Event()
    lane = Lane("work", clock, one_waits)
    vitals = Vitals(sqlite_database, [lane])
    await vitals.measure()
    stages = Stages(sqlite_database, Registry([quick]), heartbeat=0.01, moved=lane.moved)
    most = JobOptions(chunk_size=AT_ONCE_ITEMS + 1)
    items = [{"number": 1}] * most.chunk_size
    job_id = await stages.submit("patience.quick", items, options=most)
    reading = [sqlite_database.read(lambda _: may_read.wait(20)) for _ in range(READERS)]
    busy = asyncio.gather(*reading, stages.deliver(stages.bus.pop(0)))
    try:
        clock.pass_seconds(STUCK_SECONDS + 1)
        assert vitals.stuck
        async with asyncio.timeout(10):
            while vitals.stuck:  # noqa: ASYNC110 - that is how one asks it
                await asyncio.sleep(0.01)
    finally:
        may_read.set()
        await busy
    await stages.run_dry()
    assert (await stages.job(job_id)).counts.succeeded == most.chunk_size


async def test_a_chunk_that_takes_longer_than_its_operation_says_is_told(
    sqlite_database: Database,
) -> None:
    begun, may_end = threading.Event(), threading.Event()

    @operation("patience.stands", item=Number, timeout=0.3)
    def stands(_ctx: Context, item: Number) -> Result:
        begun.set()
        may_end.wait(20)
        return Done(item.number)

    stages = Stages(sqlite_database, Registry([stands]))
    await stages.submit("patience.stands", [{"number": 1}])
    working = asyncio.create_task(stages.run_dry())
    try:
        assert await asyncio.to_thread(begun.wait, 10)
        started = time.monotonic()
        async with asyncio.timeout(10):
            while not stages.hung:
                await asyncio.to_thread(may_end.wait, 0.01)
        assert time.monotonic() - started >= 0.25
    finally:
        may_end.set()
        await working
    assert stages.hung == ["patience.stands did not come back within 0.3 s"]


async def test_an_outbox_that_was_overtaken_goes_on_from_there(sqlite_database: Database) -> None:
    stages = Stages(sqlite_database, Registry([quick]))
    await stages.submit("patience.quick", [{"number": 1}])
    sent: list[Outgoing] = []

    async def send(messages: Sequence[Outgoing]) -> None:
        sent.extend(messages)

    outbox = Outbox(
        database=sqlite_database,
        recorder=stages.recorder,
        mapper=stages.jobs.job_mapper,
        send=send,
        failpoints=Failpoints(),
    )
    await outbox.publish()
    first = len(sent)
    sqlite_database.write_now(lambda c: read_model.advance(c, READER, seen=0, to=first))
    with pytest.raises(VersionConflict):
        await outbox.save()
    await outbox.publish()
    await outbox.save()
    assert len(sent) == first
