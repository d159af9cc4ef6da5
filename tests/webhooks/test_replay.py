"""A replay of more than may wait: as much as there is room for, and the rest when asked again."""

from __future__ import annotations

from domain.webhooks import MAX_WAITING, DeliveryState, WebhookChange
from streams.webhooks.subscriptions import LEFT_FREE
from tests.webhooks.receiver import ADMIN, PostOffice, Receiver

MOST = 10


async def _overfull(office: PostOffice, receiver: Receiver) -> str:
    """A webhook with one more than may wait, all of it dead; enabled again."""
    office.most_waiting = MOST
    office.restart()
    hook_id = (await office.hook(receiver.url)).row.webhook_id
    receiver.status = 503
    for n in range(MOST + 1):
        await office.job(f"job {n}")
    await office.look(2)
    assert (await office.webhooks.webhook("local", hook_id)).disabled == "overfull"
    assert [state for state, _ in await office.states(hook_id)] == ["dead"] * (MOST + 1)
    await office.webhooks.change(ADMIN, hook_id, WebhookChange(enabled=True))
    return hook_id


async def test_a_replay_leaves_room_for_what_happens_next(
    office: PostOffice, receiver: Receiver
) -> None:
    hook_id = await _overfull(office, receiver)

    assert await office.webhooks.replay(ADMIN, hook_id, None) == MOST - 1
    states = [state for state, _ in await office.states(hook_id)]
    assert states == ["waiting"] * (MOST - 1) + ["dead"] * 2, "the oldest first"
    assert await office.webhooks.replay(ADMIN, hook_id, None) == 0, "there is no room"

    receiver.status = 200
    await office.job("the next one")
    await office.look()
    assert (await office.webhooks.webhook("local", hook_id)).disabled is None
    states = [state for state, _ in await office.states(hook_id)]
    assert states == ["delivered"] * (MOST - 1) + ["dead"] * 2 + ["delivered"]

    assert await office.webhooks.replay(ADMIN, hook_id, None) == 2
    await office.look()
    assert {state for state, _ in await office.states(hook_id)} == {"delivered"}
    assert MAX_WAITING - MAX_WAITING // LEFT_FREE == 45_000, "as the guide says"


async def test_what_is_named_needs_room_as_well(office: PostOffice, receiver: Receiver) -> None:
    hook_id = await _overfull(office, receiver)
    dead = await office.webhooks.deliveries(
        "local", hook_id, [DeliveryState.DEAD], before=None, limit=100
    )
    latest = [one.position for one in dead]

    assert await office.webhooks.replay(ADMIN, hook_id, latest[:2]) == 2
    assert await office.webhooks.replay(ADMIN, hook_id, latest) == MOST - 3
    states = [state for state, _ in await office.states(hook_id)]
    assert states == ["waiting"] * (MOST - 3) + ["dead"] * 2 + ["waiting"] * 2
