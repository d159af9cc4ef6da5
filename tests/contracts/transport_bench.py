"""What the contract of transports is tried out with: a harness a backend, a bench a test."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import faust
from faust.types import TP, EventT, RecordMetadata

from streams.agents import one_at_a_time, two_at_a_time
from streams.app import FaustSettings, is_leaving, start, stop
from streams.express import NotBegun
from streams.transport.letters import Letter

__all__ = [
    "PARTITIONS",
    "PROMPT",
    "RELUCTANT",
    "Bench",
    "Member",
    "Received",
    "TransportHarness",
]

PARTITIONS = 4
PROMPT = FaustSettings(commit_interval=0.05, commit_every=10)
"""Commits soon, so that a test need not wait for it."""
RELUCTANT = FaustSettings(commit_interval=3600.0, commit_every=1_000_000)
"""Commits only when told to, or at a stop."""
MORTAL_SECONDS = 1.5
"""The session of a member that will die, so that its partitions go to others soon; all others stay
members however long their process stands still."""


class TransportHarness(Protocol):
    """One backend, with a broker of its own for each test."""

    patience: float
    """Seconds after which what has not happened will not."""
    quiet: float
    """Seconds of silence after which a test believes that nothing more comes."""

    async def create_topic(self, topic: str, partitions: int) -> None:
        """Create a topic."""

    def make_app(self, app_id: str, settings: FaustSettings, *, producer_only: bool) -> faust.App:
        """Make an app on this backend by `create_faust_app`."""

    async def crash(self, app: faust.App) -> None:
        """End an app as the death of its process would: it neither finishes nor commits."""

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        """Return how far a group has committed, by partition; 0 where it never has."""


@dataclass(frozen=True)
class Received:
    """A message as an agent saw it."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp: float


