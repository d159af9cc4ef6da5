"""Queueing for those that want it then, counted seldom, and read by its index."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, event

from domain.webhooks import WebhookChange
from streams.stores import webhook_deliveries as deliveries
from streams.stores.database import Database
from streams.webhooks.queueing import COUNTED_AFTER, Queueing
from streams.webhooks.subscriptions import LEFT_FREE
from tests.databases import sqlite_database
from tests.webhooks.receiver import ADMIN, PostOffice, Receiver

__all__ = ["sqlite_database"]

OFF, ON = WebhookChange(enabled=False), WebhookChange(enabled=True)


def _between(monkeypatch: pytest.MonkeyPatch, what: Any) -> None:
    """Something is done once, after what happened was read and before it is queued."""
    queue, left = Queueing.step, [what]

    async def step(self: Queueing) -> Any:
        write = self._database.write

        async def written(*args: Any, **more: Any) -> Any:
            while left:
                await left.pop()()
            return await write(*args, **more)

        monkeypatch.setattr(self._database, "write", written)
        try:
            return await queue(self)
        finally:
            monkeypatch.setattr(self._database, "write", write)

    monkeypatch.setattr(Queueing, "step", step)


async def test_what_is_disabled_in_between_is_queued_nothing(
    office: PostOffice, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = (await office.hook(receiver.url)).row.webhook_id
    await office.hook(receiver.url)
    await office.job()

    _between(monkeypatch, partial(office.webhooks.change, ADMIN, off, OFF))
    await office.look(2)
    assert await office.states(off) == []
    assert len(receiver.got) == 1, "the other one has it"

    await office.webhooks.change(ADMIN, off, ON)
    await office.look(2)
    assert len(receiver.got) == 1


async def test_what_was_before_it_was_enabled_again_is_not_queued(
    office: PostOffice, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook_id = (await office.hook(receiver.url)).row.webhook_id
    await office.job()

    async def off_and_on() -> None:
        await office.webhooks.change(ADMIN, hook_id, OFF)
        await office.webhooks.change(ADMIN, hook_id, ON)

    _between(monkeypatch, off_and_on)
    await office.look(2)
    assert await office.states(hook_id) == []
    await office.job()
    await office.look(2)
    assert await office.states(hook_id) == [("delivered", 1)]


async def test_what_waits_for_one_that_is_disabled_is_dead_when_it_is_enabled(
    office: PostOffice, receiver: Receiver
) -> None:
    """A transaction that queues may end after the one that disables."""
    hook_id = (await office.hook(receiver.url)).row.webhook_id
    receiver.status = 503
    await office.job()
    await office.look(2)
    await office.webhooks.change(ADMIN, hook_id, OFF)
    await office.stages.database.write(_late)

    await office.webhooks.change(ADMIN, hook_id, ON)
    assert {state for state, _ in await office.states(hook_id)} == {"dead"}


def _late(connection: Connection) -> None:
    connection.exec_driver_sql("UPDATE webhook_deliveries SET state = 'waiting', ended_at = NULL")


async def test_what_waits_is_counted_seldom(
    office: PostOffice, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    count = deliveries.waiting

    def counting(connection: Connection, webhook_id: str, most: int) -> int:
        counted.append(webhook_id)
        return count(connection, webhook_id, most)

    monkeypatch.setattr(deliveries, "waiting", counting)
    office.most_waiting = 100
    office.restart()
    await office.hook(receiver.url)
    receiver.status = 503
    for n in range(9):
        await office.job(f"job {n}")
        await office.look(1)
    assert len(counted) == 1


async def test_a_replay_is_counted_where_counting_is_seldom(
    office: PostOffice, receiver: Receiver
) -> None:
    """As many wait as may, and not one more."""
    office.most_waiting = 40
    office.restart()
    hook_id = (await office.hook(receiver.url)).row.webhook_id
    receiver.status = 503
    for n in range(37):
        await office.job(f"job {n}")
    await office.look(1)
    await office.webhooks.change(ADMIN, hook_id, OFF)
    await office.webhooks.change(ADMIN, hook_id, ON)
    await office.job("counted anew")
    await office.look(1)
    assert await office.webhooks.replay(ADMIN, hook_id, None) == 35

    for n in range(4):
        await office.job(f"one of the last places {n}")
        await office.look(1)
    assert (await office.webhooks.webhook("local", hook_id)).disabled is None
    states = [state for state, _ in await office.states(hook_id)]
    assert states.count("waiting") == 40
    await office.job("one more")
    await office.look(1)
    assert (await office.webhooks.webhook("local", hook_id)).disabled == "overfull"
    assert COUNTED_AFTER >= LEFT_FREE, "what a replay leaves free is counted before it is full"


async def test_what_is_due_is_read_as_its_index_has_it(sqlite_database: Database) -> None:
    """A replay makes all due at once; nothing is sorted for the few that are sent next."""
    asked: list[tuple[str, Any]] = []

    def plan(connection: Connection) -> str:
        event.listen(
            connection,
            "before_cursor_execute",
            lambda _c, _r, statement, values, *_: asked.append((statement, values)),
        )
        deliveries.due(connection, "w", 2.0, [1, 2], 4)
        statement, values = asked[0]
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        return "\n".join(row[-1] for row in rows)

    found = await sqlite_database.read(plan)
    assert "webhook_deliveries_due" in found
    assert "TEMP B-TREE" not in found
