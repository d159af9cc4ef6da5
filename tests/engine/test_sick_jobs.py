"""A job that cannot go on holds up neither the start nor other jobs."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from domain.commands import CancelJob, RetryJob
from domain.events import JobStatus
from domain.registry import Registry
from streams.envelope import Outgoing
from streams.stores import migrate
from streams.stores.database import Database
from tests.databases import sqlite_database
from tests.engine.stages import Stages
from tests.engine.stock import create, operations, stock

__all__ = ["sqlite_database"]

WITHOUT_CREATE = [operation for operation in operations if operation is not create]


@pytest.fixture
async def stages(sqlite_database: Database) -> Stages:
    migrate.create_missing(sqlite_database, [stock])
    return Stages(sqlite_database, Registry(operations))


async def test_a_job_whose_plugin_is_gone_waits_for_it(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", [{"name": "x"}] * 3000)
    await stages.deliver(stages.bus.pop(0))
    stages.bus.clear()
    stages.registry = Registry(WITHOUT_CREATE)
    stages.restart()
    stages.bus += await stages.sweep.recover()
    other = await stages.submit("stock.send", [{"number": 1}])
    for _ in range(3):
        await stages.run_dry()
        stages.clock.pass_seconds(6)
        stages.bus += await stages.sweep.sweep()
        assert stages.bus == [], "nobody can work it"
    assert (await stages.job(other)).status is JobStatus.COMPLETED
    assert (await stages.job(job_id)).status is JobStatus.RUNNING
    stages.registry = Registry(operations)
    stages.restart()
    await stages.mend()
    assert (await stages.job(job_id)).counts.succeeded == 3000


async def test_a_job_whose_plugin_is_gone_can_be_cancelled(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", [{"name": "x"}] * 3000)
    stages.registry = Registry(WITHOUT_CREATE)
    stages.restart()
    assert (await stages.command(CancelJob, job_id)).problem is None
    assert (await stages.job(job_id)).status is JobStatus.CANCELLED


async def test_a_job_whose_plugin_is_gone_is_not_retried(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", [{"name": "!"}])
    await stages.run_dry()
    stages.registry = Registry(WITHOUT_CREATE)
    stages.restart()
    problem = (await stages.command(RetryJob, job_id)).problem
    assert problem is not None
    assert problem["code"] == "unknown_operation"


async def test_a_job_whose_events_are_damaged_leaves_others_alone(stages: Stages) -> None:
    sick = await stages.submit("stock.create", [{"name": "x"}] * 3000)
    well = await stages.submit("stock.create", [{"name": "x"}] * 3000)
    stages.database.write_now(
        lambda connection: connection.exec_driver_sql(
            "UPDATE events SET state = X'7B' WHERE job_id = ?", (sick,)
        )
    )
    stages.bus.clear()
    stages.restart()
    stages.bus += await stages.sweep.recover()
    for _ in range(10):
        while stages.bus:
            message = stages.bus.pop(0)
            if message.key.startswith(well.encode()):
                await stages.deliver(message)
        stages.clock.pass_seconds(6)
        stages.bus += await stages.sweep.sweep()
    assert (await stages.job(well)).status is JobStatus.COMPLETED


async def test_a_job_is_said_to_be_left_once_and_again_after_it_was_well(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await stages.submit("stock.create", [{"name": "x"}] * 3000)
    healthy = stages.coordinator._step

    async def broken(*_: object) -> tuple[list[Outgoing], tuple[str, ...]]:
        raise ValueError("it cannot be decided on")

    with capture_logs() as logs:
        for step in (broken, broken, healthy, broken):
            monkeypatch.setattr(stages.coordinator, "_step", step)
            await stages.coordinator.look(job_id)
    assert [entry["event"] for entry in logs] == ["job_left", "job_left"]
    assert {entry["job_id"] for entry in logs} == {job_id}