class Member:
    """An app with one agent that notes what it is given, and can be made to hold on to it."""

    def __init__(
        self,
        app: faust.App,
        topic: str,
        *,
        concurrency: int,
        forward_to: str | None,
        express: bool = False,
    ) -> None:
        self.app = app
        self._forward_to = forward_to
        self.begun: list[Received] = []
        self.finished: list[Received] = []
        self.held_values: set[bytes | None] = set()
        self.is_holding = False
        self.is_full = False
        """Whether it begins none until it is no longer so."""
        self._changed = asyncio.Condition()
        reader = two_at_a_time if express else one_at_a_time
        consume = reader(app, self._take)
        app.agent(app.topic(topic), name=f"{topic}-agent", concurrency=concurrency)(consume)

    @property
    def values(self) -> list[bytes | None]:
        """Values of the messages it has finished."""
        return [each.value for each in self.finished]

    @property
    def partitions(self) -> set[TP]:
        """What it reads at the moment."""
        return set(self.app.consumer.assignment())

    def hold(self, *values: bytes) -> None:
        """Keep these messages in flight, or any message, until `release`."""
        self.held_values = set(values)
        self.is_holding = True

    async def release(self, *values: bytes) -> None:
        """Finish what is held, or of what is held by name only some."""
        self.held_values -= set(values)
        self.is_holding = bool(values)
        async with self._changed:
            self._changed.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what was begun or finished meets the condition."""
        async with self._changed:
            await self._changed.wait_for(condition)

    async def _take(self, event: EventT[bytes]) -> None:
        received = _received(event)
        while self.is_full:
            if is_leaving(self.app):
                raise NotBegun
            await asyncio.sleep(0.01)
        async with self._changed:
            self.begun.append(received)
            self._changed.notify_all()
            await self._changed.wait_for(lambda: not self._holds(received))
        if self._forward_to is not None:
            await self._forward(self._forward_to, received)
        async with self._changed:
            self.finished.append(received)
            self._changed.notify_all()

    async def _forward(self, topic: str, received: Received) -> None:
        await self.app.producer.send_and_wait(topic, None, received.value, None, None, None)

    def _holds(self, received: Received) -> bool:
        return self.is_holding and (not self.held_values or received.value in self.held_values)


def _received(event: EventT[bytes]) -> Received:
    message = event.message
    return Received(
        message.partition,
        message.offset,
        message.key,
        message.value,
        tuple(event.headers.items()),
        message.timestamp,
    )


class Bench:
    """A topic, a producer, and the members that a test starts; all are ended after the test."""

    def __init__(self, harness: TransportHarness) -> None:
        self.harness = harness
        self.topic = f"contract-{uuid.uuid4().hex}"
        self._sender: faust.App | None = None
        self._members: dict[Member, None] = {}

    async def open(self) -> None:
        """Create the topic and start the producer."""
        await self.harness.create_topic(self.topic, PARTITIONS)
        settings = replace(PROMPT, request_timeout=self.harness.patience / 2)
        self._sender = self.harness.make_app(f"{self.topic}-sender", settings, producer_only=True)
        await start(self._sender)

    async def close(self) -> None:
        """End everything."""
        for member in list(self._members):
            await member.release()
            await self.stop(member)
        if self._sender is not None:
            assert await stop(self._sender, drain=self.harness.patience)

    async def member(
        self,
        group: str = "group",
        *,
        settings: FaustSettings = PROMPT,
        concurrency: int = 1,
        holding: Iterable[bytes] | None = None,
        forward_to: str | None = None,
        express: bool = False,
        mortal: bool = False,
    ) -> Member:
        """Start a member that reads the topic, and sends on what it read.

        A member that the test lets die must be mortal.
        """
        if mortal:
            settings = replace(settings, session_timeout=MORTAL_SECONDS)
        app = self.harness.make_app(f"{self.topic}-{group}", settings, producer_only=False)
        member = Member(
            app, self.topic, concurrency=concurrency, forward_to=forward_to, express=express
        )
        if holding is not None:
            member.hold(*holding)
        async with asyncio.timeout(self.harness.patience):
            await start(app)
        self._members[member] = None
        return member

    async def stop(self, member: Member) -> None:
        """Stop a member cleanly, once it has finished what it holds."""
        assert await stop(member.app, drain=self.harness.patience)
        self._members.pop(member, None)

    async def crash(self, member: Member) -> None:
        """End a member as the death of its process would."""
        del self._members[member]
        await self.harness.crash(member.app)

    async def send(
        self,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        headers: dict[str, bytes] | None = None,
        timestamp: float | None = None,
        topic: str | None = None,
    ) -> RecordMetadata:
        """Send a message and wait until the broker has it."""
        assert self._sender is not None
        async with asyncio.timeout(self.harness.patience):
            sent = await self._sender.producer.send(
                topic or self.topic, key, value, partition, timestamp, headers
            )
            return await sent

    async def send_many(self, count: int, *, partition: int | None = None) -> list[bytes]:
        """Send numbered messages, key and value alike, and return their values."""
        values = [b"%05d" % number for number in range(count)]
        assert self._sender is not None
        producer = self._sender.producer
        async with asyncio.timeout(self.harness.patience):
            sent = [
                await producer.send(self.topic, value, value, partition, None, None)
                for value in values
            ]
            await asyncio.gather(*sent)
        return values

    async def send_together(self, letters: Sequence[Letter]) -> None:
        """Send messages of the topic together, and wait until the broker has them."""
        assert self._sender is not None
        async with asyncio.timeout(self.harness.patience):
            await self._sender.producer.send_together(self.topic, letters)

    async def committed(self, group: str = "group") -> dict[int, int]:
        """Return how far a group has committed, by partition."""
        return await self.harness.committed(f"{self.topic}-{group}", self.topic)

    async def finishes(self, member: Member, count: int) -> None:
        """Wait until a member has finished so many messages."""
        async with asyncio.timeout(self.harness.patience):
            await member.until(lambda: len(member.finished) >= count)

    async def begins(self, member: Member, count: int) -> None:
        """Wait until a member was given so many messages."""
        async with asyncio.timeout(self.harness.patience):
            await member.until(lambda: len(member.begun) >= count)

    async def eventually(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Wait until something outside the members comes true."""
        async with asyncio.timeout(self.harness.patience):
            while not await holds():  # noqa: ASYNC110 - a broker elsewhere tells nobody
                await asyncio.sleep(0.01)

    async def commits(self, total: int, group: str = "group") -> None:
        """Wait until a group has committed so many messages in all."""

        async def done() -> bool:
            return sum((await self.committed(group)).values()) == total

        await self.eventually(done)

    async def share_out(self, *members: Member) -> None:
        """Wait until the partitions are divided among the members, and all are read."""

        async def divided() -> bool:
            held = list(itertools.chain.from_iterable(each.partitions for each in members))
            return len(held) == PARTITIONS and len(set(held)) == PARTITIONS

        await self.eventually(divided)

    async def silence(self) -> None:
        """Give what must not happen the time to happen."""
        await asyncio.sleep(self.harness.quiet)
