"""Jobs behind others in the engine: started, skipped and fed, whoever dies in between."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest

from domain.commands import (
    AppendItems,
    ArchiveJob,
    CancelJob,
    HoldJob,
    InlineItems,
    JobSpec,
    OpenJob,
    PauseJob,
    ReleaseJob,
    ResumeJob,
    RetryJob,
    SubmitJob,
)
from domain.errors import CommandRefused, InvalidCommand, WrongState
from domain.events import JobStatus
from domain.job import Job
from domain.registry import Registry
from domain.waiting import Hold
from streams import specs, topics
from streams.envelope import Outgoing
from streams.queries import Queries
from streams.situation import Situation, itself
from streams.stores import migrate, waits
from streams.stores.database import Database
from streams.stores.survey import WINDOW
from streams.stores.workers import WorkerRow
from streams.sweep import Sweep
from tests.databases import database, database_url
from tests.engine import batches
from tests.engine.conftest import CALLER, Desk
from tests.engine.stages import Stages, told_nobody
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url"]

GOOD = [{"name": "x"}] * 3
BAD = [{"name": "!"}] * 3
TAKEN = {"number": "sent"}


@pytest.fixture(params=[False, True], ids=["alone", "shared"])
def stages(database: Database, request: pytest.FixtureRequest) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(operations), shared=request.param)


def _after(*job_ids: str, **fields: Any) -> dict[str, Any]:
    return {"after": [{"job_id": job_id, **fields} for job_id in job_ids]}


async def _refusal(stages: Stages, command: Any) -> CommandRefused:
    stages.bus += await stages.coordinator.handle(command)
    with pytest.raises(CommandRefused) as refused:
        stages.decisions[command.command_id].accepted()
    return refused.value


def _command(kind: type[SubmitJob | OpenJob], job_id: str, options: Any, **more: Any) -> Any:
    spec = JobSpec(operation="stock.send", options=options)
    if kind is SubmitJob:
        more = {"source": InlineItems(items=({"number": 1},)), **more}
    who = {"tenant": "local", "actor": "tester"} | more
    return kind(command_id=f"{job_id}.begin", job_id=job_id, spec=spec, **who)


async def _fed(stages: Stages, source: str, **fields: Any) -> str:
    job_id = stages.ids.new()
    moments = {name: fields.pop(name) for name in ("deadline", "on_deadline") if name in fields}
    options = _after(source, **{"consume": TAKEN, **fields}) | moments
    stages.bus += await stages.coordinator.handle(_command(OpenJob, job_id, options))
    stages.decisions[f"{job_id}.begin"].accepted()
    return job_id


async def _bodies(stages: Stages, job_id: str) -> list[Any]:
    queries = Queries(stages.database, stages.jobs, stages.registry)
    return [view.item async for view in queries.items("local", job_id)]


def _started_at(job: Job) -> Any:
    assert job.started_at is not None
    return job.started_at


async def test_a_job_starts_when_the_one_before_it_has_ended(stages: Stages) -> None:
    first = await stages.submit("stock.create", GOOD)
    second = await stages.submit("stock.create", GOOD, options=_after(first))
    third = await stages.submit("stock.create", GOOD, options=_after(second, first))
    assert (await stages.job(third)).status is JobStatus.PENDING
    await stages.run_dry()
    jobs = [await stages.job(job_id) for job_id in (first, second, third)]
    assert [job.status for job in jobs] == [JobStatus.COMPLETED] * 3
    for before, behind in itertools.pairwise(jobs):
        assert before.finished_at is not None
        assert before.finished_at < _started_at(behind)
    assert await stages.rows("SELECT * FROM waits") == []


async def test_who_submits_behind_what_has_ended_starts_at_once(stages: Stages) -> None:
    first = await stages.submit("stock.create", GOOD)
    await stages.run_dry()
    second = await stages.submit("stock.create", GOOD, options=_after(first))
    assert (await stages.job(second)).status is JobStatus.RUNNING


async def test_a_failure_skips_all_that_stands_behind_it_and_each_says_which(
    stages: Stages,
) -> None:
    first = await stages.submit("stock.create", BAD)
    second = await stages.submit("stock.create", GOOD, options=_after(first, end="partly"))
    third = await stages.submit("stock.create", GOOD, options=_after(second))
    aside = await stages.submit("stock.create", GOOD, options=_after(second, end="any"))
    await stages.run_dry()
    job = await stages.job(second)
    assert (job.status, job.counts.skipped) == (JobStatus.CANCELLED, 3)
    assert job.reason == f"job {first}, which was to succeed at least in part before, is failed"
    assert (await stages.job(third)).reason == (
        f"job {second}, which was to succeed before, is cancelled"
    )
    assert (await stages.job(aside)).status is JobStatus.COMPLETED
    queries = Queries(stages.database, stages.jobs, stages.registry)
    views = [view async for view in queries.items("local", second)]
    assert {(view.status.value, view.error and view.error.message) for view in views} == {
        ("skipped", job.reason)
    }
    await stages.command(RetryJob, second, select={"unattempted": True})
    await stages.run_dry()
    assert (await stages.job(second)).counts.succeeded == 3


async def test_a_hint_that_is_lost_with_its_process_is_made_up_for(stages: Stages) -> None:
    first = await stages.submit("stock.create", GOOD)
    second = await stages.submit("stock.create", GOOD, options=_after(first))
    bad = await stages.submit("stock.create", BAD)
    skipped = await stages.submit("stock.create", GOOD, options=_after(bad, second))
    last = await stages.submit("stock.create", GOOD, options=_after(skipped, end="any"))
    lost = 0
    for _ in range(4):
        while stages.bus:
            message = stages.bus.pop(0)
            if message.topic == topics.COMMANDS and message.key.decode() in (second, skipped, last):
                lost += 1
            else:
                await stages.deliver(message)
        stages.restart()
        stages.bus += await stages.sweep.sweep()
        if stages.shared:
            # The hints of the sweep are messages as well; these arrive.
            for message in [*stages.bus]:
                if message.topic == topics.COMMANDS:
                    stages.bus.remove(message)
                    await stages.deliver(message)
    assert lost
    assert (await stages.job(second)).status is JobStatus.COMPLETED
    assert (await stages.job(skipped)).status is JobStatus.CANCELLED
    assert (await stages.job(last)).status is JobStatus.COMPLETED
    assert await stages.rows("SELECT * FROM waits") == []


async def test_the_sweep_finds_only_who_can_be_told_something(stages: Stages) -> None:
    first, other = [await stages.submit("stock.create", GOOD) for _ in range(2)]
    both = await stages.submit("stock.create", GOOD, options=_after(first, other))
    held = await stages.submit("stock.create", GOOD, options=_after(first))
    await stages.command(PauseJob, held)
    await stages.command(PauseJob, other)
    while stages.bus:
        message = stages.bus.pop(0)
        if message.key.decode() != both:
            await stages.deliver(message)
    assert (await stages.job(first)).status is JobStatus.COMPLETED
    assert await stages.database.read(waits.ready) == []
    await stages.command(CancelJob, other)
    assert await stages.database.read(waits.ready) == [both]
    await stages.command(ResumeJob, held)
    await stages.run_dry()
    assert (await stages.job(held)).status is JobStatus.COMPLETED
    assert (await stages.job(both)).status is JobStatus.CANCELLED


async def _held_drafts(stages: Stages, count: int) -> str:
    """A paused batch of which only the source has gone on and ended: its drafts stay."""
    takes = {"step": "made", "consume": {"number": "id"}}
    fed = [
        batches.step(f"fed-{n}", takes, items=None, operation="stock.send") for n in range(count)
    ]
    batch = await batches.submit(stages, batches.step("made"), *fed)
    await stages.command(PauseJob, batch)
    await stages.command(ResumeJob, (await batches.children(stages, batch))["made"].id)
    await stages.run_dry()
    return batch


async def _lost_behind(stages: Stages, tenant: str) -> str:
    """A job behind one that has ended, whose hint was lost."""
    first = await stages.submit("stock.create", GOOD, tenant=tenant)
    second = await stages.submit("stock.create", GOOD, tenant=tenant, options=_after(first))
    while not (await stages.job(first)).status.terminal:
        await stages.deliver(stages.bus.pop(0))
    stages.bus.clear()
    stages.restart()
    return second


async def _sweep_twice(stages: Stages) -> None:
    for _ in range(2):
        stages.bus += await stages.sweep.sweep()
        await stages.run_dry()


async def test_drafts_of_a_paused_batch_keep_nobody_from_what_is_his(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.sweep.FOUND_AT_ONCE", 3)
    batch = await _held_drafts(stages, 4)
    second = await _lost_behind(stages, "other")
    await _sweep_twice(stages)
    assert (await stages.job(second)).status is JobStatus.COMPLETED
    drafts = {f"fed-{n}": "draft" for n in range(4)}
    assert await batches.statuses(stages, batch) == {"made": "completed", **drafts}
    # The hints of a batch that goes on may be lost as well: the sweep begins anew.
    await stages.command(ResumeJob, batch)
    stages.bus.clear()
    await _sweep_twice(stages)
    assert set((await batches.statuses(stages, batch)).values()) == {"completed"}


async def test_the_sweep_looks_at_some_at_once_and_at_each_in_its_turn(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.sweep.FOUND_AT_ONCE", 3)
    batch = await _held_drafts(stages, 6)
    _, *drafts = (each.id for each in (await batches.children(stages, batch)).values())
    looks: list[str] = []

    async def look(job_id: str) -> list[Outgoing]:
        looks.append(job_id)
        return []

    sweep = Sweep(
        database=stages.database,
        registry=stages.registry,
        clock=stages.clock,
        claim_by=5.0,
        neglected=lambda connection: (),
        look=look,
    )
    turns = []
    for _ in range(5):
        looks.clear()
        await sweep.sweep()
        turns.append([*looks])
    # Behind a page that is full there is nobody, and then all begins anew.
    assert turns == [drafts[:3], drafts[3:], [], drafts[:3], drafts[3:]]


async def test_a_job_that_waits_says_for_which(stages: Stages) -> None:
    first = await stages.submit("stock.create", GOOD)
    second = await stages.submit("stock.create", GOOD, options=_after(first, end="any"))
    fed = await _fed(stages, second)
    here = WorkerRow("here", ("stock",), slots=1, process=1)
    situation = Situation(
        database=stages.database,
        registry=stages.registry,
        clock=stages.clock,
        present=itself(here),
        broker_away=lambda: "",
        hint=told_nobody,
    )
    for job_id, text in (
        (second, f"it waits for job {first} to end"),
        (fed, f"it waits for job {second} to succeed"),
    ):
        told = await situation.waiting(await stages.job(job_id))
        assert told is not None
        assert (told.reason, told.text) == (Hold.DEPENDENCY, text)


async def test_jobs_of_others_and_of_nobody_are_refused_so_no_circle_can_be(
    stages: Stages,
) -> None:
    foreign = await stages.submit("stock.create", GOOD, tenant="other")
    for number, needs in enumerate((foreign, "nobody", "job-2")):
        command = _command(SubmitJob, f"job-{number}", _after(needs))
        refused = await _refusal(stages, command)
        assert isinstance(refused, InvalidCommand)
        assert refused.pointer == "/options/after/0/job_id"
        assert refused.message == f"there is no job {needs} to come after; submit that one first"
    # Whatever a job names is older than it, and options do not change: the last was its own id.
    assert await stages.rows("SELECT job_id FROM waits") == []


async def test_results_become_the_items_of_the_next_job(stages: Stages) -> None:
    first = await stages.submit("stock.send", [{"number": n} for n in range(20)])
    fed = await _fed(stages, first)
    assert (await stages.job(fed)).status is JobStatus.DRAFT
    await stages.run_dry()
    job = await stages.job(fed)
    assert (job.status, job.counts.succeeded) == (JobStatus.COMPLETED, 20)
    assert await _bodies(stages, fed) == [{"number": n} for n in range(20)]
    assert await stages.kinds(fed) == [
        "job.opened",
        "job.items_appended",
        "job.sealed",
        "job.dependencies_met",
        *(await stages.kinds(fed))[4:],
    ]


async def test_only_what_has_succeeded_is_taken(stages: Stages) -> None:
    first = await stages.submit("stock.create", [*GOOD, *BAD, *GOOD])
    job_id = stages.ids.new()
    options = _after(first, consume={"number": "id", "no_such": "field"}, end="partly")
    stages.bus += await stages.coordinator.handle(_command(OpenJob, job_id, options))
    await stages.run_dry()
    job = await stages.job(job_id)
    assert job.counts.total == 6
    bodies = await _bodies(stages, job_id)
    assert sorted(body["number"] for body in bodies) == [1, 2, 3, 4, 5, 6]
    assert {body["no_such"] for body in bodies} == {None}


async def test_what_has_left_nothing_skips_who_would_take_it(stages: Stages) -> None:
    first = await stages.submit("stock.create", BAD)
    fed = await _fed(stages, first, end="any")
    await stages.run_dry()
    job = await stages.job(fed)
    assert (job.status, job.counts.total) == (JobStatus.CANCELLED, 0)
    assert job.reason == f"no item of job {first} has succeeded, so there is nothing to do"


async def _fed_atomic(stages: Stages) -> str:
    """A job that takes five results and is to do all of them or nothing."""
    first = await stages.submit("stock.send", [{"number": n} for n in range(5)])
    spec = JobSpec.model_validate(
        {
            "operation": "stock.raise",
            "options": {"atomic": True, **_after(first, consume=TAKEN)},
        }
    )
    (await stages.command(OpenJob, "fed", spec=spec)).accepted()
    await stages.run_dry()
    return first


@pytest.mark.parametrize(
    ("name", "most", "taken"), [("MAX_ATOMIC_ITEMS", 4, 0), ("MAX_ATOMIC_BYTES", 64, 5)]
)
async def test_an_atomic_job_takes_no_more_than_a_transaction_may_hold(
    stages: Stages, monkeypatch: pytest.MonkeyPatch, name: str, most: int, taken: int
) -> None:
    monkeypatch.setattr(specs, name, most)
    first = await _fed_atomic(stages)
    job = await stages.job("fed")
    assert (job.status, job.counts.total, job.counts.skipped) == (
        JobStatus.CANCELLED,
        taken,
        taken,
    )
    assert job.reason.startswith(
        f"job {first} has more results than an atomic job may hold, which is "
    )
    assert f"{most} " in job.reason
    retry = {"select": {"unattempted": True}}
    assert (await stages.command(RetryJob, "fed", **retry)).problem is not None
    assert await stages.rows("SELECT * FROM stock") == []


async def test_an_atomic_job_takes_as_much_as_a_transaction_may_hold(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(specs, "MAX_ATOMIC_ITEMS", 5)
    monkeypatch.setattr(specs, "MAX_ATOMIC_BYTES", 65)
    await _fed_atomic(stages)
    job = await stages.job("fed")
    assert (job.status, job.counts.succeeded, job.size) == (JobStatus.COMPLETED, 5, 65)


async def test_nobody_else_adds_items_or_seals(stages: Stages) -> None:
    first = await stages.submit("stock.send", [{"number": 1}])
    fed = await _fed(stages, first)
    source = InlineItems(items=({"number": 9},))
    refused = await _refusal(
        stages,
        AppendItems(
            command_id="a", job_id=fed, tenant="local", actor="tester", part=0, source=source
        ),
    )
    assert isinstance(refused, WrongState)
    both = _command(SubmitJob, "both", _after(first, consume=TAKEN))
    assert (await _refusal(stages, both)).pointer == "/items"


async def _decide_only(stages: Stages) -> None:
    """Deliver what is for the coordinator; the workers get nothing."""
    while stages.bus:
        message = stages.bus.pop(0)
        if message.topic == topics.COMMANDS:
            await stages.deliver(message)


async def _many(stages: Stages, items: list[dict[str, str]]) -> str:
    first = await stages.submit("stock.create", items)
    await stages.run_dry()
    return first


async def test_many_results_are_taken_in_parts_and_each_once(stages: Stages) -> None:
    many = 5 * WINDOW + 7
    first = await _many(stages, [{"name": "x"}] * many)
    fed = await _fed(stages, first, consume={"number": "id"})
    taken = (await stages.job(fed)).counts.total
    assert taken == 4 * WINDOW
    # Who was to go on dies, and the message with it.
    stages.bus.clear()
    stages.restart()
    stages.bus += await stages.sweep.sweep()
    await _decide_only(stages)
    job = await stages.job(fed)
    assert (job.status, job.counts.total) == (JobStatus.RUNNING, many)
    bodies = await _bodies(stages, fed)
    assert sorted(body["number"] for body in bodies) == [*range(1, many + 1)]


async def test_results_are_those_of_one_moment(stages: Stages) -> None:
    first = await _many(stages, [{"name": "x"}] * (4 * WINDOW) + [{"name": "!"}])
    fed = await _fed(stages, first, consume={"number": "id"}, end="any")
    stages.bus.clear()
    await stages.command(RetryJob, first)
    await stages.run_dry()
    stages.bus += await stages.sweep.sweep()
    await stages.run_dry()
    job = await stages.job(fed)
    assert job.status is JobStatus.CANCELLED
    assert "has gone on while its results were being taken" in job.reason


async def test_results_are_the_same_however_the_job_is_kept(stages: Stages) -> None:
    first = await _many(stages, [{"name": "x"}] * (5 * WINDOW))
    fed = await _fed(stages, first, consume={"number": "id"})
    assert (await stages.job(fed)).counts.total == 4 * WINDOW
    stages.bus.clear()
    for kind in (HoldJob, ReleaseJob, ArchiveJob):
        await stages.command(kind, first)
    stages.bus += await stages.sweep.sweep()
    await _decide_only(stages)
    job = await stages.job(fed)
    assert (job.status, job.counts.total) == (JobStatus.RUNNING, 5 * WINDOW), job.reason


async def test_who_was_fed_after_its_deadline_is_stopped_before_anything_runs(
    stages: Stages,
) -> None:
    first = await stages.submit("stock.send", [{"number": 1}])
    late = stages.clock.now() + timedelta(seconds=30)
    second = await _fed(stages, first, deadline=late, on_deadline="stop")
    stages.clock.pass_seconds(60)
    await stages.mend()
    job = await stages.job(second)
    assert (job.status, job.counts.skipped) == (JobStatus.FAILED, 1)
    assert job.reason.startswith("deadline: ")
    assert "job.chunks_planned" not in await stages.kinds(second)


async def test_on_a_running_engine(desk: Desk) -> None:
    first = await desk.submit("stock.send", [{"number": n} for n in range(100)])
    spec = JobSpec.model_validate(
        {"operation": "stock.square", "options": _after(first, consume=TAKEN)}
    )
    fed = (await desk.engine.gateway.open(CALLER, spec, key=None)).job_id
    last = await desk.submit("stock.create", GOOD, options=_after(fed))
    assert (await desk.settle(last)).status is JobStatus.COMPLETED
    assert (await desk.job(fed)).counts.succeeded == 100
