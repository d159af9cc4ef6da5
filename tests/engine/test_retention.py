"""Jobs at rest are shredded and put away when the rules say so, and not before."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import structlog

from domain.commands import ArchiveJob, CancelJob, HoldJob, ReleaseJob, RetryJob
from domain.errors import InvalidCommand, RuleNotFound
from domain.events import JobStatus
from domain.registry import Registry
from domain.retention import Rule
from streams import retaining
from streams.archiving import Archivist
from streams.bootstrap import parts
from streams.loops import background
from streams.retaining import Retained, Retainer
from streams.retention import MAX_RULES
from streams.settings import Settings
from streams.stores.database import Database
from tests.databases import database, database_url
from tests.engine.batches import children, step, submit
from tests.engine.keeping import NAMES, Keeping, kept
from tests.engine.stages import document
from tests.engine.stock import create, operations

__all__ = ["database", "database_url"]


@pytest.fixture
def keeping(database: Database, tmp_path: Path) -> Keeping:
    return kept(database, tmp_path)


async def test_a_job_is_shredded_then_archived_as_long_after_its_rest_as_the_rule_says(
    keeping: Keeping,
) -> None:
    stages, job_id = keeping.stages, await keeping.done()
    await keeping.rule("stock.*", shred_after=100, archive_after=200)
    stages.clock.pass_seconds(90)
    assert await keeping.look() == 0
    stages.clock.pass_seconds(20)
    assert await keeping.look() == 1
    job = await stages.job(job_id)
    assert job.shredded is not None
    assert (job.shredded.by, job.status) == ("retention", JobStatus.COMPLETED)
    assert job.shredded.reason == "the rule of all tenants for stock.*: 100 seconds at rest"
    assert await keeping.look() == 0
    stages.clock.pass_seconds(100)
    assert await keeping.look() == 1
    job = await stages.job(job_id)
    assert (job.status, job.ended, job.counts.succeeded) == (
        JobStatus.ARCHIVED,
        JobStatus.COMPLETED,
        30,
    )
    assert await keeping.look() == 0
    done = {act: many for act, many in keeping.retained.counted.items() if many}
    assert done == {"shred": 1, "archive": 1}


async def test_what_others_wait_for_and_the_jobs_of_a_batch_that_goes_on_are_left(
    keeping: Keeping,
) -> None:
    stages, job_id = keeping.stages, await keeping.done()
    options = {"after": [{"job_id": job_id}], "start_at": "2030-01-01T00:00:00Z"}
    waiting = await stages.submit("stock.create", [{"name": "x"}], options=options)
    batch = await submit(
        stages, step("first"), step("late", options={"start_at": options["start_at"]})
    )
    await stages.run_dry()
    await keeping.rule(shred_after=0, archive_after=0)
    first = (await children(stages, batch))["first"]
    assert first.status is JobStatus.COMPLETED
    await keeping.look()
    assert (await stages.job(first.id)).shredded is None
    assert (await stages.job(first.id)).status is JobStatus.COMPLETED
    for still in (waiting, batch):
        (await stages.command(CancelJob, still)).accepted()
    await stages.run_dry()
    while await keeping.look():
        pass
    assert (await stages.job(first.id)).status is JobStatus.ARCHIVED
    assert (await stages.job(job_id)).status is JobStatus.ARCHIVED


async def test_the_rule_of_a_batch_does_not_put_away_what_a_rule_keeps(keeping: Keeping) -> None:
    stages = keeping.stages
    batch = await submit(stages, step("first"))
    await stages.run_dry()
    await keeping.rule(archive_after=0)
    await keeping.rule("stock.create")
    await keeping.look()
    await keeping.look()
    assert (await children(stages, batch))["first"].status is JobStatus.COMPLETED
    assert (await stages.job(batch)).status is JobStatus.COMPLETED


async def test_what_is_held_is_left_out_and_counts_from_its_rest_once_it_is_released(
    keeping: Keeping,
) -> None:
    stages, job_id = keeping.stages, await keeping.done()
    await keeping.rule(shred_after=100)
    (await stages.command(HoldJob, job_id, reason="case 17")).accepted()
    stages.clock.pass_seconds(1000)
    assert await keeping.look() == 0
    (await stages.command(ReleaseJob, job_id, reason="closed")).accepted()
    assert await keeping.look() == 1
    assert (await stages.job(job_id)).shredded is not None


async def test_a_hold_that_comes_first_is_heeded_and_is_asked_again_after_it(
    keeping: Keeping,
) -> None:
    stages, job_id = keeping.stages, await keeping.done()
    await keeping.rule(archive_after=0)
    assert await keeping.retainer.look() == 1
    (await stages.command(HoldJob, job_id)).accepted()
    await stages.run_dry()
    assert (await stages.job(job_id)).status is JobStatus.COMPLETED
    (await stages.command(ReleaseJob, job_id)).accepted()
    assert await keeping.look() == 1
    assert (await stages.job(job_id)).status is JobStatus.ARCHIVED


@pytest.mark.parametrize("ages", [{"shred_after": 100.0}, {"archive_after": 100.0}], ids=str)
async def test_a_job_that_was_worked_again_since_it_was_found_has_its_time_anew(
    keeping: Keeping, ages: dict[str, float]
) -> None:
    stages = keeping.stages
    job_id = await stages.submit("stock.create", [*NAMES, {"name": "!no"}])
    await stages.run_dry()
    await keeping.rule(**ages)
    stages.clock.pass_seconds(200)
    assert await keeping.retainer.look() == 1
    late = [*stages.bus]
    stages.bus.clear()
    (await stages.command(RetryJob, job_id)).accepted()
    await stages.run_dry()
    before = await stages.job(job_id)
    assert before.status.terminal
    with structlog.testing.capture_logs() as logs:
        for message in late:
            await stages.deliver(message)
    assert (await stages.job(job_id), logs) == (before, [])
    assert await keeping.look() == 0
    stages.clock.pass_seconds(110)
    assert await keeping.look() == 1
    after = await stages.job(job_id)
    assert (after.shredded or after.archived) is not None


async def test_what_is_due_for_both_is_shredded_and_archived_at_one_look(keeping: Keeping) -> None:
    job_id = await keeping.done()
    await keeping.rule(shred_after=0, archive_after=0)
    assert await keeping.look() == 2
    assert await keeping.stages.kinds(job_id) == [
        *(await keeping.stages.kinds(job_id))[:-2],
        *("job.shredded", "job.archived"),
    ]


async def test_who_writes_files_holds_up_no_shredding(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = asyncio.Queue[None]()

    async def hangs(_: Archivist) -> None:
        await asyncio.Event().wait()

    async def looked(_: Retainer) -> None:
        looks.put_nowait(None)

    monkeypatch.setattr(Archivist, "look", hangs)
    monkeypatch.setattr(Retainer, "look", looked)
    settings = Settings(data_dir=tmp_path, archive_dir=tmp_path / "archives", sweep=0.01)
    base = parts.Base.of(settings, Registry(), database, None)
    loops = parts.retaining(base, cast("Any", None), lambda: None, Retained())
    async with background(loops), asyncio.timeout(10):
        for _ in range(3):
            await looks.get()


async def test_the_closest_rule_governs_each_job(keeping: Keeping) -> None:
    stages = keeping.stages
    await keeping.rule(archive_after=10)
    await keeping.rule("stock.put")
    await keeping.rule("stock.*", tenant="north", archive_after=500)
    plain = await keeping.done()
    kept_for_ever = await keeping.done("stock.put")
    north = await keeping.done(tenant="north")
    stages.clock.pass_seconds(100)
    assert await keeping.look() == 1
    told = {job_id: (await stages.job(job_id)).status for job_id in (plain, kept_for_ever, north)}
    assert told[plain] is JobStatus.ARCHIVED
    assert JobStatus.ARCHIVED not in (told[kept_for_ever], told[north])
    stages.clock.pass_seconds(500)
    assert await keeping.look() == 1
    assert (await stages.job(north)).status is JobStatus.ARCHIVED


async def test_some_are_asked_at_a_time_and_who_does_not_go_keeps_nobody_else(
    keeping: Keeping,
) -> None:
    stages = keeping.stages
    jobs = {await stages.submit("stock.create", [{"name": "x"}]) for _ in range(45)}
    await stages.run_dry()
    await keeping.rule(archive_after=0)
    asked: list[set[str]] = []
    for _ in range(4):
        await keeping.retainer.look()
        # Nobody decides on them.
        asked.append({document(message)["job_id"] for message in stages.bus})
        stages.bus.clear()
    assert [len(some) for some in asked] == [retaining.JOBS_AT_ONCE, retaining.JOBS_AT_ONCE, 5, 20]
    assert set.union(*asked[:3]) == jobs


async def test_a_batch_goes_with_its_jobs_and_not_while_one_is_held(keeping: Keeping) -> None:
    stages = keeping.stages
    batch = await submit(stages, step("first"), step("second", "first"))
    await stages.run_dry()
    jobs = await children(stages, batch)
    (await stages.command(HoldJob, jobs["second"].id, reason="case 17")).accepted()
    await stages.run_dry()
    await keeping.rule("batch.steps", archive_after=0)
    await keeping.look()
    assert (await stages.job(batch)).status is JobStatus.COMPLETED
    (await stages.command(ReleaseJob, jobs["second"].id)).accepted()
    await stages.run_dry()
    # The same is asked of the same batch, and answered in the same words, for a while.
    assert await keeping.look() == 1
    assert (await stages.job(batch)).status is JobStatus.COMPLETED
    stages.clock.pass_seconds(retaining.ASKED_AGAIN)
    assert await keeping.look() == 1
    told = [(await stages.job(job_id)).status for job_id in (batch, *(j.id for j in jobs.values()))]
    assert told == [JobStatus.ARCHIVED] * 3


async def test_jobs_of_an_operation_that_is_gone_are_kept_by_the_rules_as_well(
    keeping: Keeping,
) -> None:
    stages, job_id = keeping.stages, await keeping.done()
    await keeping.rule(shred_after=0)
    stages.registry = Registry()
    stages.restart()
    await keeping.look()
    assert (await stages.job(job_id)).shredded is not None


OLD, NEW = create.kind, "stock.make"


def upgraded(keeping: Keeping) -> Keeping:
    """The same installation with the next release, which calls an operation otherwise."""
    made = replace(create, kind=NEW, formerly=(OLD,))
    keeping.stages.registry = Registry([made if one is create else one for one in operations])
    keeping.stages.restart()
    return replace(keeping)


@pytest.mark.parametrize("kind", [OLD, NEW])
async def test_a_rule_of_a_present_or_a_former_name_holds_for_jobs_that_are_stored_under_both(
    keeping: Keeping, kind: str
) -> None:
    before = await keeping.done(OLD)
    keeping = upgraded(keeping)
    jobs = [before, await keeping.done(OLD), await keeping.done(NEW)]
    await keeping.rule(kind, shred_after=0)
    while await keeping.look():
        pass
    assert all([(await keeping.stages.job(job_id)).shredded for job_id in jobs])


@pytest.mark.parametrize("ages", [{"shred_after": 0.0}, {"archive_after": 0.0}], ids=str)
async def test_what_a_rule_keeps_is_kept_when_its_operation_has_another_name(
    keeping: Keeping, ages: dict[str, float]
) -> None:
    await keeping.rule(**ages)
    await keeping.rule(OLD)
    keeping = upgraded(keeping)
    job_id = await keeping.done(NEW)
    batch = await submit(keeping.stages, step("first", operation=NEW))
    await keeping.stages.run_dry()
    while await keeping.look():
        pass
    for each in (job_id, (await children(keeping.stages, batch))["first"].id):
        job = await keeping.stages.job(each)
        assert (job.status, job.shredded) == (JobStatus.COMPLETED, None)


async def test_no_file_has_what_the_rule_of_a_former_name_says_is_to_be_shredded(
    keeping: Keeping,
) -> None:
    await keeping.rule(OLD, shred_after=100)
    keeping = upgraded(keeping)
    job_id = await keeping.done(NEW)
    (await keeping.stages.command(ArchiveJob, job_id)).accepted()
    await keeping.archive()
    assert keeping.files(job_id) == []
    keeping.stages.clock.pass_seconds(200)
    assert await keeping.look() == 1
    await keeping.archive()
    assert len(keeping.files(job_id)) == 1


async def test_who_has_changed_a_rule_is_noted_beside_it(keeping: Keeping) -> None:
    retention = keeping.retention
    await keeping.rule("stock.*", shred_after=100)
    await keeping.rule("stock.*", shred_after=50, archive_after=60)
    await retention.remove_rule("*", "stock.*", actor="grace", reason="the law has\0changed")
    with pytest.raises(RuleNotFound, match="retention list"):
        await retention.remove_rule("*", "stock.*", actor="grace", reason="")
    assert await retention.rules() == []
    page, following = await retention.changes(None, 2)
    assert [(c.action, c.actor, c.shred_after, c.archive_after) for c in page] == [
        ("remove", "grace", 50, 60),
        ("set", "ops", 50, 60),
    ]
    assert page[0].reason == "the law has\N{REPLACEMENT CHARACTER}changed"
    assert following == page[-1].number
    rest, following = await retention.changes(following, 2)
    assert ([c.shred_after for c in rest], following) == ([100], None)


async def test_a_rule_for_nothing_is_refused(keeping: Keeping) -> None:
    for kind in ("stock.creat", "stck.*"):
        with pytest.raises(InvalidCommand, match="no installed operation") as refused:
            await keeping.rule(kind, shred_after=1)
        assert refused.value.pointer == "/kind"
    assert (await keeping.retention.changes(None, 10))[0] == []


async def test_there_are_so_many_rules_at_most(keeping: Keeping) -> None:
    def fill(connection: object) -> None:
        from streams.stores import retention

        for number in range(MAX_RULES):
            rule = Rule(tenant=f"t{number}", shred_after=1)
            retention.set_rule(connection, rule, actor="ops", reason="", now=0.0)  # type: ignore[arg-type]

    await keeping.stages.database.write(fill)
    with pytest.raises(InvalidCommand, match="500 rules already"):
        await keeping.rule(shred_after=1)
    await keeping.rule(tenant="t7", shred_after=2)
    assert len(await keeping.retention.rules()) == MAX_RULES
