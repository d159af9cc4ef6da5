"""Batches in the engine: their order, their whole, and their undo, whoever dies in between."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text, update

from domain.approval import ApprovalPolicy
from domain.commands import (
    ApproveJob,
    ArchiveJob,
    CancelJob,
    InlineItems,
    JobSpec,
    PauseJob,
    ResumeJob,
    RetryJob,
    SentStep,
    SubmitJob,
    UndoJob,
    UndoSelection,
)
from domain.errors import (
    CommandRefused,
    IdempotencyConflict,
    InvalidCommand,
    JobNotFound,
    NotReversible,
    UnsupportedVersion,
    WrongState,
)
from domain.events import JobStatus
from domain.job import Job
from domain.operation import Context, Reversible, operation
from domain.outcomes import Done, Result
from domain.registry import Registry
from streams.stores import migrate
from streams.stores.database import Database
from streams.stores.schema import events
from tests.databases import as_owner, damage, database, database_url
from tests.engine.batches import BAD, GOOD, children, statuses, step, submit
from tests.engine.stages import Stages, document
from tests.engine.stock import Number, operations, stock

__all__ = ["database", "database_url"]

DIAMOND = (
    step("last", "left", "right"),
    step("left", "first"),
    step("right", "first"),
    step("first"),
)


@operation("stock.finalize", item=Number, tables=[stock], reversible=Reversible.NO)
def finalize(ctx: Context, item: Number) -> Result:
    """Makes what no undo puts back."""
    ctx.store.insert(stock, ["name", "amount"], [("final", item.number)], [ctx.position])
    return Done()


@operation("stock.look", item=Number, read_only=True)
def look(_ctx: Context, item: Number) -> Result:
    """Reads, and changes nothing."""
    return Done({"number": item.number})


@pytest.fixture(params=[False, True], ids=["alone", "shared"])
def stages(database: Database, request: pytest.FixtureRequest) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry([*operations, finalize, look]), shared=request.param)


async def _things(stages: Stages) -> int:
    ((number,),) = await stages.rows("SELECT count(*) FROM stock")
    return int(number)


async def _ask(stages: Stages, kind: Any, job_id: str, **fields: Any) -> None:
    (await stages.command(kind, job_id, **fields)).accepted()


async def _undone(stages: Stages, batch: str) -> list[str]:
    """The steps whose undo has begun, in that order."""
    rows = await stages.rows(
        "SELECT job_id FROM events WHERE alias = 'job.undo_started' ORDER BY id"
    )
    names = {job.id: name for name, job in (await children(stages, batch)).items()}
    return [names[job_id] for (job_id,) in rows if job_id in names]


async def test_steps_go_in_their_order_and_the_batch_is_the_sum_of_them(stages: Stages) -> None:
    batch = await submit(stages, *DIAMOND, name="a diamond")
    assert (await stages.job(batch)).counts.pending == 12
    await stages.run_dry()
    job, steps = await stages.job(batch), await children(stages, batch)
    assert (job.status, job.counts.succeeded) == (JobStatus.COMPLETED, 12)
    for behind, *before in (("left", "first"), ("right", "first"), ("last", "left", "right")):
        for name in before:
            ended, began = steps[name].finished_at, steps[behind].started_at
            assert ended is not None
            assert began is not None
            assert ended < began
    assert {child.spec.parent for child in steps.values()} == {batch}
    assert await stages.rows("SELECT * FROM children WHERE moved") == []


async def test_a_failed_step_skips_those_behind_it_and_no_other(stages: Stages) -> None:
    batch = await submit(
        stages,
        step("bad", items=BAD),
        step("behind", "bad"),
        step("further", "behind"),
        step("aside"),
        step("also", "aside"),
    )
    await stages.run_dry()
    assert await statuses(stages, batch) == {
        "bad": "failed",
        "behind": "cancelled",
        "further": "cancelled",
        "aside": "completed",
        "also": "completed",
    }
    job = await stages.job(batch)
    assert job.status is JobStatus.COMPLETED_WITH_ERRORS
    assert (job.counts.failed, job.counts.skipped, job.counts.succeeded) == (3, 6, 6)
    assert (await children(stages, batch))["behind"].reason == (
        f"job {batch}-1, which was to succeed before, is failed"
    )


async def test_a_step_takes_the_results_of_another(stages: Stages) -> None:
    batch = await submit(
        stages,
        step("make"),
        step(
            "send",
            {"step": "make", "consume": {"number": "id"}},
            items=None,
            operation="stock.send",
        ),
    )
    await stages.run_dry()
    job = await stages.job(batch)
    assert (job.status, job.counts.succeeded) == (JobStatus.COMPLETED, 6)


@pytest.mark.parametrize(
    ("steps", "pointer", "said"),
    [
        ((step("a", "b"), step("b", "c"), step("c", "a")), "/steps", "a -> "),
        ((step("a", "a"),), "/steps", "a -> a"),
        ((step("a", "b"),), "/steps/0/after/0", "there is no step 'b'; the steps are a"),
        ((step("a"), step("a")), "/steps/1/name", "two steps have the name 'a'"),
        (
            (step("a", savepoint="s"), step("b", savepoint="s")),
            "/steps/1/savepoint",
            "two steps have the savepoint 's'",
        ),
        ((step("a", operation="no.such"),), "/steps/0/operation", "there is no operation"),
        ((step("a", params={"x": 1}),), "/steps/0/params/x", "params"),
        ((step("a", items=None),), "/steps/0/items", "a step needs items"),
        (
            (step("a", timeout=1, options={"timeout": 2}),),
            "/steps/0/timeout",
            "timeout is said twice",
        ),
        (
            (step("a"), step("b", {"step": "a", "consume": {"name": "id"}})),
            "/steps/1/items",
            "leave items or consume out",
        ),
        (
            (step("a", options={"after": [{"job_id": "x"}]}),),
            "/steps/0/options/after",
            "name them in its after",
        ),
        (
            (step("a", options={"plan": {"job_id": "x", "digest": "0" * 64}}),),
            "/steps/0/options/plan",
            "cannot apply a plan",
        ),
    ],
)
async def test_what_cannot_be_is_refused_where_it_stands(
    stages: Stages, steps: Any, pointer: str, said: str
) -> None:
    with pytest.raises(InvalidCommand, match=said) as refused:
        await submit(stages, *steps)
    assert refused.value.pointer == pointer
    assert await stages.rows("SELECT job_id FROM job_control") == []


async def test_a_step_that_takes_too_long_is_cancelled(stages: Stages) -> None:
    batch = await submit(
        stages, step("slow", timeout=30, options={"rate": 0.01}), step("behind", "slow")
    )
    await stages.run_dry()
    stages.clock.pass_seconds(29)
    stages.bus += await stages.coordinator.look(f"{batch}-1")
    await stages.run_dry()
    assert (await statuses(stages, batch))["slow"] == "running"
    ((due,),) = await stages.rows(f"SELECT due FROM timers WHERE timer_id = '{batch}-1.due'")
    assert due <= stages.clock.now().timestamp() + 5
    stages.clock.pass_seconds(2)
    stages.restart()
    stages.bus += await stages.coordinator.look(f"{batch}-1")
    await stages.run_dry()
    slow, behind = (await children(stages, batch)).values()
    assert (slow.status, slow.counts.skipped) == (JobStatus.CANCELLED, 2)
    assert slow.reason == "it took longer than its timeout of 30 s"
    assert behind.status is JobStatus.CANCELLED
    assert await stages.rows("SELECT * FROM timers") == []


async def test_a_paused_batch_is_paused_whole(stages: Stages) -> None:
    batch = await submit(
        stages,
        *DIAMOND,
        step(
            "fed",
            {"step": "first", "consume": {"number": "id"}},
            items=None,
            operation="stock.send",
        ),
    )
    late = [*stages.bus]
    stages.bus.clear()
    await _ask(stages, PauseJob, batch, reason="lunch")
    assert set((await statuses(stages, batch)).values()) == {"paused", "draft"}
    stages.bus += late
    await stages.run_dry()
    assert await _things(stages) == 0
    assert (await stages.job(batch)).status is JobStatus.PAUSED
    await _ask(stages, ResumeJob, batch)
    await stages.run_dry()
    job = await stages.job(batch)
    assert (job.status, job.counts.succeeded) == (JobStatus.COMPLETED, 15)


async def test_a_batch_with_a_job_of_a_later_release_is_not_half_paused(stages: Stages) -> None:
    """The command is held, for a process that knows both."""
    batch = await submit(stages, step("one"), step("other"))
    before = await stages.job(batch)
    sick = before.children[1].job_id
    its_own = (events.c.job_id == sick) & (events.c.version == 1)
    damage(stages.database, update(events).where(its_own).values(alias="job.teleported"))
    stages.restart()
    with pytest.raises(UnsupportedVersion, match="later release"):
        await stages.command(PauseJob, batch)
    assert (await stages.job(batch)).version == before.version
    assert (await stages.job(before.children[0].job_id)).status is not JobStatus.PAUSED
    damage(stages.database, update(events).where(its_own).values(alias="job.submitted"))
    await _ask(stages, PauseJob, batch)
    assert set((await statuses(stages, batch)).values()) == {"paused"}


async def test_a_draft_of_a_paused_batch_takes_nothing(stages: Stages) -> None:
    batch = await submit(
        stages,
        step("first"),
        step("second"),
        step(
            "fed",
            {"step": "first", "consume": {"number": "id"}},
            items=None,
            operation="stock.send",
        ),
    )
    await _ask(stages, PauseJob, f"{batch}-2")
    while stages.bus:
        message = stages.bus.pop(0)
        if message.key.decode() != f"{batch}-3":
            await stages.deliver(message)
    assert (await statuses(stages, batch))["first"] == "completed"
    await _ask(stages, PauseJob, batch)
    stages.bus.clear()
    stages.bus += await stages.sweep.sweep()
    await stages.run_dry()
    assert (await statuses(stages, batch))["fed"] == "draft"
    await _ask(stages, ResumeJob, batch)
    await stages.run_dry()
    assert (await statuses(stages, batch))["fed"] == "completed"


async def test_a_cancelled_batch_is_cancelled_whole(stages: Stages) -> None:
    batch = await submit(stages, *DIAMOND)
    late = [*stages.bus]
    await _ask(stages, CancelJob, batch, reason="the wrong list")
    stages.bus += late
    await stages.run_dry()
    job = await stages.job(batch)
    assert (job.status, job.counts.skipped) == (JobStatus.CANCELLED, 12)
    assert set((await statuses(stages, batch)).values()) == {"cancelled"}
    assert await _things(stages) == 0


async def test_a_cancel_with_roll_back_puts_back_what_was_done(stages: Stages) -> None:
    batch = await submit(stages, *DIAMOND)
    while (await statuses(stages, batch))["first"] != "completed":
        await stages.deliver(stages.bus.pop(0))
    await _ask(stages, CancelJob, batch, roll_back=True)
    await stages.run_dry()
    assert (await stages.job(batch)).status is JobStatus.ROLLED_BACK
    assert await _things(stages) == 0


async def test_an_undo_goes_against_the_order(stages: Stages) -> None:
    batch = await submit(stages, *DIAMOND)
    await stages.run_dry()
    assert await _things(stages) == 12
    await _ask(stages, UndoJob, batch, reason="mistake")
    await stages.run_dry()
    job = await stages.job(batch)
    assert (job.status, job.counts.rolled_back) == (JobStatus.ROLLED_BACK, 12)
    assert await _things(stages) == 0
    undone = await _undone(stages, batch)
    assert (undone[0], set(undone[1:3]), undone[3]) == ("last", {"left", "right"}, "first")
    assert job.possible() == ["archive"]


async def test_an_undo_goes_on_when_all_messages_and_processes_are_lost(stages: Stages) -> None:
    batch = await submit(stages, *DIAMOND)
    await stages.run_dry()
    await _ask(stages, UndoJob, batch)
    for _ in range(40):
        stages.bus.clear()
        stages.restart()
        stages.clock.pass_seconds(6)
        stages.bus += await stages.sweep.sweep()
        if stages.bus:
            await stages.deliver(stages.bus[0])
        if stages.shared and stages.bus:
            for message in [*stages.bus[1:3]]:
                await stages.deliver(message)
        if (await stages.job(batch)).status is JobStatus.ROLLED_BACK:
            break
    assert (await stages.job(batch)).status is JobStatus.ROLLED_BACK
    assert await _things(stages) == 0


async def _without(stages: Stages, *left_out: str) -> None:
    """Deliver all but what is about these jobs, which is lost."""
    while stages.bus:
        message = stages.bus.pop(0)
        if document(message).get("job_id") not in left_out:
            await stages.deliver(message)


async def test_what_was_put_back_by_itself_is_not_done_again_by_the_undo_of_the_batch(
    stages: Stages,
) -> None:
    batch = await submit(stages, step("a"), step("b", "a"), step("c", "b"))
    await stages.run_dry()
    steps = {name: job.id for name, job in (await children(stages, batch)).items()}
    await _ask(stages, UndoJob, batch)
    await _ask(stages, UndoJob, steps["b"])
    # The batch hears of it when it is over: it has never seen the job roll back.
    await _without(stages, batch, steps["c"])
    assert (await statuses(stages, batch))["b"] == "rolled_back"
    await stages.mend()
    assert set((await statuses(stages, batch)).values()) == {"rolled_back"}
    assert (await stages.job(batch)).status is JobStatus.ROLLED_BACK
    assert await _things(stages) == 0


async def test_what_was_applied_again_in_part_is_not_done_by_the_undo_of_the_batch(
    stages: Stages,
) -> None:
    batch = await submit(stages, step("a"), step("b", "a"))
    await stages.run_dry()
    steps = {name: job.id for name, job in (await children(stages, batch)).items()}
    await _ask(stages, UndoJob, steps["b"])
    await stages.run_dry()
    await _ask(stages, UndoJob, steps["b"], select=UndoSelection(items=(0,)))
    await stages.mend()
    assert (await stages.job(steps["b"])).counts.succeeded == 1
    await _ask(stages, UndoJob, batch)
    await stages.mend()
    assert (await stages.job(steps["b"])).counts.succeeded == 1, "its own undo goes forward"
    assert (await stages.job(batch)).status is JobStatus.ROLLBACK_INCOMPLETE


async def test_a_batch_hears_of_a_job_that_is_retried_and_stopped_at_once(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = stages.clock.now() + timedelta(seconds=30)
    options = {"stop_on_error": True, "deadline": late, "on_deadline": "stop"}
    batch = await submit(stages, step("a"), step("b", items=BAD, options=options))
    await stages.run_dry()
    assert (await stages.job(batch)).counts.failed == 3
    job_id = (await children(stages, batch))["b"].id
    retry = Job.retry

    def just_in_time(*args: Any, **fields: Any) -> None:
        retry(*args, **fields)
        stages.clock.pass_seconds(60)

    monkeypatch.setattr(Job, "retry", just_in_time)
    await _ask(stages, RetryJob, job_id)
    await stages.mend()
    stages.bus += await stages.sweep.sweep()
    await stages.run_dry()
    assert (await stages.job(job_id)).counts.skipped == 3
    assert (await stages.job(batch)).counts.skipped == 3


async def test_a_batch_is_rolled_back_to_a_savepoint(stages: Stages) -> None:
    batch = await submit(
        stages,
        step("first", savepoint="loaded"),
        step("second", "first"),
        step("third", "second", savepoint="checked"),
        step("aside"),
    )
    await stages.run_dry()
    await _ask(stages, UndoJob, batch, batch={"to": "loaded"})
    await stages.run_dry()
    assert await statuses(stages, batch) == {
        "first": "completed",
        "second": "rolled_back",
        "third": "rolled_back",
        "aside": "completed",
    }
    assert await _undone(stages, batch) == ["third", "second"]
    job = await stages.job(batch)
    assert (job.status, job.counts.rolled_back) == (JobStatus.ROLLBACK_INCOMPLETE, 6)
    with pytest.raises(WrongState, match="nothing to undo"):
        await _ask(stages, UndoJob, batch, batch={"to": "checked"})
    await _ask(stages, UndoJob, batch)
    await stages.run_dry()
    assert (await stages.job(batch)).status is JobStatus.ROLLED_BACK


async def test_a_failed_branch_is_rolled_back_alone(stages: Stages) -> None:
    batch = await submit(
        stages,
        step("load", items=(*GOOD, *BAD)),
        step("tell", {"step": "load", "end": "partly"}),
        step("other"),
    )
    await stages.run_dry()
    await _ask(stages, UndoJob, batch, batch={"branch": "load"})
    await stages.run_dry()
    assert await statuses(stages, batch) == {
        "load": "rolled_back",
        "tell": "rolled_back",
        "other": "completed",
    }
    assert await _undone(stages, batch) == ["tell", "load"]


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"batch": {"to": "nowhere"}}, "/to"),
        ({"batch": {"branch": "nothing"}}, "/branch"),
        ({"batch": {"to": "a", "branch": "b"}}, "/branch"),
        ({"select": {"items": [1]}}, "/items"),
    ],
)
async def test_an_undo_of_what_is_not_there_is_refused(
    stages: Stages, fields: Any, pointer: str
) -> None:
    batch = await submit(stages, *DIAMOND)
    await stages.run_dry()
    with pytest.raises(InvalidCommand) as refused:
        await _ask(stages, UndoJob, batch, **fields)
    assert refused.value.pointer == pointer


async def test_what_is_not_a_batch_s_is_asked_of_its_jobs(stages: Stages) -> None:
    batch = await submit(stages, step("bad", items=BAD), step("behind", "bad"))
    await stages.run_dry()
    with pytest.raises(WrongState, match="retry is asked of its jobs; possible: archive, undo"):
        await _ask(stages, RetryJob, batch)
    await _ask(stages, RetryJob, f"{batch}-2", select={"unattempted": True})
    await stages.run_dry()
    job = await stages.job(batch)
    assert (job.status, job.counts.succeeded) == (JobStatus.COMPLETED_WITH_ERRORS, 3)


async def test_the_same_batch_comes_twice_and_another_one_under_its_id(stages: Stages) -> None:
    batch = await submit(stages, *DIAMOND)
    stages.decisions.clear()
    await stages.rows("SELECT 1")
    await stages.database.write(
        lambda connection: connection.exec_driver_sql("DELETE FROM decisions")
    )
    assert await submit(stages, *DIAMOND, job_id=batch) == batch
    await stages.database.write(
        lambda connection: connection.exec_driver_sql("DELETE FROM decisions")
    )
    with pytest.raises(CommandRefused, match="taken by another job"):
        await submit(stages, step("a"), job_id=batch)
    assert len(await children(stages, batch)) == 4


async def test_a_batch_hears_of_its_jobs_before_it_is_put_away_or_undone(stages: Stages) -> None:
    batches = [await submit(stages, step("first"), step("second")) for _ in range(2)]
    await stages.run_dry()
    for batch in batches:
        await _ask(stages, UndoJob, f"{batch}-1")
        await _without(stages, batch)
        assert (await stages.job(batch)).counts.succeeded == 6, "it is not told"
    away, undone = batches
    await _ask(stages, ArchiveJob, away)
    job = await stages.job(away)
    assert (job.status, job.counts.succeeded, job.counts.rolled_back) == (JobStatus.ARCHIVED, 3, 3)
    assert job.ended is JobStatus.COMPLETED_WITH_ERRORS
    await _ask(stages, UndoJob, f"{undone}-2")
    await _without(stages, undone)
    with pytest.raises(WrongState, match="undo is not possible"):
        await _ask(stages, UndoJob, undone)
    assert (await stages.job(undone)).status is JobStatus.ROLLED_BACK


@pytest.mark.parametrize("kind", [UndoJob, ArchiveJob, PauseJob, ResumeJob, CancelJob, RetryJob])
async def test_another_tenants_batch_is_not_there(stages: Stages, kind: Any) -> None:
    moving = await submit(stages, step("first"))
    ended = await submit(stages, step("second"))
    while (await stages.job(ended)).status is not JobStatus.COMPLETED:
        message = stages.bus.pop(0)
        if message.key != f"{moving}-1".encode():
            await stages.deliver(message)
    for batch in (moving, ended):
        before = (await stages.job(batch)).version
        command = kind(command_id=stages.ids.new(), job_id=batch, tenant="other", actor="eve")
        stages.bus += await stages.coordinator.handle(command)
        with pytest.raises(JobNotFound, match=f"no job {batch}"):
            stages.decisions[command.command_id].accepted()
        assert (await stages.job(batch)).version == before


async def test_nobodys_job_has_the_id_of_a_batch(stages: Stages) -> None:
    batch = await submit(stages, step("first"))
    fields = {"spec": JobSpec(operation="stock.create"), "source": InlineItems(items=GOOD)}
    for tenant in ("local", "other"):
        command = SubmitJob(
            command_id=stages.ids.new(), job_id=batch, tenant=tenant, actor="eve", **fields
        )
        await stages.coordinator.handle(command)
        with pytest.raises(IdempotencyConflict, match="taken by another job; use a new id"):
            stages.decisions[command.command_id].accepted()


async def test_a_batch_that_is_refused_has_begun_none_of_its_steps(stages: Stages) -> None:
    twice = step("second", items=GOOD, options={"key": "/name"})
    with pytest.raises(InvalidCommand) as refused:
        await submit(stages, step("first"), twice, job_id="batch")
    assert str(refused.value.pointer).startswith("/steps/1/")
    await stages.mend()
    for table in ("job_control", "children", "stock", "events", "uploads", "payloads"):
        assert await stages.rows(f"SELECT count(*) FROM {table}") == [(0,)], table
    batch = await submit(stages, step("first"), step("second"))
    await stages.mend()
    assert (await stages.job(batch)).status is JobStatus.COMPLETED
    assert await _things(stages) == 6


async def test_a_batch_of_which_a_jobs_id_is_taken_is_refused(stages: Stages) -> None:
    """Whoever names jobs may have had that id before; nothing waits for it to be free."""
    spec, source = JobSpec(operation="stock.create"), InlineItems(items=GOOD)
    await _ask(stages, SubmitJob, "batch-2", spec=spec, source=source)
    with pytest.raises(IdempotencyConflict, match="job id batch-2 is taken"):
        await submit(stages, step("first"), step("second"), job_id="batch")
    await stages.mend()
    assert await _things(stages) == 3


@pytest.mark.parametrize("kind", [ArchiveJob, UndoJob])
async def test_what_is_asked_before_a_batch_has_heard_does_not_keep_it_from_rolling_back(
    stages: Stages, kind: Any
) -> None:
    batch = await submit(stages, step("first"), step("second"))
    for _ in range(2):
        await stages.deliver(stages.bus.pop(0))
    await _ask(stages, CancelJob, batch, graceful=True, roll_back=True)
    await _without(stages, batch)
    assert (await stages.job(batch)).status is JobStatus.CANCELLING, "it is not told"
    assert await _things(stages) == 6
    with pytest.raises(WrongState):
        await _ask(stages, kind, batch)
    await stages.mend()
    assert (await stages.job(batch)).status is JobStatus.ROLLED_BACK
    assert await _things(stages) == 0


async def test_a_cancel_with_roll_back_is_refused_where_a_step_cannot_be_put_back(
    stages: Stages,
) -> None:
    final = step("second", "first", items=({"number": 1},), operation="stock.finalize")
    batch = await submit(stages, step("first"), final, step("third", "second"))
    while (await children(stages, batch))["second"].status is not JobStatus.COMPLETED:
        await stages.deliver(stages.bus.pop(0))
    with pytest.raises(NotReversible, match="declares no undo") as refused:
        await _ask(stages, CancelJob, batch, roll_back=True)
    assert str(refused.value.pointer).startswith("/steps/1")
    await _ask(stages, CancelJob, batch)
    await stages.mend()
    assert (await stages.job(batch)).status is JobStatus.CANCELLED


async def test_a_step_that_has_not_begun_keeps_nobody_from_rolling_back(stages: Stages) -> None:
    final = step("second", "first", items=({"number": 1},), operation="stock.finalize")
    batch = await submit(stages, step("first"), final)
    for _ in range(2):
        await stages.deliver(stages.bus.pop(0))
    await _ask(stages, CancelJob, batch, roll_back=True)
    await stages.mend()
    assert (await stages.job(batch)).status in (JobStatus.ROLLED_BACK, JobStatus.CANCELLED)
    assert await _things(stages) == 0


async def test_a_job_that_is_approved_while_its_batch_is_paused_waits_for_it(
    stages: Stages,
) -> None:
    stages.approval = ApprovalPolicy(above=1)
    stages.restart()
    batch = await submit(stages, step("first"))
    await stages.run_dry()
    job_id = f"{batch}-1"
    assert (await stages.job(job_id)).status is JobStatus.AWAITING_APPROVAL
    await _ask(stages, PauseJob, batch)
    approve = ApproveJob(command_id="yes", job_id=job_id, tenant="local", actor="second")
    stages.bus += await stages.coordinator.handle(approve)
    stages.decisions["yes"].accepted()
    await stages.run_dry()
    assert (await stages.job(job_id)).status is JobStatus.PAUSED
    assert await _things(stages) == 0
    await _ask(stages, ResumeJob, batch)
    await stages.mend()
    assert (await stages.job(batch)).status is JobStatus.COMPLETED


async def test_a_job_whose_batch_is_not_there_is_approved_all_the_same(stages: Stages) -> None:
    """An earlier release left those of a refused batch behind."""
    stages.approval = ApprovalPolicy(above=1)
    stages.restart()
    batch = await submit(stages, step("first"))
    await stages.run_dry()
    with Database(as_owner(stages.database.url)) as owned:
        for table in ("children", "job_control"):
            column = "batch" if table == "children" else "job_id"
            gone = text(f"DELETE FROM {table} WHERE {column} = :batch")
            owned.write_now(
                lambda connection, gone=gone: connection.execute(gone, {"batch": batch})
            )
    approve = ApproveJob(command_id="yes", job_id=f"{batch}-1", tenant="local", actor="second")
    stages.bus += await stages.coordinator.handle(approve)
    stages.decisions["yes"].accepted()


def _with_a_look() -> tuple[SentStep, SentStep, SentStep]:
    seen = step("look", "first", items=({"number": 1},), operation="stock.look")
    return step("first"), seen, step("last", "look")


@pytest.mark.parametrize("last", ["first", "look"])
async def test_a_batch_with_a_step_that_only_reads_is_undone(stages: Stages, last: str) -> None:
    steps = _with_a_look()
    batch = await submit(stages, *steps[: ["first", "look", "last"].index(last) + 1])
    await stages.run_dry()
    before = await _things(stages)
    await _ask(stages, UndoJob, batch, reason="mistake")
    await stages.run_dry()
    assert before == 3
    assert (await stages.job(batch)).status is JobStatus.ROLLED_BACK
    assert await _things(stages) == 0


async def test_a_step_that_only_reads_is_passed_by_on_the_way_back(stages: Stages) -> None:
    batch = await submit(stages, *_with_a_look())
    await stages.run_dry()
    await _ask(stages, UndoJob, batch, reason="mistake")
    await stages.run_dry()
    assert await _undone(stages, batch) == ["last", "first"]
    assert await statuses(stages, batch) == {
        "first": "rolled_back",
        "look": "completed",
        "last": "rolled_back",
    }
    assert (await stages.job(batch)).status is JobStatus.ROLLED_BACK


async def test_what_only_reads_leaves_nothing_to_undo(stages: Stages) -> None:
    batch = await submit(stages, step("look", items=({"number": 1},), operation="stock.look"))
    await stages.run_dry()
    with pytest.raises(WrongState, match="changed nothing that stands"):
        await _ask(stages, UndoJob, batch, reason="mistake")


@pytest.mark.parametrize("done", ["look", "last"])
async def test_a_cancel_with_roll_back_heeds_no_step_that_only_reads(
    stages: Stages, done: str
) -> None:
    batch = await submit(stages, *_with_a_look(), step("further", "last"))
    while (await statuses(stages, batch))[done] != "completed":
        await stages.deliver(stages.bus.pop(0))
    await _ask(stages, CancelJob, batch, roll_back=True)
    await stages.mend()
    assert (await stages.job(batch)).status is JobStatus.ROLLED_BACK
    assert await _things(stages) == 0


async def test_a_batch_that_has_only_read_is_cancelled_with_roll_back(stages: Stages) -> None:
    seen = step("look", items=({"number": 1},), operation="stock.look")
    batch = await submit(stages, seen, step("last", "look"))
    while (await statuses(stages, batch))["look"] != "completed":
        await stages.deliver(stages.bus.pop(0))
    await _ask(stages, CancelJob, batch, roll_back=True)
    await stages.mend()
    assert (await stages.job(batch)).status is JobStatus.CANCELLED
    assert await _things(stages) == 0
