"""What a worker process does between SIGTERM and its end, and how it says that it is there."""

from __future__ import annotations

import asyncio

import pytest

from streams.bootstrap import scaled
from streams.envelope import Outgoing, Work
from tests.engine.roles import REGISTRY, TOLD, Roles, migrated_postgres, roles, until

__all__ = ["migrated_postgres", "roles"]

pytestmark = [pytest.mark.service("postgresql"), pytest.mark.timeout(60)]


class Busy:
    """Handles each message for so long, and then tells of it."""

    def __init__(self, seconds: float) -> None:
        self.begun = asyncio.Event()
        self._seconds = seconds

    async def __call__(self, _work: Work) -> list[Outgoing]:
        self.begun.set()
        await asyncio.sleep(self._seconds)
        return [Outgoing(TOLD, b"job", b"done")]


@pytest.mark.parametrize("slot", [0, 1])
async def test_a_slot_that_is_busy_tells_what_it_did_beside_one_that_is_idle(
    roles: Roles, slot: int
) -> None:
    busy = Busy(1.0)
    roles.work_by(busy)
    async with scaled.worker(roles.settings(), REGISTRY):
        await roles.send(slot)
        await busy.begun.wait()
    assert roles.hard_ends == []
    assert roles.told == 1


async def test_a_worker_that_drains_says_that_it_is_there_until_it_has_left(roles: Roles) -> None:
    busy, seen = Busy(2.0), []
    roles.work_by(busy)

    async def look() -> None:
        while True:
            seen.extend(await roles.seen())
            await asyncio.sleep(0.02)

    async with scaled.worker(roles.settings(heartbeat=0.05), REGISTRY):
        await roles.until_seen()
        await roles.send(0)
        await busy.begun.wait()
        told_to_end = roles.clock.now().timestamp()
        looking = asyncio.ensure_future(look())
    looking.cancel()
    assert seen[-1] > told_to_end + 0.2, "it was silent while it drained"
    assert await roles.seen() == []


async def test_slots_that_end_are_sent_no_more(roles: Roles) -> None:
    busy = Busy(2.0)
    roles.work_by(busy)
    holds: list[str] = []

    async def look() -> None:
        while True:
            rows = await roles.database.read(
                lambda connection: connection.exec_driver_sql("SELECT holds FROM workers").all()
            )
            holds.extend(held for (held,) in rows)
            await asyncio.sleep(0.02)

    async def are_held() -> bool:
        return any("countermand.work.stock" in held for held in holds)

    async with scaled.worker(roles.settings(heartbeat=0.05), REGISTRY):
        await roles.send(0)
        await busy.begun.wait()
        looking = asyncio.ensure_future(look())
        await until(are_held)
    looking.cancel()
    assert holds[-1] == "[{},{}]", "a slot that ends has nothing to be sent to"


async def test_a_long_heartbeat_of_chunks_leaves_a_worker_no_less_alive(roles: Roles) -> None:
    async with scaled.worker(roles.settings(lease=300.0, heartbeat=60.0), REGISTRY):
        first = await roles.until_seen()

        async def said_again() -> bool:
            return await roles.until_seen() > first

        await until(said_again)
