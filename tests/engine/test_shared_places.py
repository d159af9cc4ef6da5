"""Several coordinators share the places for work in flight, and nobody waits for the dead."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from random import Random

import pytest
from sqlalchemy import Connection, update

from domain.commands import CancelJob, PauseJob, ResumeJob
from domain.events import JobStatus
from domain.planning import MAX_PACKED
from domain.registry import Registry
from domain.scheduling import (
    COMPANY_SECONDS,
    DISPATCHES_PER_SLOT,
    KEPT_IN_COMPANY,
    KEPT_PER_SLOT,
)
from streams import topics
from streams.dispatching import dispatches_of
from streams.envelope import Outgoing
from streams.places import KNOWN_SECONDS
from streams.stores import migrate, workers
from streams.stores.database import Database
from streams.stores.schema import events
from streams.stores.workers import ALIVE_SECONDS, WorkerRow
from tests.databases import damage, database, database_url
from tests.engine.batches import children, step, submit
from tests.engine.stages import Stages
from tests.engine.stock import create, operations, stock

__all__ = ["database", "database_url"]

LIMIT = DISPATCHES_PER_SLOT
LONE = LIMIT - KEPT_PER_SLOT
"""What a job has that alone wants places."""
SIZE = MAX_PACKED // 4
CHUNK = {"options": {"chunk_size": SIZE}}
"""So large that a dispatch of them holds four."""


class Pair:
    """Two coordinators on one database and one bus; a job's commands go to one of them."""

    def __init__(self, database: Database, other: Database) -> None:
        self.left = Stages(database, Registry(operations), shared=True)
        self.right = Stages(
            other,
            self.left.registry,
            clock=self.left.clock,
            ids=self.left.ids,
            bus=self.left.bus,
            workers=100,
            shared=True,
        )
        self.bus = self.left.bus
        self.clock = self.left.clock
        self._of: dict[str, Stages] = {}

    async def submit(self, side: Stages, chunks: int, **fields: object) -> str:
        """A job of so many chunks, driven by that side."""
        items = [{"name": "x"}] * (SIZE * chunks)
        job_id = await side.submit("stock.create", items, **{**CHUNK, **fields})
        self._of[job_id] = side
        return job_id

    async def deliver(self, message: Outgoing) -> None:
        await self._of[_job_of(message)].deliver(message)

    async def work_one(self, job_id: str) -> None:
        """Work the first message of a job, and let its coordinator look."""
        message = next(m for m in self.bus if _job_of(m) == job_id and _is_work(m))
        self.bus.remove(message)
        before = list(self.bus)
        await self.deliver(message)
        fresh = self.bus[len(before) :]
        self.bus[:] = before
        for told in fresh:
            if told.topic == topics.COMMANDS:
                await self.deliver(told)

    async def fill(self) -> tuple[str, str]:
        """Two jobs of the left side, of which the first has all places but one, and take all."""
        jobs = (await self.submit(self.left, 20), await self.submit(self.left, 20))
        assert await self.in_flight() == dict(zip(jobs, (LONE, LIMIT - LONE), strict=True))
        return jobs

    async def run_dry(self) -> None:
        while self.bus:
            await self.deliver(self.bus.pop(0))

    def hints(self, job_id: str) -> int:
        """How many hints to look at the job are on the bus."""
        return sum(m.topic == topics.COMMANDS and _job_of(m) == job_id for m in self.bus)

    def sent(self, job_id: str) -> int:
        """How many work messages of the job are on the bus."""
        return sum(_is_work(m) and _job_of(m) == job_id for m in self.bus)

    async def in_flight(self) -> dict[str, int]:
        rows = await self.left.rows("SELECT job_id, in_flight FROM grants WHERE in_flight > 0")
        return {str(row[0]): int(row[1]) for row in rows}

    async def require_truth(self) -> None:
        """The rows say what the aggregates say."""
        rows = await self.left.rows("SELECT job_id, in_flight, most FROM grants")
        said = {job_id: (in_flight, most > 0) for job_id, in_flight, most in rows}
        for job_id in self._of:
            job = await self.left.job(job_id)
            truth = (dispatches_of(job, self.left.registry), job.wants_chunks())
            assert said.pop(job_id, (0, False)) == truth
        assert not said


def _job_of(message: Outgoing) -> str:
    """The key begins with it."""
    return message.key.decode().partition(".")[0]


def _is_work(message: Outgoing) -> bool:
    return message.topic.startswith("countermand.work.")


