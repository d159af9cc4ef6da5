"""A role one of whose partitions stands is not ready, and says which; the watchdog ends it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from faust.types import TP

from api.app import create_health_app
from api.server import serving
from domain.commands import PauseJob
from domain.registry import Registry
from streams import app as faust_apps
from streams.agents import Sender
from streams.bootstrap import parts
from streams.bootstrap.parts import Base
from streams.envelope import Outgoing, encode
from streams.liveness import Lane, Standing
from streams.settings import Settings
from streams.stores.database import Database
from streams.topics import COMMANDS
from streams.transport.memory import MemoryBroker, memory_transport
from streams.vitals import MOST_NAMED, STUCK_SECONDS, Vitals
from tests.databases import sqlite_database
from tests.engine.stages import HandClock

__all__ = ["sqlite_database"]

PATIENCE = 10.0


@dataclass
class Role:
    """A coordinator's way in over a broker in memory, and its vitals; its stage does nothing."""

    app: Any
    send: Sender
    clock: HandClock
    vitals: Vitals
    may_end: asyncio.Event
    done: asyncio.Queue[object] = field(default_factory=asyncio.Queue)
    client: Any = None

    async def handle(self, command: object) -> list[Outgoing]:
        await self.may_end.wait()
        self.done.put_nowait(command)
        return []

    async def command(self, partition: int) -> None:
        """Have a command come on that partition."""
        command = PauseJob(command_id="c", job_id="j", tenant="t", actor="a")
        await self.send(Outgoing(COMMANDS, b"j", encode(command), partition=partition))

    async def measured(self, waiting: int) -> None:
        """Wait until it was seen that so many messages wait."""
        async with asyncio.timeout(PATIENCE):
            await self.vitals.measure()
            while (await self.vitals.health()).waiting != waiting:
                await asyncio.sleep(0.001)
                await self.vitals.measure()

    async def asked(self, path: str) -> tuple[int, str]:
        """Status and text of an answer."""
        async with asyncio.timeout(PATIENCE), self.client.get(path) as response:
            return response.status, await response.text()


@pytest.fixture
async def role(sqlite_database: Database, tmp_path: Path) -> AsyncIterator[Role]:
    broker, clock = MemoryBroker(), HandClock()
    broker.create_topic(COMMANDS, 2)
    app = faust_apps.create_faust_app(
        app_id="coordinator", broker_url=str(broker.url), transport=memory_transport(broker)
    )
    base = Base.of(Settings(data_dir=tmp_path), Registry([]), sqlite_database, None)
    lane = Lane("the broker's partitions", clock, lambda: faust_apps.backlog(app))
    vitals = Vitals(sqlite_database, [lane], metrics=base.metrics)
    role = Role(app, Sender(app), clock, vitals, asyncio.Event())
    stage: Any = role
    parts.bind_coordinator(app, stage, role.send, base, lane)
    site = create_health_app(
        vitals, clock=base.clock, ids=base.ids, metrics=vitals.metrics.registry
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with (
            faust_apps.running(app, drain=PATIENCE),
            serving(site, listener, drain=5.0),
            aiohttp.ClientSession(url) as role.client,
        ):
            yield role
            role.may_end.set()


async def test_a_partition_that_stands_beside_one_that_moves_is_told(
    role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []
    monkeypatch.setattr(parts, "end_hung", ended.append)
    role.app.consumer.pause_partitions({TP(COMMANDS, 0)})
    await role.command(0)
    await role.measured(waiting=1)
    await role.command(1)
    await role.measured(waiting=2)
    role.clock.pass_seconds(STUCK_SECONDS - 1)
    assert (await role.asked("/health/ready"))[0] == 200
    role.may_end.set()
    async with asyncio.timeout(PATIENCE):
        await role.done.get()
    await role.measured(waiting=1)
    role.clock.pass_seconds(2)
    status, text = await role.asked("/health/ready")
    reason = (
        "the broker's partitions: 1 messages wait on partition 0 of countermand.commands "
        "and none was handled for 31 s"
    )
    assert (status, reason in text, "partition 1" in text) == (503, True, False)
    _, metrics = await role.asked("/metrics")
    assert "countermand_ready 0.0" in metrics
    assert "countermand_messages_waiting 1.0" in metrics
    await parts.watch(role.vitals)
    assert ended == [reason]


async def test_what_a_partition_has_handled_counts_before_anybody_measures(role: Role) -> None:
    for _ in range(2):
        await role.command(1)
    await role.measured(waiting=2)
    role.clock.pass_seconds(STUCK_SECONDS + 1)
    assert (await role.asked("/health/ready"))[0] == 503
    role.may_end.set()
    async with asyncio.timeout(PATIENCE):
        for _ in range(2):
            await role.done.get()
        while (await role.asked("/health/ready"))[0] != 200:  # noqa: ASYNC110 - it is noted later
            await asyncio.sleep(0.001)
    assert (await role.vitals.health()).waiting == 2, "nobody has measured since"


async def test_of_many_partitions_that_stand_a_few_are_named(sqlite_database: Database) -> None:
    clock, many = HandClock(), MOST_NAMED + 7

    async def all_stand() -> list[Standing]:
        return [Standing("t", number, done=0, waiting=1) for number in range(many)]

    vitals = Vitals(sqlite_database, [Lane("work", clock, all_stand)])
    await vitals.measure()
    clock.pass_seconds(STUCK_SECONDS + 1)
    reasons = (await vitals.health()).reasons
    assert len(reasons) == MOST_NAMED + 1
    assert reasons[-1] == "work: nor on 7 other partitions"
