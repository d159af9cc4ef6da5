"""What jobs share of a provider or a queue is kept to by all of them, whoever decides on them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import BaseModel

from domain.buckets import SharedLimit
from domain.commands import CancelJob, PauseJob
from domain.errors import InvalidCommand
from domain.operation import Context, Operation, operation
from domain.options import Caps
from domain.outcomes import Done, Result
from domain.registry import Registry
from domain.waiting import Hold
from streams.situation import Situation, itself
from streams.stores import buckets
from streams.stores.database import Database
from streams.stores.workers import WorkerRow
from tests.databases import database, database_url
from tests.engine import batches
from tests.engine.stages import Stages, told_nobody

__all__ = ["database", "database_url"]

BELL = "provider:bell"
AT_ONCE = 8
HERE = WorkerRow("here", ("tower", "hall"), slots=1, process=1)


class Ring(BaseModel):
    n: int = 0


@dataclass
class Bells:
    """Two systems that ring the same bell; what is slow waits until the rope is loose."""

    rung: list[str] = field(default_factory=list)
    loose: asyncio.Event = field(default_factory=asyncio.Event)
    eight: asyncio.Event = field(default_factory=asyncio.Event)
    """So many slow ones have begun."""

    def operations(self) -> list[Operation]:
        @operation("tower.ring", item=Ring, provider="bell", independent=True)
        def ring(ctx: Context, item: Ring) -> Result:
            self.rung.append(ctx.job_id)
            return Done()

        @operation("hall.chime", item=Ring, provider="bell", slow=True, concurrency=AT_ONCE)
        async def chime(ctx: Context, item: Ring) -> Result:
            self.rung.append(ctx.job_id)
            if len(self.rung) == AT_ONCE:
                self.eight.set()
            await self.loose.wait()
            return Done()

        @operation("hall.clap", item=Ring, independent=True)
        def clap(ctx: Context, item: Ring) -> Result:
            return Done()

        return [ring, chime, clap]


@pytest.fixture
def bells() -> Bells:
    return Bells()


@pytest.fixture(params=[False, True], ids=["alone", "shared"])
def stages(database: Database, request: pytest.FixtureRequest, bells: Bells) -> Stages:
    return Stages(database, Registry(bells.operations()), shared=request.param)


async def limit(stages: Stages, name: str = BELL, **caps: Any) -> None:
    """Set a limit, and let the time pass until everybody knows of it."""
    now = stages.clock.now().timestamp()
    wanted = Caps(**caps)
    await stages.database.write(
        lambda found: buckets.configure(found, name, wanted, by="anna", now=now)
    )
    stages.clock.pass_seconds(0.6)


async def tick(stages: Stages, *jobs: str, ticks: int = 1) -> None:
    """Time passes, and whoever is to be woken is."""
    for _ in range(ticks):
        stages.clock.pass_seconds(0.26)
        for job_id in jobs:
            stages.bus += await stages.coordinator.look(job_id)
        await stages.work_out()


async def in_use(stages: Stages) -> dict[str, tuple[int, bool]]:
    """By job, the calls that are under way, and whether more waits."""
    rows = await stages.rows("SELECT job_id, calls, waits FROM bucket_uses ORDER BY job_id")
    return {job_id: (calls, bool(waits)) for job_id, calls, waits in rows}


def rings(count: int) -> list[dict[str, int]]:
    return [{"n": n} for n in range(count)]


async def test_a_rate_holds_for_all_jobs_together_and_is_shared_between_them(
    stages: Stages, bells: Bells
) -> None:
    await limit(stages, rate=40)
    jobs = [await stages.submit("tower.ring", rings(400), tenant=t) for t in ("local", "other")]
    await stages.work_out()
    bells.rung.clear()
    await tick(stages, *jobs, ticks=40)
    seconds = 40 * 0.26
    assert 0.7 * 40 * seconds <= len(bells.rung) <= 1.1 * 40 * seconds
    parts = [bells.rung.count(job_id) for job_id in jobs]
    assert min(parts) > 0.3 * sum(parts), parts
    await limit(stages)
    await tick(stages, *jobs, ticks=12)
    await stages.mend()
    assert len(bells.rung) >= 700
    assert await in_use(stages) == {}


async def test_of_more_jobs_than_there_are_tokens_each_goes_on(stages: Stages) -> None:
    await limit(stages, rate=1)
    jobs = [await stages.submit("tower.ring", rings(1)) for _ in range(3)]
    await tick(stages, *jobs, ticks=24)
    assert [(await stages.job(job_id)).counts.succeeded for job_id in jobs] == [1, 1, 1]


async def test_a_concurrency_holds_for_all_jobs_together(stages: Stages, bells: Bells) -> None:
    await limit(stages, concurrency=6)
    first = await stages.submit("hall.chime", rings(40))
    second = await stages.submit("hall.chime", rings(40))
    for _ in range(8):
        stages.clock.pass_seconds(0.3)
        for job_id in (first, second):
            stages.bus += await stages.coordinator.look(job_id)
        await stages.run_dry()
    used = await in_use(stages)
    assert sum(calls for calls, _ in used.values()) == 6
    assert all(waits for _, waits in used.values())
    bells.loose.set()
    for _ in range(40):
        await tick(stages, first, second)
    await stages.mend()
    assert len(bells.rung) == 80
    assert await in_use(stages) == {}


async def test_who_is_held_back_elsewhere_lets_others_have_their_turn(stages: Stages) -> None:
    await limit(stages, rate=0.001)
    await limit(stages, "queue:hall", concurrency=1)
    held = await stages.submit("hall.chime", rings(3))
    other = await stages.submit("hall.clap", rings(4), options={"chunk_size": 1})
    await tick(stages, held, other, ticks=12)
    assert (await stages.job(other)).counts.succeeded == 4
    assert (await stages.job(held)).counts.pending == 3


async def test_a_lower_limit_calls_back_what_has_not_begun(stages: Stages, bells: Bells) -> None:
    job_id = await stages.submit("hall.chime", rings(100))
    await stages.run_dry()
    await bells.eight.wait()
    assert await stages.rows("SELECT job_id FROM recalls") == []
    await limit(stages, concurrency=2)
    stages.bus += await stages.coordinator.look(job_id)
    called_back = "SELECT job_id, before FROM recalls"
    assert await stages.rows(called_back) == [(job_id, (await stages.job(job_id)).next_chunk)]
    stages.clock.pass_seconds(0.6)
    stages.bus += await stages.coordinator.look(job_id)
    assert len(await stages.rows(called_back)) == 1, "heeded once"
    bells.loose.set()
    await stages.work_out()
    for _ in range(60):
        await tick(stages, job_id)
    assert (await stages.job(job_id)).counts.succeeded == 100


async def test_a_queue_has_a_limit_of_its_own(stages: Stages) -> None:
    await limit(stages, "queue:hall", concurrency=1)
    job_id = await stages.submit("hall.clap", rings(40), options={"chunk_size": 10})
    assert (await stages.job(job_id)).open.keys() == {0}
    await stages.run_dry()
    for _ in range(6):
        await tick(stages, job_id)
    await stages.mend()
    assert (await stages.job(job_id)).counts.succeeded == 40


async def test_children_that_are_cancelled_with_their_batch_leave_nothing(stages: Stages) -> None:
    await limit(stages, "queue:hall", concurrency=1)
    one = batches.step("one", operation="hall.clap", items=rings(40))
    batch = await batches.submit(stages, one, one.model_copy(update={"name": "other"}))
    for child in (await batches.children(stages, batch)).values():
        stages.bus += await stages.coordinator.look(child.id)
    assert await in_use(stages)
    await stages.command(CancelJob, batch)
    await stages.mend()
    assert set((await batches.statuses(stages, batch)).values()) == {"cancelled"}
    assert await in_use(stages) == {}


async def test_what_was_left_of_a_job_that_has_ended_holds_nothing_back(stages: Stages) -> None:
    await limit(stages, "queue:hall", concurrency=1)
    ended = await stages.submit("hall.clap", rings(1))
    await stages.run_dry()
    left = buckets.Use("queue:hall", ended, "local", calls=1)
    stages.database.write_now(lambda found: buckets.put_use(found, left))
    job_id = await stages.submit("hall.clap", rings(1))
    await stages.mend()
    assert (await stages.job(job_id)).counts.succeeded == 1


async def test_who_is_held_back_is_told_by_what_and_takes_no_place_from_others(
    stages: Stages,
) -> None:
    around = Situation(
        database=stages.database,
        registry=stages.registry,
        clock=stages.clock,
        present=itself(HERE),
        broker_away=lambda: "",
        hint=told_nobody,
    )
    await limit(stages, concurrency=1)
    first = await stages.submit("hall.chime", rings(3))
    second = await stages.submit("hall.chime", rings(3))
    other = await stages.submit("hall.clap", rings(10))
    await stages.run_dry()
    assert (await stages.job(other)).counts.succeeded == 10
    told = await around.waiting(await stages.job(second))
    assert told is not None
    assert told.reason is Hold.LIMIT
    assert told.text == "provider bell has 1 of 1 calls at once, over all jobs"
    (view,) = await around.limits()
    assert (view.row.name, view.calls, view.jobs, view.waiting) == (BELL, 1, 2, 2)
    for job_id in (first, second):
        await stages.command(CancelJob, job_id)
    assert await in_use(stages) == {}


async def test_a_change_is_told_to_the_jobs_that_draw_from_it(stages: Stages) -> None:
    told: list[str] = []

    async def hint(job_id: str) -> None:
        told.append(job_id)

    around = Situation(
        database=stages.database,
        registry=stages.registry,
        clock=stages.clock,
        present=itself(HERE),
        broker_away=lambda: "",
        hint=hint,
    )
    ringing = await stages.submit("hall.chime", rings(3))
    await stages.submit("hall.clap", rings(3))
    view = await around.limit(BELL, SharedLimit(rate=5), by="anna")
    assert (view.row.rate, view.row.changed_by, told) == (5.0, "anna", [ringing])
    with pytest.raises(InvalidCommand, match="no operation draws"):
        await around.limit("provider:gong", SharedLimit(rate=5), by="anna")


async def test_a_paused_job_holds_nothing_back(stages: Stages) -> None:
    await limit(stages, concurrency=1)
    first = await stages.submit("hall.chime", rings(3))
    await stages.run_dry()
    await stages.command(PauseJob, first)
    assert await in_use(stages) == {}


def test_what_the_settings_say_holds_until_somebody_says_otherwise(database: Database) -> None:
    def seed(**table: Caps) -> dict[str, Caps]:
        named = {f"provider:{name}": caps for name, caps in table.items()}
        database.write_now(lambda found: buckets.seed(found, named, 1.0))
        return {name: row.caps for name, row in database.read_now(buckets.known).items()}

    assert seed(bell=Caps(rate=3)) == {BELL: Caps(rate=3)}
    assert seed(bell=Caps(rate=4)) == {BELL: Caps(rate=4)}
    database.write_now(
        lambda found: buckets.configure(found, BELL, Caps(rate=9), by="anna", now=2.0)
    )
    assert seed(bell=Caps(rate=4), gong=Caps(concurrency=1)) == {
        BELL: Caps(rate=9),
        "provider:gong": Caps(concurrency=1),
    }
    assert seed(bell=Caps(rate=4))["provider:gong"] == Caps()


async def test_a_rate_beyond_every_calendar_stops_only_those_that_share_it(
    stages: Stages, bells: Bells
) -> None:
    await limit(stages, rate=1e-12)
    held = [await stages.submit("tower.ring", rings(3)) for _ in range(2)]
    free = await stages.submit("hall.clap", rings(3))
    await tick(stages, *held, ticks=3)
    stages.bus += await stages.sweep.sweep()
    await stages.work_out()
    assert (await stages.job(free)).counts.succeeded == 3
    assert len(bells.rung) <= 1
    await limit(stages, rate=50.0)
    await tick(stages, *held, ticks=8)
    assert sorted(bells.rung) == sorted(held * 3)