@pytest.fixture
def pair(database: Database, database_url: str) -> Iterator[Pair]:
    migrate.create_missing(database, [stock])
    with Database(database_url) as other:
        yield Pair(database, other)


async def test_a_job_alone_leaves_a_place_a_slot_to_whoever_comes(pair: Pair) -> None:
    job_id = await pair.submit(pair.left, 20)
    assert pair.sent(job_id) == LONE
    small = await pair.submit(pair.right, 1)
    assert pair.sent(small) == 1
    await pair.run_dry()
    assert (await pair.left.job(job_id)).status is JobStatus.COMPLETED
    assert await pair.left.rows("SELECT * FROM grants") == []


async def test_places_grow_and_shrink_with_the_workers(pair: Pair) -> None:
    worker = WorkerRow("one", ("stock", "texts"), slots=3, process=1)
    now = pair.clock.now().timestamp()
    pair.left.database.write_now(lambda connection: workers.beat(connection, worker, now))
    job_id = await pair.submit(pair.left, 80, options={})
    assert pair.sent(job_id) == 3 * LONE
    pair.clock.pass_seconds(ALIVE_SECONDS + 1)
    for left in range(3 * LONE - 1, LONE - 1, -1):
        await pair.work_one(job_id)
        assert await pair.in_flight() == {job_id: left}
    for _ in range(3):
        await pair.work_one(job_id)
        assert pair.sent(job_id) == LONE
    # Chunks that were sent one by one, before several travelled together, are gone by now.
    assert await pair.in_flight() == {job_id: LONE}


async def test_a_job_that_had_company_leaves_all_but_one_place_a_slot(pair: Pair) -> None:
    large = await pair.submit(pair.left, 20)
    small = await pair.submit(pair.left, 1)
    await pair.work_one(small)
    for _ in range(3):
        await pair.work_one(large)
        assert await pair.in_flight() == {large: LIMIT - KEPT_IN_COMPANY}
    pair.clock.pass_seconds(COMPANY_SECONDS)
    await pair.work_one(large)
    assert await pair.in_flight() == {large: LONE}


async def test_what_a_command_sends_waits_for_no_step_of_another_job(pair: Pair) -> None:
    """A large one takes as long to plan as a small one to be worked."""
    large = await pair.submit(pair.left, 80)
    assert pair.sent(large) == LONE
    pair.clock.pass_seconds(KNOWN_SECONDS)
    worker = WorkerRow("one", ("stock",), slots=4, process=1)
    now = pair.clock.now().timestamp()
    pair.left.database.write_now(lambda connection: workers.beat(connection, worker, now))
    small = await pair.submit(pair.left, 1)
    assert (pair.sent(small), pair.sent(large)) == (1, LONE)
    assert pair.hints(large) == 1, "there is room for more of it, in its turn"
    hint = next(m for m in pair.bus if m.topic == topics.COMMANDS and _job_of(m) == large)
    pair.bus.remove(hint)
    await pair.deliver(hint)
    assert pair.sent(large) > LONE


async def test_a_job_of_another_coordinator_is_told_once_of_its_place(pair: Pair) -> None:
    large, other = await pair.fill()
    small = await pair.submit(pair.right, 1, tenant="other")
    assert pair.sent(small) == 0
    await pair.work_one(large)
    await pair.work_one(large)
    # One place is kept for the small job, which needs no more.
    assert pair.hints(small) == 1
    assert sum((await pair.in_flight()).values()) == LIMIT - 1
    await pair.run_dry()
    for job_id in (large, other, small):
        assert (await pair.left.job(job_id)).status is JobStatus.COMPLETED
    await pair.require_truth()


async def test_a_job_is_told_of_its_place_when_a_batch_that_was_offered_it_ends(
    pair: Pair,
) -> None:
    fields = {"items": [{"name": "x"}] * (SIZE * 20), **CHUNK}
    batch = await submit(pair.left, step("a", **fields), step("b", **fields))
    for child in (await children(pair.left, batch)).values():
        pair.bus += await pair.left.coordinator.look(child.id)
    pair.bus[:] = filter(_is_work, pair.bus)
    assert sum((await pair.in_flight()).values()) == LIMIT
    while sum((await pair.in_flight()).values()) == LIMIT:
        await pair.left.deliver(pair.bus.pop(0))
        await pair.left.deliver(next(m for m in pair.bus if m.topic == topics.COMMANDS))
        pair.bus[:] = filter(_is_work, pair.bus)
    pair.bus.clear()
    small = await pair.submit(pair.right, 4, priority=0)
    assert (pair.sent(small), pair.hints(small)) == (0, 0)
    (await pair.left.command(CancelJob, batch)).accepted()
    assert pair.hints(small) == 1


