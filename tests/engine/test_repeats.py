"""A command said twice, because its answer was lost on the way."""

from __future__ import annotations

from tests.engine.conftest import CALLER, Desk


async def test_an_undo_repeated_with_its_key_is_no_undo_of_the_undo(desk: Desk) -> None:
    job_id = await desk.submit("stock.create", [{"name": "x"}] * 3)
    await desk.settle(job_id)
    gateway = desk.engine.gateway

    first = await gateway.command(CALLER, job_id, "undo", "", key="once")
    undone = await desk.settle(job_id)
    again = await gateway.command(CALLER, job_id, "undo", "", key="once")

    assert again == first
    assert (await desk.job(job_id)).version == undone.version
    assert await desk.rows("SELECT count(*) FROM stock") == [(0,)]
    await gateway.command(CALLER, job_id, "undo", "", key="another")
    assert (await desk.settle(job_id)).counts.succeeded == 3
