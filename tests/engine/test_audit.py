"""The trail of a real job: whole as it is, and broken by any change to what it rests on."""

from __future__ import annotations

import asyncio

import pytest

from domain.commands import JobSpec
from domain.events import JobStatus
from domain.steps import BATCH, Needs, Step
from streams.stores import audit
from tests.databases import damage
from tests.engine.conftest import CALLER, Desk, lines


async def findings(desk: Desk, job_id: str) -> list[str]:
    report = await desk.engine.database.read(
        lambda _: audit.verify(desk.engine.database, None, job_id=job_id)
    )
    return [finding.message for finding in report.findings]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("UPDATE outcomes SET images = ledger", "before-images"),
        ("UPDATE outcomes SET ledger = images", "ledger"),
        ("UPDATE payloads SET data = (SELECT ledger FROM outcomes LIMIT 1)", "after it was sealed"),
        ("DELETE FROM outcomes", "outcome is gone"),
        ("UPDATE events SET actor = 'nobody' WHERE version = 2", "hash"),
    ],
)
async def test_what_a_job_left_cannot_be_changed_unseen(desk: Desk, change: str, says: str) -> None:
    await desk.settle(await desk.submit("stock.create", [{"name": "x"}] * 3))
    job_id = await desk.submit("stock.add", [{"id": n, "amount": 1} for n in (1, 2, 3)])
    await desk.settle(job_id)
    assert await findings(desk, job_id) == []
    await asyncio.to_thread(damage, desk.engine.database, change)
    assert any(says in finding for finding in await findings(desk, job_id))


async def test_a_batch_and_what_its_jobs_took_from_one_another_are_whole(desk: Desk) -> None:
    steps = (
        Step(name="make", operation="stock.create"),
        Step(
            name="send",
            operation="stock.send",
            after=(Needs(step="make", consume={"number": "id"}),),
        ),
    )
    spec = JobSpec(operation=BATCH, steps=steps)
    made = await desk.engine.gateway.submit_batch(
        CALLER, spec, [lines([{"name": "x"}] * 3), None], key=None
    )
    batch = await desk.settle(made.job_id)
    assert batch.counts.succeeded == 6
    await desk.command(made.job_id, "undo")
    await desk.until(made.job_id, JobStatus.ROLLBACK_INCOMPLETE)
    for job_id in (made.job_id, *(child.job_id for child in batch.children)):
        assert await findings(desk, job_id) == []
    change = "UPDATE events SET actor = 'nobody' WHERE alias = 'job.children_moved'"
    await asyncio.to_thread(damage, desk.engine.database, change)
    assert any("hash" in finding for finding in await findings(desk, made.job_id))
