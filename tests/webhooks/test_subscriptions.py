"""Subscriptions: secrets that cannot be opened any more, and changes that are made at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Connection

from domain.errors import DataDirectoryUnusable
from domain.webhooks import Subscription, WebhookChange
from streams.stores import webhooks as store
from streams.stores.database import Database
from streams.stores.sealing import InstallationKey
from streams.stores.webhooks import Target
from streams.webhooks import Webhooks, signing
from tests.engine.stages import HandClock
from tests.webhooks.receiver import ADMIN, LOCAL, Hex

LOST, FOUND = InstallationKey(bytes(32)), InstallationKey(bytes(range(32)))
A_DAY = 86_400.0


def _webhooks(database: Database, clock: HandClock) -> Webhooks:
    draws = iter(range(1, 100))
    return Webhooks(
        database=database,
        clock=clock,
        ids=Hex(),
        draw=lambda size: bytes([next(draws)]) * size,
        addresses=LOCAL,
    )


async def _hook(webhooks: Webhooks) -> str:
    wanted = Subscription(url="http://127.0.0.1/hook", events=("job.finished",))
    return (await webhooks.create(ADMIN, wanted)).row.webhook_id


async def _target(database: Database, webhook_id: str, clock: HandClock) -> Target | None:
    now = clock.now().timestamp()
    return await database.read(lambda c: store.target(c, webhook_id, now))


async def test_a_rotated_secret_signs_although_nobody_can_open_the_one_before(
    database_url: str,
) -> None:
    """The remedy for a secret that cannot be opened, with the overlap that it has unasked."""
    clock = HandClock()
    with Database(database_url, key=LOST) as database:
        webhook_id = await _hook(_webhooks(database, clock))
    with Database(database_url, key=FOUND) as database:
        with pytest.raises(DataDirectoryUnusable, match="rotate the secret"):
            await _target(database, webhook_id, clock)
        newer = await _webhooks(database, clock).rotate(ADMIN, webhook_id, A_DAY)
        clock.pass_seconds(60)
        target = await _target(database, webhook_id, clock)
    assert target is not None
    assert [signing.shown(secret) for secret in target.secrets] == [newer.secret]


async def test_a_secret_that_nobody_can_open_signs_nothing_by_the_one_before(
    database_url: str,
) -> None:
    """Receivers check by the new one, so that this would be as good as not signed."""
    clock = HandClock()
    with Database(database_url, key=FOUND) as database:
        webhook_id = await _hook(_webhooks(database, clock))
    with Database(database_url, key=LOST) as database:
        await _webhooks(database, clock).rotate(ADMIN, webhook_id, A_DAY)
    with (
        Database(database_url, key=FOUND) as database,
        pytest.raises(DataDirectoryUnusable, match="rotate the secret"),
    ):
        await _target(database, webhook_id, clock)


async def test_of_two_changes_at_once_none_is_lost(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhooks = _webhooks(database, HandClock())
    webhook_id = await _hook(webhooks)
    both_have_read = threading.Barrier(2)
    write = store.change

    def late(connection: Connection, webhook_id: str, values: Mapping[str, Any]) -> None:
        with suppress(threading.BrokenBarrierError):
            both_have_read.wait(0.5)
        write(connection, webhook_id, values)

    monkeypatch.setattr(store, "change", late)
    await asyncio.gather(
        webhooks.change(ADMIN, webhook_id, WebhookChange(events=("job.cancelled",))),
        webhooks.change(ADMIN, webhook_id, WebhookChange(tags=("nightly",))),
    )

    kept = (await webhooks.webhook(ADMIN.tenant, webhook_id)).filter
    assert (kept.events, kept.tags) == (("job.cancelled",), ("nightly",))
