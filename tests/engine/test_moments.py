"""Moments in the engine: timers wake jobs whatever restarts, a stop leaves nothing in flight."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from domain.commands import (
    AdjustJob,
    AppendItems,
    CancelJob,
    Edit,
    InlineItems,
    JobSpec,
    OpenJob,
    PauseJob,
    ResumeJob,
    RetryJob,
    Selection,
)
from domain.errors import InvalidCommand, WrongState
from domain.events import JobStatus
from domain.registry import Registry
from streams.stores import migrate, paces
from streams.stores.database import Database
from streams.timers import Timers
from tests.databases import database, database_url
from tests.engine.batches import step, submit
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url"]

THINGS = [{"name": "x"}] * 40


@pytest.fixture
def stages(database: Database) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(operations))


def _in(stages: Stages, seconds: float) -> datetime:
    return stages.clock.now() + timedelta(seconds=seconds)


async def _fire(stages: Stages) -> int:
    """As the owner of the timers does, every second or so."""

    async def send(outgoing: Any) -> None:
        stages.bus.append(outgoing)

    return await Timers(database=stages.database, clock=stages.clock, send=send).fire()


async def _submit(stages: Stages, **options: Any) -> str:
    return await stages.submit("stock.create", THINGS, options=options)


async def test_a_job_starts_at_its_moment_whoever_has_died_meanwhile(stages: Stages) -> None:
    job_id = await _submit(stages, start_at=_in(stages, 3600))
    assert not stages.coordinator.drives(job_id), "it takes no memory until then"
    stages.restart()
    stages.bus += await stages.sweep.sweep()
    assert await _fire(stages) == 0
    assert (await stages.job(job_id)).status is JobStatus.PENDING
    stages.clock.pass_seconds(3601)
    assert await _fire(stages) == 1
    await stages.run_dry()
    assert (await stages.job(job_id)).counts.succeeded == 40
    assert await stages.rows("SELECT timer_id FROM timers") == []
    assert (await stages.kinds(job_id))[:3] == [
        "job.submitted",
        "job.start_due",
        "job.chunks_planned",
    ]


async def test_a_start_that_came_while_the_job_was_paused_is_made_up_for(stages: Stages) -> None:
    job_id = await _submit(stages, start_at=_in(stages, 60))
    await stages.command(PauseJob, job_id)
    assert await stages.rows("SELECT timer_id FROM timers") == []
    stages.clock.pass_seconds(100)
    await stages.command(ResumeJob, job_id)
    await stages.run_dry()
    assert (await stages.job(job_id)).status is JobStatus.COMPLETED


async def test_start_now_and_cancel_before_the_start(stages: Stages) -> None:
    first = await _submit(stages, start_at=_in(stages, 60))
    second = await _submit(stages, start_at=_in(stages, 60))
    await stages.command(AdjustJob, first, lift=("start_at",), reason="now")
    await stages.command(CancelJob, second)
    await stages.run_dry()
    assert (await stages.job(first)).counts.succeeded == 40
    assert (await stages.job(second)).counts.skipped == 40
    assert await stages.rows("SELECT timer_id FROM timers") == []


async def test_moments_that_cannot_be_change_nothing(stages: Stages) -> None:
    past = stages.clock.now()
    job_id = stages.ids.new()
    spec = {"operation": "stock.create", "options": {"start_at": past}}
    decision = await stages.command(OpenJob, job_id, spec=spec)
    assert decision.problem is not None
    assert decision.problem["pointer"] == "/options/start_at"
    job_id = await _submit(stages)
    with pytest.raises(WrongState, match="has started already"):
        (await stages.command(AdjustJob, job_id, start_at=_in(stages, 60))).accepted()
    with pytest.raises(InvalidCommand, match="is past"):
        (await stages.command(AdjustJob, job_id, deadline=past)).accepted()
    assert "job.adjusted" not in await stages.kinds(job_id)


async def test_an_eager_draft_is_given_no_start(stages: Stages) -> None:
    job_id = stages.ids.new()
    spec = JobSpec(operation="stock.create", options={"start": "eager"})
    await stages.command(OpenJob, job_id, spec=spec)
    decision = await stages.command(AdjustJob, job_id, start_at=_in(stages, 60))
    assert decision.problem is not None
    assert decision.problem["pointer"] == "/start_at"
    assert "before its seal cannot wait for start_at" in decision.problem["message"]
    assert await stages.kinds(job_id) == ["job.opened"]
    await stages.command(AppendItems, job_id, part=0, source=InlineItems(items=THINGS))
    await stages.run_dry()
    assert (await stages.job(job_id)).counts.succeeded == 40


async def test_what_is_in_flight_at_the_deadline_takes_no_effect_after_the_stop(
    stages: Stages,
) -> None:
    job_id = await _submit(stages, deadline=_in(stages, 60), on_deadline="stop", chunk_size=10)
    late = [message for message in stages.bus if ".work." in message.topic]
    assert late
    stages.bus.clear()
    stages.clock.pass_seconds(61)
    assert await _fire(stages) == 1
    stages.bus += late
    await stages.run_dry()
    job = await stages.job(job_id)
    assert (job.status, job.counts.skipped, job.open) == (JobStatus.FAILED, 40, {})
    assert await stages.rows("SELECT id FROM stock") == []
    assert (await stages.kinds(job_id))[-2:] == ["job.deadline_passed", "job.stopped"]
    assert await stages.rows("SELECT timer_id FROM timers") == []


LATE = {"on_deadline": "stop", "on_error": "roll_back", "tolerate": [{"failed": 2}]}
"""Of a job whose stop would cost it what has succeeded."""
MOSTLY_GOOD = [{"name": "a"}, {"name": "b"}, {"name": "!"}]


def _mended(item: int) -> Selection:
    return Selection(edits=(Edit(item=item, body={"name": "good"}),))


async def test_a_retry_after_the_deadline_is_neither_stopped_nor_rolled_back(
    stages: Stages,
) -> None:
    options = LATE | {"deadline": _in(stages, 3600)}
    job_id = await stages.submit("stock.create", MOSTLY_GOOD, options=options)
    await stages.mend()
    stages.clock.pass_seconds(7200)
    (await stages.command(RetryJob, job_id, select=_mended(2))).accepted()
    assert await stages.rows("SELECT timer_id FROM timers") == []
    await stages.mend()
    job = await stages.job(job_id)
    assert (job.status, job.counts.succeeded) == (JobStatus.COMPLETED, 3)
    assert await stages.rows("SELECT name FROM stock ORDER BY id") == [("a",), ("b",), ("good",)]
    assert not {"job.deadline_passed", "job.stopped"} & {*await stages.kinds(job_id)}


async def test_a_late_retry_outlives_its_coordinator_and_a_pause(stages: Stages) -> None:
    options = LATE | {"deadline": _in(stages, 3600)}
    job_id = await stages.submit("stock.create", MOSTLY_GOOD, options=options)
    await stages.mend()
    stages.clock.pass_seconds(7200)
    await stages.command(RetryJob, job_id, select=_mended(2))
    await stages.command(PauseJob, job_id)
    stages.restart()
    (await stages.command(ResumeJob, job_id)).accepted()
    await stages.mend()
    assert (await stages.job(job_id)).counts.succeeded == 3


async def test_a_retry_is_stopped_at_the_deadline_that_it_has_before_it(stages: Stages) -> None:
    options = LATE | {"deadline": _in(stages, 3600)}
    job_id = await stages.submit("stock.create", MOSTLY_GOOD, options=options)
    await stages.mend()
    (await stages.command(RetryJob, job_id, select=_mended(2))).accepted()
    late = [message for message in stages.bus if ".work." in message.topic]
    stages.bus.clear()
    stages.clock.pass_seconds(7200)
    assert await _fire(stages) == 1
    stages.bus += late
    await stages.mend()
    assert (await stages.job(job_id)).status is JobStatus.ROLLED_BACK
    assert await stages.rows("SELECT id FROM stock") == []


async def test_a_late_retry_is_stopped_at_the_deadline_that_it_is_given(stages: Stages) -> None:
    options = LATE | {"deadline": _in(stages, 3600)}
    job_id = await stages.submit("stock.create", MOSTLY_GOOD, options=options)
    await stages.mend()
    stages.clock.pass_seconds(7200)
    await stages.command(RetryJob, job_id, select=_mended(2))
    stages.bus.clear()
    (await stages.command(AdjustJob, job_id, deadline=_in(stages, 60))).accepted()
    assert len(await stages.rows("SELECT timer_id FROM timers")) == 1
    stages.clock.pass_seconds(61)
    assert await _fire(stages) == 1
    await stages.mend()
    assert (await stages.job(job_id)).status is JobStatus.ROLLED_BACK


async def test_a_step_of_a_batch_and_a_job_that_is_fed_are_retried_after_their_deadline(
    stages: Stages,
) -> None:
    first = await stages.submit("stock.send", [{"number": 1}, {"number": 2}])
    consume = [{"job_id": first, "consume": {"name": "sent"}}]
    fed = stages.ids.new()
    options = LATE | {"deadline": _in(stages, 3600)}
    spec = JobSpec(operation="stock.create", options=options | {"after": consume})
    (await stages.command(OpenJob, fed, spec=spec)).accepted()
    batch = await submit(stages, step("first", items=MOSTLY_GOOD, options=options))
    await stages.mend()
    assert (await stages.job(fed)).status is JobStatus.FAILED, "a name is no number"
    stages.clock.pass_seconds(7200)
    (await stages.command(RetryJob, fed, select=_mended(0))).accepted()
    (await stages.command(RetryJob, f"{batch}-1", select=_mended(2))).accepted()
    await stages.mend()
    assert (await stages.job(fed)).counts.succeeded == 1
    assert (await stages.job(batch)).counts.succeeded == 3


async def test_a_deadline_only_warns_unless_it_was_asked_to_stop(stages: Stages) -> None:
    job_id = await _submit(stages, deadline=_in(stages, 60), rate=20)
    await stages.run_dry()
    stages.clock.pass_seconds(61)
    await _fire(stages)
    await stages.run_dry()
    job = await stages.job(job_id)
    assert (job.status, job.missed_at is not None) == (JobStatus.RUNNING, True)


async def test_a_forecast_is_what_the_same_tenants_jobs_have_measured(stages: Stages) -> None:
    nothing = await _submit(stages, deadline=_in(stages, 60))
    stages.clock.pass_seconds(4)
    await stages.run_dry()
    assert (await stages.job(nothing)).measured is None
    second = await _submit(stages, deadline=_in(stages, 60))
    measured = (await stages.job(second)).measured
    assert measured is not None
    assert (measured.jobs, measured.items) == (1, 40)
    assert 9 < measured.items_per_second < 10.1
    other = await stages.submit(
        "stock.create", THINGS, tenant="other", options={"deadline": _in(stages, 60)}
    )
    assert (await stages.job(other)).measured is None, "what others do is not told"
    dry = await _submit(stages, dry_run=True)
    await stages.run_dry()
    assert (await stages.job(dry)).status is JobStatus.COMPLETED
    jobs = await stages.rows("SELECT jobs FROM operation_paces WHERE tenant = 'local'")
    assert jobs == [(2,)], "a dry run measures something else"


async def test_later_jobs_count_more(stages: Stages) -> None:
    spec = (await stages.job(await _submit(stages, deadline=_in(stages, 60)))).spec
    for seconds in (4, 40, 40):
        await stages.run_dry()
        await _submit(stages)
        stages.clock.pass_seconds(seconds)
    await stages.run_dry()
    known = await stages.database.read(lambda found: paces.known(found, "local", spec))
    assert known is not None
    assert known.items_per_second < 2.5