async def test_an_offer_that_nobody_takes_lapses(pair: Pair) -> None:
    large, other = await pair.fill()
    lost = await pair.submit(pair.right, 5, tenant="other")
    await pair.work_one(large)
    assert sum((await pair.in_flight()).values()) == LIMIT - 1
    pair.clock.pass_seconds(3)
    await pair.work_one(large)
    assert sum((await pair.in_flight()).values()) == LIMIT
    await pair.work_one(large)
    assert sum((await pair.in_flight()).values()) == LIMIT
    # Its coordinator may be back whenever there is room.
    for job_id in (large, other):
        await pair.left.command(CancelJob, job_id)
    pair.clock.pass_seconds(3)
    assert lost in [_job_of(message) for message in await pair.left.sweep.sweep()]


async def test_who_looks_is_reckoned_with_again(pair: Pair) -> None:
    large, _ = await pair.fill()
    late = await pair.submit(pair.right, 5, tenant="other")
    await pair.work_one(large)
    pair.clock.pass_seconds(3)
    await pair.work_one(large)
    assert sum((await pair.in_flight()).values()) == LIMIT
    pair.bus += await pair.right.coordinator.look(late)
    assert pair.sent(late) == 0, "there is no place at the moment"
    before = pair.hints(late)
    await pair.work_one(large)
    assert pair.hints(late) == before + 1
    assert sum((await pair.in_flight()).values()) == LIMIT - 1


async def test_places_are_in_proportion_to_the_weights(pair: Pair) -> None:
    def prepare(connection: Connection) -> None:
        worker = WorkerRow("one", ("stock",), slots=4, process=1)
        workers.beat(connection, worker, now)
        connection.exec_driver_sql("INSERT INTO tenant_weights VALUES ('heavy', 3)")

    now = pair.clock.now().timestamp()
    pair.left.database.write_now(prepare)
    light = await pair.submit(pair.left, 60, tenant="light", options={})
    heavy = await pair.submit(pair.right, 60, tenant="heavy", options={})
    for _ in range(9):
        await pair.work_one(light)
        for hint in [m for m in pair.bus if not _is_work(m)]:
            pair.bus.remove(hint)
            await pair.deliver(hint)
    assert await pair.in_flight() == {light: LIMIT, heavy: 3 * LIMIT}


async def test_who_may_have_lost_its_jobs_keeps_none_that_another_ends(pair: Pair) -> None:
    job_id = await pair.submit(pair.left, 20)
    assert pair.left.coordinator.drives(job_id)
    pair.left.coordinator.leave_all()
    pair._of[job_id] = pair.right
    await pair.run_dry()
    assert (await pair.left.job(job_id)).status is JobStatus.COMPLETED
    assert pair.left.coordinator.live == {}, "what it had in flight would count for ever"
    await pair.require_truth()


async def test_a_job_that_is_stepped_as_all_are_left_is_left_when_its_step_ends(
    pair: Pair,
) -> None:
    kept: list[bool] = []

    def leave(_recordings: object) -> None:
        pair.left.coordinator.leave_all()
        kept.append(pair.left.coordinator.may_look(job_id))

    job_id = await pair.submit(pair.left, 1)
    pair.left.stored = leave
    pair.left.restart()
    await pair.work_one(job_id)
    assert kept == [False], "a step is under way"
    assert pair.left.coordinator.live == {}
    large = await pair.submit(pair.left, 20)
    assert pair.left.coordinator.live == {}
    await pair.run_dry()
    assert (await pair.left.job(large)).status is JobStatus.COMPLETED


async def test_a_sick_job_leaves_others_alone(pair: Pair) -> None:
    sick = await pair.submit(pair.left, 20)
    well = await pair.submit(pair.right, 20)
    assert await pair.in_flight() == {sick: LONE, well: LIMIT - LONE}
    damage(pair.left.database, update(events).where(events.c.job_id == sick).values(state=b"{"))
    pair.left.restart()
    for _ in range(60):
        await pair.run_dry()
        if (await pair.right.job(well)).status is JobStatus.COMPLETED:
            return
        pair.clock.pass_seconds(3)
        pair.bus += await pair.right.sweep.sweep()
    raise AssertionError("the well job does not end")


