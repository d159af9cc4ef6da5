"""What is stored under a name that its operation had goes on at once, and nothing is sent twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from domain.buckets import SharedLimit
from domain.commands import PauseJob, ResumeJob, UndoJob
from domain.events import JobStatus
from domain.operation import Context, Operation, operation
from domain.options import JobOptions
from domain.outcomes import Done, Result
from domain.registry import Registry
from domain.waiting import Hold
from streams import topics
from streams.bootstrap import embedded
from streams.settings import Settings
from streams.situation import Situation
from streams.stores import migrate, workers
from streams.stores.database import Database
from streams.stores.workers import WorkerRow, live_workers
from tests.databases import database, database_url
from tests.engine.conftest import Desk
from tests.engine.stages import Stages, told_nobody
from tests.engine.stock import Number, create, operations, stock

__all__ = ["database", "database_url"]

KINDS = ("stock.make", "shop.make")
"""One of the same system, and one of another, whose messages have a topic of their own."""
THINGS = [{"name": "x"}] * 4
SINGLY = JobOptions(chunk_size=1)
NEVER = 3600.0
"""Seconds: the sweep sends nothing again for as long as a test takes."""


def renamed(kind: str) -> Registry:
    """The same operations, one of them under another name."""
    made = replace(create, kind=kind, formerly=(create.kind,))
    return Registry([made if one is create else one for one in operations])


@pytest.fixture
def stages(database: Database) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(operations), shared=not database.is_sqlite)


def install(stages: Stages, registry: Registry) -> None:
    """Start again, with other names."""
    stages.registry = registry
    stages.restart()


def work_topics(stages: Stages) -> set[str]:
    return {one.topic for one in stages.bus if one.topic.startswith(topics.work(""))}


async def paused(stages: Stages) -> str:
    """A job of which nothing is in flight."""
    job_id = await stages.submit(create.kind, THINGS, options=SINGLY)
    await stages.command(PauseJob, job_id)
    await stages.run_dry()
    return job_id


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_planned_under_a_former_name_is_worked_and_undone(
    stages: Stages, kind: str
) -> None:
    job_id = await paused(stages)
    install(stages, renamed(kind))
    await stages.command(ResumeJob, job_id)
    assert work_topics(stages) == {topics.work(kind.partition(".")[0])}
    await stages.run_dry()
    assert (await stages.job(job_id)).status is JobStatus.COMPLETED
    await stages.command(UndoJob, job_id)
    await stages.run_dry()
    assert (await stages.job(job_id)).status is JobStatus.ROLLED_BACK


@pytest.mark.parametrize("kind", KINDS)
async def test_what_was_lost_under_a_former_name_is_sent_where_it_is_read(
    stages: Stages, kind: str
) -> None:
    job_id = await stages.submit(create.kind, THINGS, options=SINGLY)
    stages.bus.clear()
    install(stages, renamed(kind))
    stages.clock.pass_seconds(6)
    await stages.sweep.run(stages.send)
    assert work_topics(stages) == {topics.work(kind.partition(".")[0])}
    await stages.mend()
    assert (await stages.job(job_id)).counts.succeeded == len(THINGS)


async def test_work_that_names_an_operation_by_its_present_name_is_taken(stages: Stages) -> None:
    """As a coordinator of another release sends it."""
    job_id = await stages.submit(create.kind, THINGS, options=SINGLY)
    install(stages, renamed(KINDS[0]))
    old, new = f'"{create.kind}"'.encode(), f'"{KINDS[0]}"'.encode()
    stages.bus[:] = [replace(one, value=one.value.replace(old, new)) for one in stages.bus]
    await stages.run_dry()
    assert (await stages.job(job_id)).status is JobStatus.COMPLETED


async def test_work_of_another_operation_is_not(stages: Stages) -> None:
    job_id = await stages.submit(create.kind, THINGS, options=SINGLY)
    install(stages, renamed(KINDS[0]))
    old, other = f'"{create.kind}"'.encode(), b'"stock.put"'
    stages.bus[:] = [replace(one, value=one.value.replace(old, other)) for one in stages.bus]
    await stages.run_dry()
    assert (await stages.job(job_id)).counts.pending == len(THINGS)


async def test_its_places_are_those_of_the_system_that_works_it_now(
    migrated_postgres: str,
) -> None:
    with Database(migrated_postgres) as database:
        migrate.create_missing(database, [stock])
        stages = Stages(database, Registry(operations), shared=True)
        job_id = await paused(stages)
        install(stages, renamed("shop.make"))
        await stages.command(ResumeJob, job_id)
        assert await stages.rows("SELECT DISTINCT system FROM grants") == [("shop",)]


async def test_the_system_whose_workers_are_missing_is_named(stages: Stages) -> None:
    job_id = await paused(stages)
    install(stages, renamed("shop.make"))
    await stages.command(ResumeJob, job_id)
    here = WorkerRow("here", ("stock",), slots=1, process=1)
    now = stages.clock.now().timestamp()
    stages.database.write_now(lambda found: workers.beat(found, here, now))
    situation = Situation(
        database=stages.database,
        registry=stages.registry,
        clock=stages.clock,
        present=live_workers,
        broker_away=lambda: "",
        hint=told_nobody,
    )
    told = await situation.waiting(await stages.job(job_id))
    assert told is not None
    assert (told.reason, told.text) == (
        Hold.NO_WORKER,
        "no worker for shop is alive; start one",
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_a_limit_is_told_to_jobs_that_are_stored_under_a_former_name(
    stages: Stages, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.situation.KNOWN_SECONDS", 0.0)
    hinted: list[str] = []

    async def hint(job_id: str) -> None:
        hinted.append(job_id)

    job_id = await stages.submit(create.kind, THINGS, options=SINGLY)
    install(stages, renamed(kind))
    situation = Situation(
        database=stages.database,
        registry=stages.registry,
        clock=stages.clock,
        present=live_workers,
        broker_away=lambda: "",
        hint=hint,
    )
    await situation.limit(f"queue:{kind.partition('.')[0]}", SharedLimit(rate=9), by="anna")
    assert hinted == [job_id]


@operation("stock.ask", item=Number, slow=True)
async def ask(_ctx: Context, item: Number) -> Result:
    return Done(item.number)


@pytest.mark.parametrize("declared", [create, ask])
async def test_what_is_counted_of_an_operation_has_one_name(
    stages: Stages, declared: Operation
) -> None:
    stages.registry = Registry([*operations, ask])
    stages.restart()
    items = THINGS if declared is create else [{"number": 1}]
    job_id = await stages.submit(declared.kind, items, options=SINGLY)
    stages.registry = Registry([replace(declared, kind="stock.now", formerly=(declared.kind,))])
    stages.restart()
    await stages.mend()
    assert (await stages.job(job_id)).status is JobStatus.COMPLETED
    counted = {
        sample.labels["operation"]
        for family in stages.metrics.registry.collect()
        for sample in family.samples
        if "operation" in sample.labels
    }
    assert counted == {"stock.now"}


@pytest.mark.parametrize("kind", KINDS)
async def test_an_engine_undoes_at_once_what_is_stored_under_a_former_name(
    database_url: str, tmp_path: Path, kind: str
) -> None:
    settings = Settings(data_dir=tmp_path, database=database_url, claim_by=NEVER)
    async with embedded(settings, Registry(operations)) as engine:
        job_id = await Desk(engine).submit(create.kind, THINGS)
        await Desk(engine).settle(job_id)
    async with embedded(settings, renamed(kind)) as engine:
        desk = Desk(engine)
        await desk.command(job_id, "undo")
        await desk.until(job_id, JobStatus.ROLLED_BACK)
