"""Standing: each kind of process over a broker of any kind, with a stage that does nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from faust.types import TP

from api.app import create_health_app
from api.server import serving
from domain.commands import PauseJob
from domain.registry import Registry
from streams import app as faust_apps
from streams import topics
from streams.agents import Sender
from streams.bootstrap import parts
from streams.bootstrap.parts import Base
from streams.envelope import Outgoing, Work, encode
from streams.intake import Intake
from streams.liveness import Lane
from streams.settings import Settings
from streams.stores.database import Database
from streams.topics import COMMANDS, EVENTS
from streams.vitals import STUCK_SECONDS, Vitals
from tests.engine.stages import HandClock

PATIENCE = 20.0
PARTITIONS = 2
LANE = "the way in"
SYSTEM = "stock"


@dataclass
class Role:
    """The way in of a process, and its vitals; its stage ends when it may."""

    app: Any
    way: Way
    send: Sender
    clock: HandClock
    vitals: Vitals
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Queue[object] = field(default_factory=asyncio.Queue)
    client: Any = None

    async def handle(self, message: object) -> list[Outgoing]:
        """What its stage does."""
        await self.may_end.wait()
        self.done.put_nowait(message)
        return []

    # As who serves readers has it.
    event = outcome = handle

    def decode_event(self, value: bytes | None) -> bytes | None:
        """Nothing is made of it here."""
        return value

    decode_outcome = decode_event

    def stand(self, partition: int) -> None:
        """Take no more from that partition."""
        self.app.consumer.pause_partitions({TP(self.way.topic, partition)})

    async def message(self, partition: int) -> None:
        """Have a message come on that partition."""
        await self.send(Outgoing(self.way.topic, b"j", self.way.message, partition=partition))

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


Bind = Callable[[Role, Base, Lane], None]


@dataclass(frozen=True, slots=True)
class Way:
    """How a kind of process is reached: on which topic, by what, and what binds its stage."""

    topic: str
    message: bytes
    bind: Bind


def _coordinator(role: Role, base: Base, lane: Lane) -> None:
    stage: Any = role
    parts.bind_coordinator(role.app, stage, role.send, base, lane)


def _worker(role: Role, base: Base, lane: Lane) -> None:
    intake = Intake(budget=1, measure=lambda: 0, background=lambda: 0, clock=base.clock)
    parts.bind_worker(role.app, role.handle, role.send, base, lane, systems=[SYSTEM], intake=intake)


def _api(role: Role, base: Base, lane: Lane) -> None:
    relay: Any = role
    parts.bind_live(role.app, relay, role.send, base, lane)


WAYS: Final = {
    "coordinator": Way(
        COMMANDS,
        encode(PauseJob(command_id="c", job_id="j", tenant="t", actor="a")),
        _coordinator,
    ),
    "worker": Way(
        topics.work(SYSTEM),
        encode(Work(job_id="j", operation="stock.create", epoch=0, chunks=())),
        _worker,
    ),
    "api": Way(EVENTS, b"told", _api),
}
TOPICS: Final = (*(way.topic for way in WAYS.values()), topics.OUTCOMES)


@asynccontextmanager
async def standing(way: Way, database: Database, folder: Path, app: Any) -> AsyncIterator[Role]:
    """A process of that kind at work, as it is asked for its health."""
    clock = HandClock()
    base = Base.of(Settings(data_dir=folder), Registry([]), database, None)
    lane = Lane(LANE, clock, lambda: faust_apps.backlog(app))
    role = Role(app, way, Sender(app), clock, Vitals(database, [lane], metrics=base.metrics))
    way.bind(role, base, lane)
    site = create_health_app(
        role.vitals, clock=base.clock, ids=base.ids, metrics=role.vitals.metrics.registry
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


async def says_where_it_stands_and_ends(role: Role, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have one of two partitions stand still: it is named, and the watchdog ends the process."""
    ended: list[str] = []
    monkeypatch.setattr(parts, "end_hung", ended.append)
    role.stand(0)
    await role.message(0)
    await role.measured(waiting=1)
    await role.message(1)
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
        f"{LANE}: 1 messages wait on partition 0 of {role.way.topic} and none was handled for 31 s"
    )
    assert (status, reason in text, "partition 1" in text) == (503, True, False)
    _, metrics = await role.asked("/metrics")
    assert "countermand_ready 0.0" in metrics
    assert "countermand_messages_waiting 1.0" in metrics
    await parts.watch(role.vitals)
    assert ended == [reason]
