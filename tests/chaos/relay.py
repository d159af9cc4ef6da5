"""Relay: reads all topics beside the engine, and sends copies, late, in disorder and elsewhere.

Also loses messages: the broker is told to forget what came while those who read it stood still.
"""

from __future__ import annotations

import asyncio
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, NamedTuple, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from streams.envelope import look_at
from tests.chaos.processes import Process
from tests.chaos.stack import Stack

_MARK = ("chaos", b"copy")
"""A header of our copies, which are not copied again."""
_SECONDS = 30.0
_WINDOW = 100
_LATE = 0.3
_STILL = 1.0
"""Seconds that a reader stands still at most: far less than after what it is taken for dead."""
_ENOUGH = 3
"""Messages; the first of them may be under way to a reader already."""
_MISSED = re.compile(
    r"Fetch offset (?P<offset>\d+) is out of range for partition "
    r"TopicPartition\(topic='(?P<topic>[^']+)', partition=(?P<partition>\d+)\)"
)
"""What a reader logs whose next message the broker has no more (tests/chaos/plugin.py)."""


@dataclass(frozen=True, kw_only=True)
class Mischief:
    """What is done to messages: copies of each at most, topics that lose theirs in turn.

    ``losing`` has the readers of these topics, each of which ``losses`` a second follow.
    """

    copies: int = 0
    losses: float = 0.0
    losing: Mapping[str, Sequence[Process]] = field(default_factory=dict)
    hinted: str = ""
    """A job for which every partition of the commands topic gets hints all the time."""


