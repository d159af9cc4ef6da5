"""Who waits for effects that are being written, and whom they wait for."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection

from domain.commands import PauseJob
from domain.events import JobStatus
from domain.options import JobOptions
from domain.registry import Registry
from streams.envelope import decode_work
from streams.stores import chunks as chunk_store
from streams.stores import database as databases
from streams.stores import migrate, outcomes
from streams.stores.chunks import Claimed
from streams.stores.database import Database
from streams.stores.statements import send_kept
from tests.databases import database, database_url
from tests.engine.beside import beside, outcome
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url"]

SECONDS = 20.0
A_MOMENT = 0.3
"""So long a test looks whether somebody waits, who would go on within a few milliseconds."""


@pytest.fixture
async def stages(database: Database) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(operations))


@contextlib.contextmanager
def in_flight(database: Database, claimed: Claimed) -> Iterator[threading.Event]:
    """The effect of a chunk, written by another process; it commits when the event is set."""
    begun, may_end = threading.Event(), threading.Event()
    tries: list[None] = []

    def effect(connection: Connection) -> None:
        tries.append(None)
        assert chunk_store.held(connection, [claimed]) == [claimed]
        begun.set()
        assert may_end.wait(SECONDS)
        outcomes.insert_outcomes(connection, [outcome(claimed)])

    thread = beside(database, effect)
    try:
        assert begun.wait(SECONDS)
        yield may_end
    finally:
        may_end.set()
        ended(thread)
    assert len(tries) == 1, "nobody was in its way"


async def claimed_of(stages: Stages, **options: object) -> tuple[str, Claimed]:
    """A job of two chunks, the first of which is claimed."""
    chosen = JobOptions.model_validate({"chunk_size": 10, **options})
    items = [{"name": str(n), "amount": 1} for n in range(20)]
    job_id = await stages.submit("stock.create", items, options=chosen)
    works = [decode_work(one.value) for one in stages.bus if ".work." in one.topic]
    stages.bus.clear()
    now = stages.clock.now().timestamp()
    claimed = stages.database.write_now(
        lambda connection: chunk_store.claim(
            connection, works[0], worker="other", now=now, lease=5.0
        )
    )
    return job_id, claimed[0]


def waiting(database: Database, work: Callable[[Connection], object]) -> threading.Thread:
    """Another process, whose transaction waits for one that is under way."""
    thread = beside(database, work)
    thread.join(A_MOMENT)
    assert thread.is_alive(), "it waits"
    return thread


def ended(thread: threading.Thread) -> None:
    """Nobody is in its way any more."""
    thread.join(SECONDS)
    assert not thread.is_alive()


async def is_done(task: asyncio.Future[Any], seconds: float = A_MOMENT) -> bool:
    done, _ = await asyncio.wait({task}, timeout=seconds)
    return bool(done)


async def test_a_look_goes_on_beside_an_effect(stages: Stages) -> None:
    """Of SQLite there is one writer at a time, whatever it writes."""
    job_id, claimed = await claimed_of(stages)
    with in_flight(stages.database, claimed) as may_end:
        look = asyncio.ensure_future(stages.coordinator.look(job_id))
        if stages.database.is_sqlite:
            assert not await is_done(look)
        else:
            # Sooner than the effect would end by itself.
            assert await is_done(look, SECONDS / 2)
        may_end.set()
        await asyncio.wait_for(look, SECONDS)


async def test_a_command_waits_for_an_effect_and_knows_of_it(stages: Stages) -> None:
    job_id, claimed = await claimed_of(stages)
    with in_flight(stages.database, claimed) as may_end:
        pause = asyncio.ensure_future(stages.command(PauseJob, job_id))
        assert not await is_done(pause)
        may_end.set()
        (await asyncio.wait_for(pause, SECONDS)).accepted()
    job = await stages.job(job_id)
    assert (job.status, job.counts.succeeded, job.counts.pending) == (JobStatus.PAUSED, 10, 10)


@pytest.mark.parametrize("back", [False, True], ids=["stays", "put back"])
async def test_a_look_that_stops_the_job_waits_for_an_effect_and_knows_of_it(
    stages: Stages, monkeypatch: pytest.MonkeyPatch, *, back: bool
) -> None:
    """What it does not know of would neither be counted nor put back.

    The two may not wait for each other either, until the database ends one of them.
    """
    monkeypatch.setattr(databases, "ATTEMPTS", 1)
    late = stages.clock.now() + timedelta(seconds=60)
    more = {"on_error": "roll_back"} if back else {}
    job_id, claimed = await claimed_of(stages, deadline=late, on_deadline="stop", **more)
    stages.clock.pass_seconds(61)
    with in_flight(stages.database, claimed) as may_end:
        look = asyncio.ensure_future(stages.coordinator.look(job_id))
        assert not await is_done(look)
        may_end.set()
        stages.bus += await asyncio.wait_for(look, SECONDS)
    job = await stages.job(job_id)
    assert job.status is (JobStatus.ROLLING_BACK if back else JobStatus.FAILED)
    assert (job.counts.succeeded, job.counts.skipped) == (10, 10)


async def test_an_effect_waits_for_whoever_stops_its_job_and_is_refused(stages: Stages) -> None:
    """Even when its fence has moved already and is not committed yet."""
    job_id, claimed = await claimed_of(stages)
    found: list[list[Claimed]] = []

    def effect(other: Connection) -> None:
        found.append(chunk_store.held(other, [claimed]))

    def stop(connection: Connection) -> threading.Thread:
        version = chunk_store.lock_control(connection, job_id)
        chunk_store.update_control(
            connection, job_id, epoch=claimed.epoch + 1, version=version, open_=True
        )
        send_kept(connection)
        return waiting(stages.database, effect)

    ended(stages.database.write_now(stop))
    assert found == [[]]


async def test_who_waits_for_effects_holds_off_all_others_who_decide(stages: Stages) -> None:
    """Else they plan more meanwhile, whose effects begin before those have ended."""
    job_id, claimed = await claimed_of(stages)
    with in_flight(stages.database, claimed) as may_end:
        first = waiting(stages.database, partial(chunk_store.lock_control, job_id=job_id))
        second = waiting(stages.database, partial(chunk_store.lock_decisions, job_id=job_id))
        may_end.set()
        ended(first)
        ended(second)


async def test_two_who_decide_on_a_job_wait_for_one_another(stages: Stages) -> None:
    """Whether or not either of them waits for effects."""
    job_id, _ = await claimed_of(stages)
    for first in (chunk_store.lock_decisions, chunk_store.lock_control):
        for second in (chunk_store.lock_decisions, chunk_store.lock_control):
            _meet(stages.database, job_id, first, second)


Lock = Callable[[Connection, str], int]


def _meet(database: Database, job_id: str, first: Lock, second: Lock) -> None:
    def hold(connection: Connection) -> threading.Thread:
        first(connection, job_id)
        return waiting(database, lambda other: second(other, job_id))

    ended(database.write_now(hold))
