"""Members: coordinators of one group, as many as a test wants, that note what reaches them."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from domain.commands import Command
from streams import app as faust_apps
from streams.agents import Binding, Sender, bind
from streams.bootstrap import parts
from streams.bootstrap.parts import Base
from streams.bootstrap.scaled import app_of
from streams.envelope import Outgoing, decode_command
from streams.liveness import Lane
from streams.topics import COMMANDS
from streams.topology import StageName

PATIENCE = 60.0
POLL_SECONDS = 0.02


class Member:
    """A coordinator's way in, from the broker to its stage, which only notes."""

    def __init__(
        self, base: Base, name: str, received: dict[str, list[str]], also: Iterable[str]
    ) -> None:
        self.app = app_of(base.settings, StageName.COORDINATOR, instance=name)
        self._name = name
        self._received = received
        send = Sender(self.app)
        lane = Lane(name, base.clock, lambda: faust_apps.backlog(self.app))
        stage: Any = self
        parts.bind_coordinator(self.app, stage, send, base, lane)
        for topic in also:
            binding = Binding(topic=topic, decode=decode_command, handle=self.handle)
            bind(self.app, binding, send, base.failpoints)

    async def handle(self, command: Command) -> list[Outgoing]:
        """A command or a hint has come."""
        self._received[command.command_id].append(self._name)
        return []

    @property
    def partitions(self) -> set[int]:
        """Those of the commands topic that it reads at the moment."""
        return {tp.partition for tp in self.app.consumer.assignment() if tp.topic == COMMANDS}


class Group:
    """The members, who come and go by name.

    ``received`` has, by the id of a command or hint, the names of those whom it reached.
    """

    def __init__(self, base: Base, partitions: int, chance: random.Random) -> None:
        self.partitions = partitions
        self.received: dict[str, list[str]] = defaultdict(list)
        self.also: tuple[str, ...] = ()
        """Topics that the members read beside the commands."""
        self._base = base
        self._chance = chance
        self._members: dict[str, Member] = {}

    async def become(self, count: int, names: Sequence[str]) -> None:
        """Let some come or go, whoever it is, all at once, until there are so many."""
        here = sorted(self._members)
        if count < len(here):
            await self._leave(self._chance.sample(here, len(here) - count))
        else:
            away = [name for name in names if name not in self._members]
            await self._join(self._chance.sample(away, count - len(here)))

    async def _join(self, names: Iterable[str]) -> None:
        new = {name: Member(self._base, name, self.received, self.also) for name in names}
        self._members |= new
        await asyncio.gather(*(faust_apps.start(member.app) for member in new.values()))

    async def _leave(self, names: Iterable[str]) -> None:
        gone = [self._members.pop(name) for name in names]
        stops = [faust_apps.stop(member.app, drain=PATIENCE) for member in gone]
        assert all(await asyncio.gather(*stops))

    async def close(self) -> None:
        """All leave."""
        await self._leave(list(self._members))

    async def at_rest(self) -> dict[str, int]:
        """Wait until each partition has its one member; the generation of each member."""
        async with asyncio.timeout(PATIENCE):
            while not self._is_shared_out():  # noqa: ASYNC110 - aiokafka tells nobody
                await asyncio.sleep(POLL_SECONDS)
        return self.generations

    def _is_shared_out(self) -> bool:
        shares = [member.partitions for member in self._members.values()]
        each = {len(share) for share in shares}
        even = max(each) - min(each) <= 1
        return even and sorted(p for s in shares for p in s) == list(range(self.partitions))

    @property
    def generations(self) -> dict[str, int]:
        """How many assignments each member has had: the same before and after means none."""
        return {name: each.app.consumer_generation_id for name, each in self._members.items()}

    async def has_received(self, ids: Iterable[str]) -> None:
        """Wait until all of these have reached somebody."""
        missing = set(ids)
        async with asyncio.timeout(PATIENCE):
            while missing := missing - self.received.keys():  # noqa: ASYNC110 - as above
                await asyncio.sleep(POLL_SECONDS)


@contextlib.asynccontextmanager
async def group_of(base: Base, partitions: int, chance: random.Random) -> AsyncIterator[Group]:
    """A group without members, all of whom have left on the way out."""
    group = Group(base, partitions, chance)
    try:
        yield group
    finally:
        await group.close()


@contextlib.asynccontextmanager
async def sending(broker_url: str) -> AsyncIterator[Sender]:
    """What sends as gateway and worker do."""
    app = faust_apps.create_faust_app(
        app_id="countermand-test-sender", broker_url=broker_url, producer_only=True
    )
    async with faust_apps.running(app):
        yield Sender(app)
