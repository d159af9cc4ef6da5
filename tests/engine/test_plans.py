"""A plan is applied as it was found, once, and refuses when what it has seen has changed."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection

from domain.commands import Edit, JobSpec, RetryJob, Selection
from domain.errors import InvalidCommand, PlanApplied, PlanChanged, WrongState
from domain.events import JobStatus
from domain.job import Job
from domain.records import Change, Writer
from domain.registry import Registry
from domain.steps import BATCH, Needs, Step
from streams.plans import Plans
from streams.queries import Queries
from streams.stores import migrate
from streams.stores.database import Database
from streams.stores.records import SqlRecords
from tests.databases import database
from tests.engine.conftest import CALLER, Desk, lines
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock

__all__ = ["database"]

DRY = {"dry_run": True}


async def _stock(desk: Desk, many: int = 3) -> None:
    items = [{"name": f"n{n}", "amount": n} for n in range(many)]
    await desk.settle(await desk.submit("stock.create", items))


async def _dry(desk: Desk, operation: str, items: list[Any], **options: Any) -> Job:
    return await desk.settle(await desk.submit(operation, items, options=DRY | options))


async def _apply(desk: Desk, plan: Job, *, key: str | None = None) -> str:
    plans: Plans = desk.engine.plans
    spec = await plans.to_apply("local", plan.id, None)
    decision = await desk.engine.gateway.submit(
        CALLER, spec, plans.lines("local", plan.id), key=key
    )
    return decision.job_id


async def _views(desk: Desk, job_id: str) -> list[tuple[str, str | None]]:
    return [
        (view.status.value, view.error.code if view.error else None)
        async for view in desk.engine.queries.items("local", job_id)
    ]


async def _amounts(desk: Desk) -> list[int]:
    return [row[0] for row in await desk.rows("SELECT amount FROM stock ORDER BY id")]


async def test_a_plan_is_applied_with_what_it_has_found_good_and_nothing_else(desk: Desk) -> None:
    await _stock(desk)
    items = [{"id": 1, "amount": 10}, {"id": 4, "amount": 1}, {"id": 3, "amount": 30}]
    plan = await _dry(desk, "stock.add", items)
    assert "apply" in plan.possible()
    # What would have failed might succeed by now, and nobody has seen what that would do.
    await _stock(desk, 1)
    job = await desk.settle(await _apply(desk, plan))

    assert await _amounts(desk) == [10, 1, 32, 0]
    assert await _views(desk, job.id) == [
        ("succeeded", None),
        ("skipped", "skipped"),
        ("succeeded", None),
    ]
    assert job.options.plan is not None
    assert job.options.plan.job_id == plan.id
    await desk.command(job.id, "undo")
    await desk.until(job.id, JobStatus.ROLLED_BACK)
    assert await _amounts(desk) == [0, 1, 2, 0]


async def test_it_refuses_and_names_the_records_that_have_changed(desk: Desk) -> None:
    await _stock(desk, 15)
    items = [{"id": n, "amount": 1} for n in range(1, 16)]
    plan = await _dry(desk, "stock.add", items)
    await desk.settle(await desk.submit("stock.add", [{"id": 2, "amount": 5}]))
    await desk.settle(await desk.submit("stock.remove", [{"id": 4, "amount": 0}]))
    before = await _amounts(desk)
    with pytest.raises(PlanChanged) as refused:
        await _apply(desk, plan)
    assert "stock/2 is at version 2 (planned at 1), stock/4 is gone (planned at 1)" in str(
        refused.value
    )
    assert await _amounts(desk) == before
    view = await desk.engine.plans.plan("local", plan.id)
    assert [(record.record, record.version) for record in view.changed] == [(2, 2), (4, None)]
    assert view.applied_by is None
    await desk.settle(await desk.submit("stock.add", items))
    with pytest.raises(PlanChanged, match=r"stock/10 .* and more"):
        await _apply(desk, plan)


async def test_one_that_is_refused_leaves_nothing_of_items_that_are_sent_twice(desk: Desk) -> None:
    await _stock(desk)
    items = [{"id": n % 3 + 1, "amount": 1} for n in range(9)]
    plan = await _dry(desk, "stock.add", items, key="/id", duplicates="first")
    assert await desk.rows("SELECT DISTINCT job_id FROM repeated_items") == [(plan.id,)]
    await desk.settle(await desk.submit("stock.add", [{"id": 2, "amount": 5}]))
    with pytest.raises(PlanChanged):
        await _apply(desk, plan)
    assert await desk.rows("SELECT DISTINCT job_id FROM repeated_items") == [(plan.id,)]


async def test_one_that_is_refused_for_items_that_are_sent_twice_may_be_applied_after_it(
    desk: Desk,
) -> None:
    await _stock(desk)
    plan = await _dry(desk, "stock.add", [{"id": 1, "amount": 1}] * 2)
    spec = await desk.engine.plans.to_apply("local", plan.id, None)
    keyed = spec.model_copy(update={"options": spec.options.model_copy(update={"key": "/id"})})
    sent = desk.engine.plans.lines("local", plan.id)
    with pytest.raises(InvalidCommand, match="same /id"):
        await desk.engine.gateway.submit(CALLER, keyed, sent, key=None)
    assert (await desk.settle(await _apply(desk, plan))).counts.succeeded == 2


async def test_a_record_that_changes_after_the_start_fails_its_items_alone(
    database: Database,
) -> None:
    migrate.create_missing(database, [stock])
    stages = Stages(database, Registry(operations))
    queries = Queries(database, stages.jobs, stages.registry)
    things = [{"name": f"n{n}", "amount": n} for n in range(1, 6)]
    await stages.submit("stock.create", things)
    items = [{"id": n, "amount": 100} for n in (1, 2, 3, 2, 5)]
    dry = await stages.submit("stock.add", items, options=DRY)
    await stages.run_dry()
    plan = await Plans(database, queries, stages.registry).plan("local", dry)

    named = {"job_id": dry, "digest": plan.digest}
    job_id = await stages.submit("stock.add", items, options={"plan": named})
    # Accepted and on its way: now somebody is quicker.
    await database.write(lambda found: _edit(found, 2))
    await database.write(lambda found: _edit(found, 5))
    await stages.run_dry()

    views = [view async for view in queries.items("local", job_id)]
    assert [view.status.value for view in views] == [
        "succeeded",
        "failed",
        "succeeded",
        "failed",
        "failed",
    ]
    fault = views[1].error
    assert fault is not None
    assert fault.code == "changed_since_plan"
    assert "stock/2 was changed by anna after the dry run had seen version 1" in fault.message
    left = await stages.rows("SELECT id, amount, version FROM stock ORDER BY id")
    assert left == [(1, 101, 2), (2, 0, 2), (3, 103, 2), (4, 4, 1), (5, 0, 2)]

    # Another body is no part of the plan, and would be under its name.
    edit = Edit(item=1, body={"id": 4, "amount": 9})
    retry = RetryJob(
        command_id="edited",
        job_id=job_id,
        tenant="local",
        actor="tester",
        select=Selection(edits=(edit,)),
    )
    await stages.coordinator.handle(retry)
    problem = stages.decisions["edited"].problem
    assert problem is not None
    assert "its items stay as they are" in problem["message"]


def _edit(connection: Connection, record: int) -> None:
    records = SqlRecords(connection, Writer("local", "anna"), 0.0)
    records.update(stock, [Change(record, {"amount": 0})])


async def _digest(desk: Desk, plan: Job) -> str:
    return (await desk.engine.plans.plan("local", plan.id)).digest


async def test_it_is_applied_once_and_the_same_key_is_the_same_job(desk: Desk) -> None:
    await _stock(desk, 1)
    plan = await _dry(desk, "stock.create", [{"name": "x"}])
    first = await _apply(desk, plan, key="k")
    assert await _apply(desk, plan, key="k") == first
    await desk.settle(first)
    assert await _apply(desk, plan, key="k") == first
    with pytest.raises(PlanApplied, match=f"job {first} does what dry run {plan.id} has planned"):
        await _apply(desk, plan, key="another")
    assert len(await _amounts(desk)) == 2


async def test_items_that_meet_in_a_record_do_not_refuse_one_another(desk: Desk) -> None:
    await _stock(desk, 1)
    items = [{"id": 1, "amount": n} for n in (1, 2, 3, 4)]
    for options in ({}, {"chunk_size": 1}):
        plan = await _dry(desk, "stock.add", items, **options)
        job = await desk.settle(await _apply(desk, plan))
        assert job.counts.succeeded == 4
    assert await _amounts(desk) == [20]


async def test_the_digest_tells_of_verdicts_and_versions_alone(desk: Desk) -> None:
    await _stock(desk)
    items = [{"id": n, "amount": 1} for n in (1, 2, 3, 4)]
    first = await _digest(desk, await _dry(desk, "stock.add", items))
    assert await _digest(desk, await _dry(desk, "stock.add", items, chunk_size=1)) == first
    others = items[:3]
    assert await _digest(desk, await _dry(desk, "stock.add", others)) != first
    await desk.settle(await desk.submit("stock.add", items[:1]))
    assert await _digest(desk, await _dry(desk, "stock.add", items)) != first


async def test_what_is_no_finished_dry_run_is_no_plan(desk: Desk) -> None:
    plans = desk.engine.plans
    real = await desk.settle(await desk.submit("stock.create", [{"name": "x"}]))
    with pytest.raises(
        WrongState, match=r"completed and no dry run.*possible: archive, hold, shred, undo"
    ):
        await plans.to_apply("local", real.id, None)
    bad = await _dry(desk, "stock.create", [{"name": "!"}])
    with pytest.raises(
        WrongState, match="failed: apply is not possible; possible: archive, hold, shred"
    ):
        await plans.to_apply("local", bad.id, None)
    good = await _dry(desk, "stock.create", [{"name": "y"}])
    with pytest.raises(PlanChanged, match="the digest of plan"):
        await plans.to_apply("local", good.id, "0" * 64)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"items": [{"name": "other"}]}, "must be those of the plan"),
        ({"operation": "stock.add"}, "must be those of the plan"),
        ({"digest": "0" * 64}, "the digest of plan"),
        ({"job_id": "nobody"}, "nobody is no plan"),
        ({"dry_run": True}, "either a dry run or"),
    ],
)
async def test_a_plan_that_is_named_by_hand_is_checked(
    desk: Desk, changes: dict[str, Any], complaint: str
) -> None:
    items = [{"name": "x"}]
    plan = await _dry(desk, "stock.create", items)
    named = {"job_id": plan.id, "digest": await _digest(desk, plan)}
    named |= {key: value for key, value in changes.items() if key in named}
    options = {"plan": named, "dry_run": changes.get("dry_run", False)}
    spec = JobSpec(operation=changes.get("operation", "stock.create"), options=options)
    given = lines(changes.get("items", items))
    with pytest.raises((InvalidCommand, PlanChanged), match=complaint):
        await desk.engine.gateway.submit(CALLER, spec, given, key=None)
    assert await _amounts(desk) == []


async def test_a_draft_in_parts_is_planned_and_applied_as_a_whole(desk: Desk) -> None:
    gateway = desk.engine.gateway
    spec = JobSpec(operation="stock.create", options=DRY)
    draft = (await gateway.open(CALLER, spec, key=None)).job_id
    for part in range(3):
        await gateway.append(CALLER, draft, part, lines([{"name": f"p{part}"}] * 2))
    await gateway.seal(CALLER, draft, 6)
    job = await desk.settle(await _apply(desk, await desk.settle(draft)))
    assert job.counts.succeeded == 6
    names = await desk.rows("SELECT name FROM stock ORDER BY id")
    assert [name for (name,) in names] == ["p0", "p0", "p1", "p1", "p2", "p2"]


async def test_the_plan_of_a_step_is_applied_by_a_job_of_its_own(desk: Desk) -> None:
    await _stock(desk, 2)
    steps = (
        Step(name="first", operation="stock.create"),
        Step(
            name="second",
            operation="stock.add",
            options=DRY,
            after=(Needs(step="first", consume={"id": "id", "amount": "id"}),),
            priority=9,
        ),
        Step(name="third", operation="stock.create", options=DRY, after=("second",)),
    )
    items = [lines([{"name": "x", "amount": 5}]), None, lines([{"name": "y"}])]
    spec = JobSpec(operation=BATCH, name="spring", tags=("shop",), steps=steps)
    batch = (await desk.engine.gateway.submit_batch(CALLER, spec, items, key=None)).job_id
    await desk.settle(batch)
    for number, was in ((2, "second"), (3, "third")):
        dry = await desk.job(f"{batch}-{number}")
        assert "apply" in dry.possible()
        job = await desk.settle(await _apply(desk, dry))
        assert (job.status, job.spec.name) == (JobStatus.COMPLETED, was)
        assert (job.spec.parent, job.spec.tags) == (None, ("shop",))
        assert job.spec.priority == dry.spec.priority
    assert await _amounts(desk) == [0, 1, 8, 0]
    assert len((await desk.job(batch)).children) == 3
    assert (await desk.job(batch)).counts.total == 3, "the batch has not become larger"
