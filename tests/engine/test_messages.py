"""Messages are hints: lost, doubled, late or out of order, the outcome is the same."""

from __future__ import annotations

import random

import pytest

from domain.commands import CancelJob, PauseJob, ResumeJob, RetryJob, UndoJob
from domain.events import JobStatus
from domain.options import JobOptions
from domain.registry import Registry
from streams import topics
from streams.envelope import decode_work
from streams.stores import migrate
from streams.stores.database import Database
from tests.databases import database, database_url
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url"]

BY_HUNDRED = JobOptions(chunk_size=100)


@pytest.fixture
async def stages(database: Database) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(operations))


async def with_stock(stages: Stages, count: int) -> None:
    await stages.submit("stock.create", [{"name": "x"}] * count)
    await stages.run_dry()


async def test_nothing_is_lost_when_every_first_work_message_is(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", [{"name": "x"}] * 500)
    stages.bus = [m for m in stages.bus if m.topic == topics.COMMANDS]
    await stages.mend()
    job = await stages.job(job_id)
    assert job.status is JobStatus.COMPLETED
    assert await stages.rows("SELECT count(*) FROM stock") == [(500,)]


async def test_a_work_message_that_comes_again_changes_nothing(stages: Stages) -> None:
    await with_stock(stages, 10)
    job_id = await stages.submit("stock.add", [{"id": n, "amount": 1} for n in range(1, 11)])
    work = list(stages.bus)
    await stages.run_dry()
    for message in work * 3:
        await stages.deliver(message)
    await stages.mend()
    assert (await stages.job(job_id)).counts.succeeded == 10
    assert await stages.rows("SELECT sum(amount) FROM stock") == [(10,)]


async def test_lost_hints_are_found_by_the_sweep(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", [{"name": "x"}] * 500)
    while any(m.topic != topics.COMMANDS for m in stages.bus):
        message = stages.bus.pop(0)
        if message.topic != topics.COMMANDS:
            await stages.deliver(message)
    stages.bus.clear()
    await stages.mend()
    assert (await stages.job(job_id)).counts.succeeded == 500


async def test_after_a_pause_late_work_messages_write_nothing(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", [{"name": "x"}] * 3000)
    late = list(stages.bus)
    stages.bus.clear()
    assert (await stages.command(PauseJob, job_id)).problem is None
    for message in late:
        await stages.deliver(message)
    assert await stages.rows("SELECT count(*) FROM stock") == [(0,)]
    await stages.command(ResumeJob, job_id)
    await stages.mend()
    assert await stages.rows("SELECT count(*) FROM stock") == [(3000,)]


async def test_an_effect_that_a_cancel_overtook_is_written_nowhere(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", [{"name": "x"}] * 300)
    (work,) = stages.bus[:1]
    await stages.command(CancelJob, job_id)
    await stages.deliver(work)
    job = await stages.job(job_id)
    assert (job.counts.succeeded, job.counts.skipped) == (0, 300)
    assert await stages.rows("SELECT count(*) FROM stock") == [(0,)]


async def test_a_command_that_comes_again_is_decided_once(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", [{"name": "x"}] * 3000)
    command = PauseJob(command_id="again", job_id=job_id, tenant="local", actor="tester")
    await stages.coordinator.handle(command)
    first = stages.decisions.pop("again")
    version = (await stages.job(job_id)).version
    await stages.coordinator.handle(command)
    assert stages.decisions["again"] == first
    assert (await stages.job(job_id)).version == version


async def test_another_tenant_s_command_finds_no_job(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", [{"name": "x"}])
    foreign = PauseJob(command_id="foreign", job_id=job_id, tenant="other", actor="eve")
    await stages.coordinator.handle(foreign)
    problem = stages.decisions["foreign"].problem
    assert problem is not None
    assert problem["code"] == "job_not_found"


async def test_two_coordinators_on_one_job_agree(stages: Stages) -> None:
    """One reloads and decides again when the other has appended first."""
    job_id = await stages.submit("stock.create", [{"name": "x"}] * 3000)
    first, bus = stages.coordinator, list(stages.bus)
    stages.restart()
    await stages.command(PauseJob, job_id)
    await stages.command(ResumeJob, job_id)
    stages.coordinator = first
    await stages.command(PauseJob, job_id)
    assert (await stages.job(job_id)).status is JobStatus.PAUSED
    await stages.command(ResumeJob, job_id)
    stages.bus += bus
    await stages.mend()
    assert await stages.rows("SELECT count(*) FROM stock") == [(3000,)]


async def test_a_small_job_does_not_wait_for_a_large_one(stages: Stages) -> None:
    large = await stages.submit("stock.create", [{"name": "large"}] * 50_000)
    small = await stages.submit("stock.create", [{"name": "small"}] * 100)
    for _ in range(40):
        if (await stages.job(small)).status.terminal:
            break
        await stages.deliver(stages.bus.pop(0))
    assert (await stages.job(small)).status is JobStatus.COMPLETED
    assert (await stages.job(large)).counts.succeeded < 10_000


@pytest.mark.parametrize("seed", range(6))
async def test_any_delivery_gives_the_same_outcome(stages: Stages, seed: int) -> None:
    """Loss, doubles, any order, and processes that die between any two messages."""
    chance = random.Random(seed)
    await with_stock(stages, 400)
    additions = [{"id": n, "amount": 1} for n in range(1, 451)]
    job_id = await stages.submit("stock.add", additions, options={"chunk_size": 30})
    for _ in range(60):
        if not stages.bus:
            stages.clock.pass_seconds(6)
            stages.bus += await stages.sweep.sweep()
            continue
        message = stages.bus.pop(chance.randrange(len(stages.bus)))
        fate = chance.random()
        if fate < 0.15:
            continue
        if fate < 0.3:
            stages.bus.append(message)
        if fate > 0.95:
            stages.restart()
        await stages.deliver(message)
    await stages.mend()
    job = await stages.job(job_id)
    assert (job.counts.succeeded, job.counts.failed) == (400, 50)
    assert await stages.rows("SELECT min(amount), max(amount) FROM stock") == [(1, 1)]
    await stages.command(UndoJob, job_id)
    for message in list(stages.bus) * 2:
        await stages.deliver(message)
    await stages.mend()
    job = await stages.job(job_id)
    assert (job.status, job.counts.rolled_back) == (JobStatus.ROLLED_BACK, 400)
    assert await stages.rows("SELECT min(amount), max(amount) FROM stock") == [(0, 0)]
    versions = await stages.rows(
        f"SELECT count(*), max(version) FROM events WHERE job_id = '{job_id}'"
    )
    assert versions[0][0] == versions[0][1]


async def test_a_retry_after_the_cause_is_mended(stages: Stages) -> None:
    job_id = await stages.submit("stock.add", [{"id": n, "amount": 1} for n in range(1, 6)])
    await stages.mend()
    await with_stock(stages, 5)
    await stages.command(RetryJob, job_id)
    await stages.mend()
    assert (await stages.job(job_id)).status is JobStatus.COMPLETED


def keys_of_work(stages: Stages) -> list[tuple[str, int, int]]:
    """Key, first chunk and its attempt of the work messages under way."""
    found = []
    for message in stages.bus:
        if message.topic == topics.work("stock"):
            work = decode_work(message.value)
            found.append((message.key.decode(), work.chunks[0].chunk, work.chunks[0].attempt))
    return found


async def test_work_that_must_stay_in_order_has_the_key_of_its_job(stages: Stages) -> None:
    await with_stock(stages, 10)
    items = [{"id": n, "amount": 1} for n in range(1, 11)] * 30
    job_id = await stages.submit("stock.add", items, options=BY_HUNDRED)
    assert {key for key, _, _ in keys_of_work(stages)} == {job_id}
    stages.bus.clear()
    stages.clock.pass_seconds(6)
    stages.bus += await stages.sweep.sweep()
    assert {key for key, _, _ in keys_of_work(stages)} == {job_id}


async def test_independent_work_has_keys_of_its_own_and_another_when_it_is_sent_again(
    stages: Stages,
) -> None:
    job_id = await stages.submit("stock.create", [{"name": "x"}] * 300, options=BY_HUNDRED)
    first = keys_of_work(stages)
    assert len(first) > 1
    assert [key for key, _, _ in first] == [f"{job_id}.{chunk}.{n}" for _, chunk, n in first]
    stages.bus.clear()
    stages.clock.pass_seconds(6)
    stages.bus += await stages.sweep.sweep()
    again = keys_of_work(stages)
    assert [chunk for _, chunk, _ in again] == [chunk for _, chunk, _ in first]
    assert not {key for key, _, _ in first} & {key for key, _, _ in again}
    await stages.mend()
    await stages.command(UndoJob, job_id)
    assert {key for key, _, _ in keys_of_work(stages)} == {job_id}
