"""When failures disable a webhook: those of its address, on days on which it was asked."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from domain.webhooks import DISABLED_AFTER, MAX_ATTEMPTS, WebhookChange
from streams.stores.webhooks import WebhookRow
from tests.webhooks.receiver import ADMIN, Answering, PostOffice, Receiver, receiving

DAY = 86400.0


async def _row(office: PostOffice, hook_id: str) -> WebhookRow:
    return await office.webhooks.webhook("local", hook_id)


def _late(status: int, now: asyncio.Event) -> Answering:
    async def answering(_request: web.Request) -> web.StreamResponse:
        await now.wait()
        return web.Response(status=status)

    return answering


async def _moved(office: PostOffice, old: Receiver, url: str) -> str:
    """A webhook that goes elsewhere by now, while its old address has not answered yet."""
    hook_id = (await office.hook(old.url)).row.webhook_id
    await office.job("asked of the old address")
    await office.courier.look()
    await old.came.wait()
    await office.webhooks.change(ADMIN, hook_id, WebhookChange(url=url))
    return hook_id


@pytest.mark.parametrize("status", [410, 503])
async def test_what_the_old_address_answers_is_not_held_against_the_new_one(
    office: PostOffice, receiver: Receiver, status: int
) -> None:
    now = asyncio.Event()
    async with receiving() as old:
        old.answering = _late(status, now)
        hook_id = await _moved(office, old, receiver.url)
        now.set()
        await office.courier.quiet()

    row = await _row(office, hook_id)
    assert (row.disabled, row.failing_since) == (None, None)
    assert await office.states(hook_id) == [("waiting", 1)]
    await office.exhaust()
    assert receiver.ids == old.ids
    assert await office.states(hook_id) == [("delivered", 2)]


async def test_what_the_old_address_takes_does_not_speak_for_the_new_one(
    office: PostOffice, receiver: Receiver
) -> None:
    now, receiver.status = asyncio.Event(), 503
    async with receiving() as old:
        old.answering = _late(200, now)
        hook_id = await _moved(office, old, receiver.url)
        await office.job("asked of the new address")
        await office.courier.look()
        async with asyncio.timeout(10):
            while (await _row(office, hook_id)).failing_since is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        now.set()
        await office.courier.quiet()

    assert (await _row(office, hook_id)).failing_since is not None
    assert await office.states(hook_id) == [("delivered", 1), ("waiting", 1)]


async def test_another_address_has_not_failed_yet(office: PostOffice, receiver: Receiver) -> None:
    hook_id = (await office.hook(receiver.url)).row.webhook_id
    receiver.status = 503
    await office.job()
    await office.look(2)
    since = (await _row(office, hook_id)).failing_since
    assert since is not None

    for same in (WebhookChange(description="as before"), WebhookChange(url=receiver.url)):
        await office.webhooks.change(ADMIN, hook_id, same)
        assert (await _row(office, hook_id)).failing_since == since
    elsewhere = WebhookChange(url=f"{receiver.url}/elsewhere")
    changed = await office.webhooks.change(ADMIN, hook_id, elsewhere)
    assert changed.failing_since is None


@pytest.mark.parametrize("replayed", [False, True])
async def test_one_failure_after_a_quiet_week_is_one_failure(
    office: PostOffice, receiver: Receiver, *, replayed: bool
) -> None:
    hook_id = (await office.hook(receiver.url)).row.webhook_id
    receiver.status = 503
    await office.job("a week ago")
    await office.exhaust()
    assert await office.states(hook_id) == [("dead", MAX_ATTEMPTS)]
    office.clock.pass_seconds(7 * DAY)

    began = office.clock.now().timestamp()
    if replayed:
        assert await office.webhooks.replay(ADMIN, hook_id, None) == 1
    else:
        await office.job("today")
    await office.look(2)

    row = await _row(office, hook_id)
    assert row.disabled is None
    assert row.failing_since is not None
    assert row.failing_since > began
    state, attempts = (await office.states(hook_id))[-1]
    assert (state, attempts) == ("waiting", MAX_ATTEMPTS + 1 if replayed else 1)
    receiver.status = 200
    await office.exhaust()
    assert (await _row(office, hook_id)).failing_since is None


async def test_a_receiver_that_is_asked_once_a_day_and_never_there_is_disabled(
    office: PostOffice, receiver: Receiver
) -> None:
    """What failed a day ago has been given up by then, and counts all the same."""
    hook_id = (await office.hook(receiver.url)).row.webhook_id
    receiver.status = 503
    began = office.clock.now().timestamp()
    for day in range(5):
        office.clock.pass_seconds(max(0.0, began + day * DAY - office.clock.now().timestamp()))
        await office.job(f"day {day}")
        await office.exhaust()

    row = await _row(office, hook_id)
    assert row.disabled == "failing"
    assert row.disabled_at is not None
    assert DISABLED_AFTER <= row.disabled_at - began < DISABLED_AFTER + DAY
    assert len(receiver.got) > 2 * MAX_ATTEMPTS
