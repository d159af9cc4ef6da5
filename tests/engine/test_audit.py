"""The trail of a real job: whole as it is, and broken by any change to what it rests on."""

from __future__ import annotations

import pytest

from streams.stores import audit
from tests.engine.conftest import Desk


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
        ("UPDATE payloads SET data = (SELECT ledger FROM outcomes LIMIT 1)", "content"),
        ("DELETE FROM outcomes", "outcome is gone"),
        ("UPDATE events SET actor = 'nobody' WHERE version = 2", "hash"),
    ],
)
async def test_what_a_job_left_cannot_be_changed_unseen(desk: Desk, change: str, says: str) -> None:
    await desk.settle(await desk.submit("stock.create", [{"name": "x"}] * 3))
    job_id = await desk.submit("stock.add", [{"id": n, "amount": 1} for n in (1, 2, 3)])
    await desk.settle(job_id)
    assert await findings(desk, job_id) == []
    await desk.engine.database.write(lambda connection: connection.exec_driver_sql(change))
    assert any(says in finding for finding in await findings(desk, job_id))
