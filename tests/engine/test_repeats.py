"""A command said twice, because its answer was lost on the way."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import update

from domain.commands import Adjustment, JobSpec, UndoSelection
from domain.errors import DecisionPending, IdempotencyConflict, JobNotFound, WrongState
from streams.callers import Caller
from streams.envelope import Outgoing
from streams.saying import More
from streams.stores import decisions
from streams.stores.schema import reservations
from streams.timers import DECISION_SECONDS
from tests.engine.conftest import CALLER, Desk, lines


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


ITEMS = [{"name": "x"}] * 3


@pytest.mark.parametrize("other", [More(undo=UndoSelection(items=(1,))), More()])
async def test_a_verb_with_the_key_of_another_is_refused(desk: Desk, other: More) -> None:
    more = More(undo=UndoSelection(items=(0,)))
    job_id = await desk.submit("stock.create", ITEMS)
    await desk.settle(job_id)
    command = desk.engine.gateway.command
    first = await command(CALLER, job_id, "undo", "", key="once", more=more)
    with pytest.raises(IdempotencyConflict, match=r"'once' was used for job .* with another body"):
        await command(CALLER, job_id, "undo", "", key="once", more=other)
    assert await command(CALLER, job_id, "undo", "", key="once", more=more) == first
    assert (await desk.settle(job_id)).counts.rolled_back == 1
    # Elsewhere the key is free.
    another = await desk.submit("stock.create", ITEMS)
    await desk.settle(another)
    await command(CALLER, another, "undo", "", key="once", more=other)


async def test_an_adjustment_with_the_key_of_another_is_refused(desk: Desk) -> None:
    draft = JobSpec(operation="stock.create")
    job_id = (await desk.engine.gateway.open(CALLER, draft, key=None)).job_id
    adjust = desk.engine.gateway.adjust
    first = await adjust(CALLER, job_id, Adjustment(priority=7), key="once")
    with pytest.raises(IdempotencyConflict):
        await adjust(CALLER, job_id, Adjustment(priority=8), key="once")
    assert await adjust(CALLER, job_id, Adjustment(priority=7), key="once", if_version=1) == first
    assert (await desk.job(job_id)).priority == 7


async def test_another_tenant_does_not_use_up_a_key(desk: Desk) -> None:
    job_id = await desk.submit("stock.create", [{"name": "x"}])
    await desk.settle(job_id)
    foreign = Caller("other", "eve")
    gateway = desk.engine.gateway
    for caller in (foreign, CALLER, foreign):
        undo = gateway.command(caller, job_id, "undo", "", key="once")
        if caller is CALLER:
            await undo
            continue
        with pytest.raises(JobNotFound):
            await undo
    assert (await desk.settle(job_id)).counts.rolled_back == 1


async def test_a_submit_said_several_times_at_once_makes_one_job(desk: Desk) -> None:
    spec = JobSpec(operation="stock.create")
    said = [
        desk.engine.gateway.submit(CALLER, spec, lines([{"name": "x"}] * 3), key="key")
        for _ in range(4)
    ]
    (job_id,) = {decision.job_id for decision in await asyncio.gather(*said)}
    await desk.settle(job_id)
    assert await desk.rows("SELECT count(*) FROM stock") == [(3,)]


NEVER = 1e12
"""A moment that all of a test is before."""


async def cleaned(desk: Desk) -> None:
    """What may be forgotten is, however old it has to be for that."""
    while await desk.engine.database.write(lambda c: decisions.remove_old(c, NEVER, limit=2)):
        pass


async def test_a_key_is_known_as_long_as_its_job(desk: Desk) -> None:
    gateway, spec = desk.engine.gateway, JobSpec(operation="stock.create")
    submitted = await gateway.submit(CALLER, spec, lines(ITEMS), key="file")
    job_id = submitted.job_id
    await desk.settle(job_id)
    undone = await gateway.command(CALLER, job_id, "undo", "", key="back")
    await desk.settle(job_id)
    await cleaned(desk)

    assert await gateway.submit(CALLER, spec, lines(ITEMS), key="file") == submitted
    assert await gateway.command(CALLER, job_id, "undo", "", key="back") == undone
    with pytest.raises(IdempotencyConflict):
        await gateway.submit(CALLER, spec, lines(ITEMS[:1]), key="file")
    assert (await desk.settle(job_id)).counts.rolled_back == 3
    assert await desk.rows("SELECT count(*) FROM stock") == [(0,)]


async def test_what_was_refused_is_forgotten_and_may_be_asked_anew(desk: Desk) -> None:
    gateway, other = desk.engine.gateway, Caller("other", "eve")
    draft = JobSpec(operation="stock.create")
    job_id = (await gateway.open(CALLER, draft, key="draft")).job_id
    with pytest.raises(WrongState):
        await gateway.command(CALLER, job_id, "undo", "", key="too early")
    with pytest.raises(JobNotFound):
        await gateway.command(other, job_id, "undo", "", key="of a stranger")
    await cleaned(desk)
    assert await desk.rows("SELECT key FROM reservations") == [("draft",)]
    assert await desk.rows("SELECT command_id FROM decisions") == [(f"{job_id}.open",)]


async def test_a_key_that_came_to_nothing_is_not_forgotten_while_it_is_used_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a coordinator that starts before the command which was sent meanwhile is decided."""
    gateway, spec = desk.engine.gateway, JobSpec(operation="stock.create")
    send, held = gateway._send, list[Outgoing]()

    async def hold(outgoing: Outgoing) -> None:
        held.append(outgoing)

    with monkeypatch.context() as nobody:
        nobody.setattr(gateway, "_send", hold)
        nobody.setattr("streams.gateway.DECISION_SECONDS", 0.1)
        with pytest.raises(DecisionPending):
            await gateway.submit(CALLER, spec, lines(ITEMS), key="file")
        await desk.engine.database.write(
            lambda found: found.execute(update(reservations).values(created_at=1.0))
        )
        with pytest.raises(DecisionPending):
            await gateway.submit(CALLER, spec, lines(ITEMS), key="file")
    week_ago = desk.engine.clock.now().timestamp() - DECISION_SECONDS
    await desk.engine.database.write(lambda found: decisions.remove_old(found, week_ago))
    await send(held[-1])

    submitted = await gateway.submit(CALLER, spec, lines(ITEMS), key="file")
    await desk.settle(submitted.job_id)
    assert await desk.rows("SELECT count(*) FROM stock") == [(3,)]
    assert await desk.rows("SELECT count(*) FROM job_control") == [(1,)]