class Place(NamedTuple):
    """Where a message is."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Copy:
    """A message that was sent again: where the first one was, and where the copy is."""

    first: Place
    place: Place


class Relay:
    """At work while it is open; ``copied`` counts messages by topic.

    ``copies`` has each of them in turn, ``cleared`` the oldest offsets that partitions had left.
    """

    def __init__(
        self, bootstrap: str, topics: Sequence[str], mischief: Mischief, chance: random.Random
    ) -> None:
        self.copied: Counter[str] = Counter()
        self.copies: list[Copy] = []
        self.cleared: list[Place] = []
        self.hints = 0
        self._bootstrap = bootstrap
        self._topics = list(topics)
        self._mischief = mischief
        self._chance = chance
        self._window: list[Any] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._working: Future[None] | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._open()).result(_SECONDS)
        self._working = self._run(self._work())
        return self

    def __exit__(self, *_: object) -> None:
        try:
            assert self._working is not None
            self._working.cancel()
            self._run(self._close()).result(_SECONDS)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_SECONDS)
            self._loop.close()

    def check(self) -> None:
        """Raise what has ended it before its time."""
        assert self._working is not None
        if self._working.done():
            self._working.result()

    # -- in its own thread ----------------------------------------------------------------

    def _run(self, work: Awaitable[Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)  # type: ignore[arg-type]

    async def _open(self) -> None:
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap, auto_offset_reset="latest", enable_auto_commit=False
        )
        self._producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap)
        self._admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        for one in (self._consumer, self._producer, self._admin):
            await one.start()
        self._partitions = [
            TopicPartition(topic, partition)
            for topic in self._topics
            for partition in await self._producer.partitions_for(topic)
        ]
        self._consumer.assign(self._partitions)
        await self._consumer.seek_to_end()

    async def _close(self) -> None:
        await self._consumer.stop()
        await self._producer.stop()
        await self._admin.close()

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            if self._mischief.copies:
                group.create_task(self._read())
                group.create_task(self._send_late())
            if self._mischief.losses:
                group.create_task(self._lose())
            if self._mischief.hinted:
                group.create_task(self._hint())

    async def _read(self) -> None:
        async for message in self._consumer:
            if _MARK not in message.headers:
                times = self._chance.randint(1, self._mischief.copies)
                self._window += [message] * times

    async def _send_late(self) -> None:
        """What was read in a while, shuffled; some of it stays for the next time."""
        while True:
            await asyncio.sleep(_LATE)
            self._chance.shuffle(self._window)
            kept = self._chance.randint(0, min(_WINDOW, len(self._window)))
            self._window, due = self._window[:kept], self._window[kept:]
            for message in due:
                await self._copy(message)

    async def _copy(self, message: Any) -> None:
        """To any partition: the member that gets it need not be the one that had the first."""
        self.copied[message.topic] += 1
        partition = self._chance.choice(self._of(message.topic))
        sent = await self._producer.send_and_wait(
            message.topic,
            message.value,
            message.key,
            partition=partition,
            headers=[*message.headers, _MARK],
        )
        first = Place(message.topic, message.partition, message.offset)
        self.copies.append(Copy(first, Place(sent.topic, sent.partition, sent.offset)))

    async def _lose(self) -> None:
        for topic, readers in cycle(self._mischief.losing.items()):
            await asyncio.sleep(self._chance.expovariate(self._mischief.losses))
            places = [TopicPartition(topic, partition) for partition in self._of(topic)]
            # A reader that waits has a message as soon as there is one: nobody is faster.
            with _still(readers):
                await self._come(places)
                if self._mischief.copies:
                    await self._heard(places)
                whole = RecordsToDelete(before_offset=-1)
                left = await self._admin.delete_records(dict.fromkeys(places, whole))
            self.cleared += [Place(*place, oldest) for place, oldest in left.items()]

    async def _come(self, places: Sequence[TopicPartition]) -> None:
        """Return when some messages more are there, or none come."""
        before, until = await self._ends(places), time.monotonic() + _STILL
        while await self._ends(places) < before + _ENOUGH and time.monotonic() < until:  # noqa: ASYNC110 - a broker tells nobody
            await asyncio.sleep(0.02)

    async def _heard(self, places: Sequence[TopicPartition]) -> None:
        """Return when all that is there was read here: what is lost unread can have no copy."""
        ends, until = await self._consumer.end_offsets(places), time.monotonic() + _STILL
        for place, end in ends.items():
            while await self._consumer.position(place) < end and time.monotonic() < until:  # noqa: ASYNC110 - a consumer tells nobody
                await asyncio.sleep(0.02)

    async def _ends(self, places: Sequence[TopicPartition]) -> int:
        ends: Mapping[TopicPartition, int] = await self._consumer.end_offsets(places)
        return sum(ends.values())

    async def _hint(self) -> None:
        while True:
            hint = look_at(self._mischief.hinted, f"chaos-{self._chance.random()}")
            for partition in self._of(hint.topic):
                await self._producer.send_and_wait(
                    hint.topic, hint.value, hint.key, partition=partition, headers=[_MARK]
                )
                self.hints += 1
            await asyncio.sleep(0.2)

    def _of(self, topic: str) -> list[int]:
        return [one.partition for one in self._partitions if one.topic == topic]


@contextmanager
def _still(readers: Sequence[Process]) -> Iterator[None]:
    """While these are frozen."""
    try:
        for reader in readers:
            reader.freeze()
        yield
    finally:
        for reader in readers:
            reader.thaw()


def gaps(stack: Stack) -> Counter[Place]:
    """The messages that a reader wanted next and that were lost, as the members have logged it."""
    return Counter(
        Place(found["topic"], int(found["partition"]), int(found["offset"]))
        for log in stack.logs.values()
        for found in _MISSED.finditer(log)
    )


def missed(stack: Stack) -> Counter[str]:
    """How often, by topic, a reader's next message was lost."""
    return Counter(place.topic for place in gaps(stack).elements())


def first_deliveries(copies: Iterable[Copy], lost: Set[Place]) -> Counter[str]:
    """By topic, the lost messages of which a copy is there that was not lost as well."""
    delivered = {copy.first for copy in copies if copy.first in lost and copy.place not in lost}
    return Counter(first.topic for first in delivered)


def never_read(gaps: Iterable[Place], cleared: Sequence[Place]) -> set[Place]:
    """The places from what a reader wanted next to what its partition had left."""
    lost: set[Place] = set()
    for gap in gaps:
        oldest = (
            left.offset for left in cleared if left[:2] == gap[:2] and left.offset > gap.offset
        )
        end = min(oldest, default=gap.offset)
        lost |= {gap._replace(offset=offset) for offset in range(gap.offset, end)}
    return lost
