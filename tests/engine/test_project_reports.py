"""Reports of a project say what its items and its history say one by one, on both databases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.errors import InvalidCommand, RecordNotFound
from domain.events import JobStatus
from domain.outcomes import ItemStatus
from domain.permissions import Permission
from domain.registry import Registry
from domain.systems.annotations import operations, tables
from domain.systems.annotations.kinds import ANNOTATIONS, IN_PROJECTS, LABELS, TEXTS
from domain.systems.annotations.periods import Bucket, Period, period_of
from streams.bootstrap import embedded
from streams.callers import Caller
from streams.settings import Settings
from streams.stores import read_model
from streams.stores.records import record_history
from streams.systems.annotations import figures
from streams.systems.annotations.reports import Activity, Reports, Tally
from tests.engine.conftest import CALLER, Desk
from tests.stored_events import BEGIN

EVE = Caller("local", "eve", frozenset({Permission.PARTICIPATE}))
ADA = Caller("local", "ada", frozenset(Permission))
STATUSES = ("pending", "succeeded", "failed", "skipped", "rolled_back", "conflict")


async def test_figures_are_those_of_the_items_and_of_the_history(settings: Settings) -> None:
    async with embedded(settings, Registry(operations)) as engine:
        desk = Desk(engine)
        project_id, jobs = await _scenario(desk)
        await _listed(desk)
        period = period_of(None, engine.clock.now() + timedelta(minutes=1), None, BEGIN)
        reports, codes = engine.annotations.reports, Counter[str]()
        items = Counter[str]()
        for job_id in jobs:
            async for item in engine.queries.items("local", job_id):
                items[item.status.value] += 1
                if item.status is ItemStatus.FAILED and item.error is not None:
                    codes[item.error.code] += 1
        assert items["rolled_back"] == 3
        assert codes.total() == 2

        summary = await reports.summary(ADA, project_id, period)
        assert {name: summary.all.items[name] for name in STATUSES} == {
            name: items[name] for name in STATUSES
        }
        assert (summary.all.jobs, summary.all.ended, summary.all.settled) == (4, 4, items.total())
        assert summary.all.statuses == {
            "completed": 2,
            "completed_with_errors": 1,
            "rolled_back": 1,
        }
        assert summary.by_operation["annotations.create"].jobs == 2

        errors = await reports.errors(ADA, project_id, period, engine.queries.errors)
        assert {each.code: each.items for each in errors.codes} == codes
        assert (errors.jobs, errors.looked_at, errors.failed, errors.untold) == (1, 1, 2, 0)

        # Of the first job 4 went well and 3 failed, then one of those; 3 were made and taken back.
        points = await reports.trend(ADA, project_id, period)
        assert len(points) == (period.end - period.start) // 86_400 == 8
        outcomes = sum((Counter(point.outcomes) for point in points), Counter[str]())
        assert outcomes == {"succeeded": 4 + 1 + 3 + 2 + 1, "failed": 3 + 2, "rolled_back": 3}
        assert sum(point.busy_seconds for point in points) > 0

        activity = await reports.activity(ADA, project_id, period)
        assert _told(activity) == await _naive(desk)
        assert {user.user: user.jobs for user in activity.users} == {"ada": 0, "tester": 4}
        await _nothing_elsewhere(reports, project_id, period)


async def _scenario(desk: Desk) -> tuple[int, list[str]]:
    """A project with failures, a retry of them, a change, a deletion, and an undo."""
    platform, content = desk.engine.annotations, "Ada wrote to Charles."
    project_id = (await platform.create_project(ADA, {"name": "letters"}))["id"]
    await platform.create(ADA, project_id, TEXTS, {"content": content})
    await platform.create(ADA, project_id, LABELS, {"name": "PERSON"})
    of_project: dict[str, Any] = {"params": {"project_id": project_id}}

    def span(text_id: int, start: int) -> dict[str, Any]:
        return {"text_id": text_id, "label_id": 1, "start_char": start, "end_char": start + 3}

    spans = [*(span(1, start) for start in range(4)), span(1, 99), span(2, 0), span(9, 0)]
    first = await desk.submit("annotations.create", spans, **of_project)
    await desk.settle(first)
    await platform.create(ADA, project_id, TEXTS, {"content": content})
    await desk.command(first, "retry")
    await _settled_again(desk, first)
    undone = await desk.submit("annotations.create", [span(1, 5)] * 3, **of_project)
    await desk.settle(undone)
    await desk.command(undone, "undo")
    await _settled_again(desk, undone)
    changes = [{"id": key, "confidence_score": 0.5} for key in (1, 2)]
    changed = await desk.submit("annotations.update", changes, **of_project)
    await desk.settle(changed)
    deleted = await desk.submit("annotations.delete", [{"id": 3}], **of_project)
    await desk.settle(deleted)
    await platform.change(ADA, project_id, ANNOTATIONS, 1, {"confidence_score": 1}, version=None)
    await platform.delete(ADA, project_id, ANNOTATIONS, 4, version=None)
    return project_id, [first, undone, changed, deleted]


async def _settled_again(desk: Desk, job_id: str) -> None:
    """A verb is accepted before it is at work, and the job in rest until then."""
    await desk.when(
        "SELECT 1 FROM events WHERE alias = 'job.finished' AND version = "
        f"(SELECT max(version) FROM events WHERE job_id = '{job_id}') AND job_id = '{job_id}'"
    )


async def _listed(desk: Desk) -> None:
    async def behind() -> int:
        return await desk.engine.database.read(read_model.lag)

    while await behind():
        await desk.when("SELECT 1")


def _told(activity: Activity) -> Counter[tuple[str, str, str]]:
    return Counter(
        {
            (user.user, kind, verb): count
            for user in activity.users
            for kind, written in user.records.items()
            for verb, count in written.items()
            if count
        }
    )


async def _naive(desk: Desk) -> Counter[tuple[str, str, str]]:
    """Each record's history, one after the other."""
    found = Counter[tuple[str, str, str]]()
    for table in (tables.projects, *(kind.table for kind in IN_PROJECTS)):
        for key in range(1, 12):
            for entry in await desk.engine.database.read(
                lambda c, table=table, key=key: record_history(c, table, key)
            ):
                verb = (
                    "deleted" if entry.deleted else "created" if entry.version == 1 else "changed"
                )
                found[entry.writer.actor, table.name, verb] += 1
    # The founder's membership comes with the project.
    assert found["ada", "members", "created"] == 1
    return found