async def test_a_job_whose_plugin_is_gone_holds_no_place(pair: Pair) -> None:
    gone = await pair.submit(pair.left, 20)
    pair.bus.clear()
    pair.left.registry = Registry([one for one in operations if one is not create])
    pair.left.restart()
    await pair.left.coordinator.look(gone)
    assert await pair.left.rows("SELECT * FROM grants") == []
    pair.left.registry = pair.right.registry
    pair.left.restart()
    for _ in range(30):
        pair.clock.pass_seconds(6)
        pair.bus += await pair.right.sweep.sweep()
        await pair.run_dry()
        if (await pair.left.job(gone)).status is JobStatus.COMPLETED:
            return
    raise AssertionError("nobody looks after the job")


async def test_a_process_alone_leaves_no_grants_behind(pair: Pair) -> None:
    job_id = await pair.submit(pair.left, 20)
    alone = Stages(pair.left.database, pair.left.registry, clock=pair.clock, ids=pair.left.ids)
    alone.workers = 200
    alone.restart()
    alone.bus += await alone.sweep.recover()
    await alone.mend()
    assert (await alone.job(job_id)).status is JobStatus.COMPLETED
    assert await alone.rows("SELECT * FROM grants") == []


@pytest.mark.parametrize("seed", range(4))
async def test_the_limit_holds_and_the_rows_tell_the_truth(pair: Pair, seed: int) -> None:
    """Whatever is delivered when, to whichever coordinator, lost or cut off by a restart."""
    chance = Random(seed)
    sides = [pair.left, pair.right]
    jobs = [
        await pair.submit(chance.choice(sides), chance.randint(1, 6), tenant=chance.choice("ab"))
        for _ in range(5)
    ]
    for _ in range(60):
        side = chance.choice(sides)
        match chance.randrange(10):
            case 0:
                side.restart()
            case 1:
                pair.clock.pass_seconds(6)
                pair.bus += await side.sweep.sweep()
            case 2:
                kind = chance.choice([PauseJob, ResumeJob, CancelJob])
                await _command(side, kind, chance.choice(jobs))
            case 3 if pair.bus:
                pair.bus.pop(chance.randrange(len(pair.bus)))
            case _ if pair.bus:
                await side.deliver(pair.bus.pop(chance.randrange(len(pair.bus))))
        assert sum((await pair.in_flight()).values()) <= LIMIT
        await pair.require_truth()
    for job_id in jobs:
        await _command(pair.left, ResumeJob, job_id)
    for _ in range(60):
        await pair.run_dry()
        if not await pair.left.rows("SELECT job_id FROM job_control WHERE open"):
            break
        pair.clock.pass_seconds(6)
        pair.bus += await pair.left.sweep.sweep()
    assert await pair.left.rows("SELECT job_id FROM job_control WHERE open") == []
    assert await pair.left.rows("SELECT * FROM grants") == []


async def _command(side: Stages, kind: type, job_id: str) -> None:
    job = await side.job(job_id)
    command = kind(command_id=side.ids.new(), job_id=job_id, tenant=job.tenant, actor="tester")
    side.bus += await side.coordinator.handle(command)


# -- at the same time ----------------------------------------------------------------------


@pytest.fixture
def at_once(migrated_postgres: str) -> Iterator[Pair]:
    with Database(migrated_postgres) as one, Database(migrated_postgres) as two:
        migrate.create_missing(one, [stock])
        yield Pair(one, two)


@pytest.mark.service("postgresql")
async def test_those_who_grant_at_once_do_not_pass_the_limit(at_once: Pair) -> None:
    for _ in range(5):
        jobs = await asyncio.gather(
            *(at_once.submit(side, 4) for side in [at_once.left, at_once.right] * 4)
        )
        assert sum((await at_once.in_flight()).values()) == LIMIT
        for job_id in jobs:
            await at_once.left.command(CancelJob, job_id)


@pytest.mark.service("postgresql")
async def test_coordinators_and_workers_at_once_never_meet_in_a_deadlock(at_once: Pair) -> None:
    jobs = await asyncio.gather(
        *(at_once.submit(side, 6, tenant=t) for side in (at_once.left, at_once.right) for t in "ab")
    )
    async with asyncio.timeout(60):
        while await at_once.left.rows("SELECT job_id FROM job_control WHERE open"):
            messages, at_once.bus[:] = list(at_once.bus), []
            await asyncio.gather(*(at_once.deliver(message) for message in messages))
            if not messages:
                at_once.clock.pass_seconds(6)
                at_once.bus += await at_once.left.sweep.sweep()
    for job_id in jobs:
        assert (await at_once.left.job(job_id)).status is JobStatus.COMPLETED
    assert await at_once.left.rows("SELECT * FROM grants") == []
    counted = await at_once.left.rows(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    assert counted == [(0,)]