async def _nothing_elsewhere(reports: Reports, project_id: int, period: Period) -> None:
    """Other times have nothing, and others do not see it."""
    early = period_of(BEGIN, BEGIN + timedelta(hours=3), Bucket.HOUR, BEGIN)
    summary = await reports.summary(ADA, project_id, early)
    assert (summary.all.jobs, summary.by_operation) == (0, {})
    points = await reports.trend(ADA, project_id, early)
    assert [(point.items, point.busy_seconds) for point in points] == [(0, 0.0)] * 3
    assert (await reports.activity(ADA, project_id, early)).users == []
    asked: list[Callable[[Caller], Awaitable[Any]]] = [
        lambda who: reports.summary(who, project_id, period),
        lambda who: reports.trend(who, project_id, period),
        lambda who: reports.activity(who, project_id, period),
    ]
    for ask in asked:
        for stranger in (EVE, Caller("other", "ada", frozenset(Permission))):
            with pytest.raises(RecordNotFound):
                await ask(stranger)


async def test_each_question_is_answered_by_an_index(settings: Settings) -> None:
    period = period_of(None, None, None, BEGIN)
    asked = ("local", 1, period)
    statements = {
        "project_jobs_created": (
            figures.jobs_by_status(*asked),
            figures.jobs_by_actor(*asked),
            figures.failures(*asked),
            figures.failed_jobs(*asked, 200),
        ),
        "project_hours_hour": (figures.outcomes_by_hour(*asked), figures.writes_by_jobs(*asked)),
        "writers_job": (figures.writes_by_jobs(*asked),),
        "project_edits": (figures.edits(*asked),),
    }
    async with embedded(settings, Registry(operations)) as engine:
        sqlite = engine.database.is_sqlite

        def plan(connection: Any, statement: Any) -> str:
            text = str(statement.compile(connection, compile_kwargs={"literal_binds": True}))
            if not sqlite:
                # With nothing in the tables a scan is as good as an index; what counts is
                # whether there is one that does.
                connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            how = "EXPLAIN QUERY PLAN " if sqlite else "EXPLAIN "
            return "\n".join(str(row) for row in connection.exec_driver_sql(how + text).all())

        for index, those in statements.items():
            for statement in those:
                found = await engine.database.read(lambda c, s=statement: plan(c, s))
                assert index in found, found
                for table in (
                    "project_jobs",
                    "project_hours",
                    "project_edits",
                    "history",
                    "events",
                ):
                    assert f"SCAN {table}" not in found, found
                    assert f"Seq Scan on {table}" not in found, found


async def test_a_job_that_is_put_away_counts_as_what_it_had_ended_as(settings: Settings) -> None:
    async with embedded(settings, Registry(operations)) as engine:
        desk = Desk(engine)
        project_id, jobs = await _scenario(desk)
        await _listed(desk)
        period = period_of(None, engine.clock.now() + timedelta(minutes=1), None, BEGIN)
        before = await engine.annotations.reports.summary(ADA, project_id, period)
        for job_id in jobs:
            await engine.gateway.command(CALLER, job_id, "archive", "the season is over")
            await desk.until(job_id, JobStatus.ARCHIVED)
            for verb in ("hold", "release"):
                await engine.gateway.command(CALLER, job_id, verb, "for the court")
                await desk.when(
                    f"SELECT 1 FROM events WHERE job_id = '{job_id}' "
                    f"AND alias = 'job.{'held' if verb == 'hold' else 'released'}'"
                )
        await _listed(desk)
        assert await engine.annotations.reports.summary(ADA, project_id, period) == before


def test_what_an_earlier_release_has_put_away_is_in_no_rate() -> None:
    tally = Tally(4, {"completed": 2, "failed": 1, "archived": 1}, {})
    assert tally.ended == 3


@pytest.mark.parametrize(
    ("since", "until", "bucket", "length"),
    [
        (BEGIN, BEGIN + timedelta(days=366), None, 367),
        (BEGIN, BEGIN + timedelta(days=32), Bucket.HOUR, 0),
        (BEGIN, BEGIN, None, 0),
        (None, BEGIN - timedelta(days=30_000), None, 0),
        (None, datetime.min.replace(tzinfo=UTC), None, 0),
        (None, datetime.max.replace(tzinfo=UTC), None, 0),
        (BEGIN, BEGIN + timedelta(hours=48), None, 48),
        (BEGIN, BEGIN + timedelta(hours=49), None, 3),
        (None, None, None, 8),
    ],
)
def test_a_period_is_whole_buckets_and_has_a_bound(
    since: Any, until: Any, bucket: Any, length: int
) -> None:
    if length in (0, 367):
        with pytest.raises(InvalidCommand, match=r"(from|to) must be|at most"):
            period_of(since, until, bucket, BEGIN)
        return
    assert len(list(period_of(since, until, bucket, BEGIN).buckets())) == length
