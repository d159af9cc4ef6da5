"""Redriving: lists dead letters, and sends those of a code again from where the last run ended.

Called by ``countermand topics letters`` and ``redrive``. How far a code was read is kept with the
broker, as the offsets of a consumer group of the code's own. A letter counts as read once the
broker has what it was sent as, so a run that is killed repeats a few letters and loses none.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer  # type: ignore[import-untyped] # ships none
from aiokafka.errors import KafkaError  # type: ignore[import-untyped] # ships none
from aiokafka.structs import TopicPartition  # type: ignore[import-untyped] # ships none

from domain.errors import BrokerUnavailable, SettingsInvalid
from streams import app as faust_apps
from streams import broker_address, topics
from streams.agents import Sender
from streams.broker_address import Broker
from streams.deadletters import Letter, Listed, Redriven, Tally, redrive
from streams.envelope import Outgoing
from streams.topology import all_topics
from streams.transport.kafka import admin
from streams.transport.kafka.closing import close_consumer
from streams.transport.kafka.refusals import refusal

GROUP = "countermand-redrive-"
BATCH = 20
"""Letters between two commits; each may have a megabyte."""
SILENCE = 30.0
"""Seconds without an answer after which the broker counts as away."""
CODE = r"[a-z][a-z0-9_]{0,49}"

Offsets = Mapping[Any, int]
"""By partition. A run ends where its partitions do as it begins: what comes later may be what it
has sent itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What is to be sent again."""

    code: str
    systems: Sequence[str]
    """Whose work may be sent again; commands may in any case."""
    limit: int | None = None
    dry: bool = False
    """Only count: nothing is sent, and the next run reads the same."""
    from_start: bool = False
    """Also what earlier runs have read: letters that could not be sent then."""

    def __post_init__(self) -> None:
        """Raises SettingsInvalid for what cannot be a code; groups are named after it."""
        if not re.fullmatch(CODE, self.code):
            raise SettingsInvalid(
                f"{self.code!r} is no code of a letter; they are words such as unsupported_version "
                "(header countermand-code, field code of the log entries dead_letter)"
            )


async def redrive_all(broker: Broker, run: Run) -> Redriven:
    """Send every letter of the code that there is when this begins.

    Raises:
        SettingsInvalid: The broker keeps no letters, or its topics are missing.
        BrokerUnavailable: It does not answer (any more); another run goes on from there.
    """
    address = _kept_by(broker)
    group = f"{GROUP}{run.code}"
    async with (
        _answering(address, "run this again when it does, and it goes on from there"),
        _sending(broker, dry=run.dry) as send,
        _consumer(address, group) as consumer,
    ):
        found = await _partitions(broker, run.systems)
        ends = await _placed(consumer, found[topics.DEAD], from_start=run.from_start)
        # Work of a system whose topic is gone would be refused by the broker.
        systems = [system for system in run.systems if topics.work(system) in found]
        async with aclosing(_letters(consumer, ends, {}, keep=not run.dry)) as letters:
            return await redrive(letters, send, code=run.code, systems=systems, limit=run.limit)


class Lister:
    """Lists the letters of a broker again and again, and reads each once: they stay for ever."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._tally = Tally()
        self._firsts: Offsets = {}
        self._read: dict[Any, int] = {}
        self._latest: int | None = None

    async def list_all(self) -> Listed:
        """All letters that there are when this begins, in groups; also what was sent again.

        Raises:
            SettingsInvalid: The broker keeps no letters, or its topics are missing.
            BrokerUnavailable: It does not answer; another call goes on from there.
        """
        address = _kept_by(self._broker)
        async with (
            _answering(address, "run this again when it does"),
            _consumer(address, None) as consumer,
        ):
            found = await _partitions(self._broker, ())
            ends = await self._placed(consumer, found[topics.DEAD])
            async with aclosing(_letters(consumer, ends, self._read, keep=False)) as letters:
                async for letter in letters:
                    self._tally.add(letter)
                    self._latest = max(letter.at, self._latest or letter.at)
        self._read |= ends
        return self._tally.listed()

    async def _placed(self, consumer: AIOKafkaConsumer, partitions: int) -> Offsets:
        """Put the consumer behind what was counted; returns where this is to end."""
        places = _assigned(consumer, partitions)
        async with asyncio.timeout(SILENCE):
            firsts: Offsets = await consumer.beginning_offsets(places)
            ends: Offsets = await consumer.end_offsets(places)
            goes_on = self._goes_on(firsts, ends) and await self._has_latest(consumer, places)
        if not goes_on:
            self._tally, self._read, self._latest = Tally(), {}, None
        self._firsts = firsts
        for place in places:
            consumer.seek(place, self._read.get(place, firsts[place]))
        return ends

    async def _has_latest(self, consumer: AIOKafkaConsumer, places: Sequence[Any]) -> bool:
        """Whether the latest letter that was counted is there, in whichever partition.

        It is not in a topic that was made anew, however much there is in that.
        """
        if self._latest is None:
            return True
        found = await consumer.offsets_for_times(dict.fromkeys(places, self._latest))
        return any(one is not None and one.timestamp == self._latest for one in found.values())

    def _goes_on(self, firsts: Offsets, ends: Offsets) -> bool:
        """Whether nothing that was counted has been removed, as far as its places tell."""
        return all(firsts.get(place) == first for place, first in self._firsts.items()) and all(
            read <= ends[place] for place, read in self._read.items()
        )


async def list_all(broker: Broker) -> Listed:
    """As a ``Lister`` does the first time."""
    return await Lister(broker).list_all()


def _kept_by(broker: Broker) -> broker_address.BrokerAddress:
    address = broker_address.parse(broker)
    if not address.is_kafka:
        raise SettingsInvalid(
            "the embedded broker forgets its letters when its process ends; set "
            "COUNTERMAND_BROKER to kafka://HOST:PORT"
        )
    return address


@asynccontextmanager
async def _answering(address: broker_address.BrokerAddress, remedy: str) -> AsyncIterator[None]:
    """Raises BrokerUnavailable, with the remedy, when the broker does not answer (any more)."""
    try:
        yield
    except (KafkaError, TimeoutError) as error:
        raise BrokerUnavailable(
            await refusal(address, error)
            or f"the broker does not answer ({type(error).__name__}: {error}); {remedy}"
        ) from error


@asynccontextmanager
async def _sending(broker: Broker, *, dry: bool) -> AsyncIterator[Any]:
    if dry:

        async def send_nothing(_outgoing: Outgoing) -> None: ...

        yield send_nothing
        return
    app = faust_apps.create_faust_app(
        app_id=f"{GROUP}sender", broker_url=broker, producer_only=True
    )
    async with faust_apps.running(app):
        yield Sender(app)


@asynccontextmanager
async def _consumer(
    address: broker_address.BrokerAddress, group: str | None
) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=address.bootstrap,
        **address.security,
        group_id=group,
        enable_auto_commit=False,
        # Whatever was asked for is gone: the oldest that is left comes next.
        auto_offset_reset="earliest",
    )
    try:
        async with asyncio.timeout(SILENCE):
            await consumer.start()
        yield consumer
    finally:
        await close_consumer(consumer)


async def _partitions(broker: Broker, systems: Sequence[str]) -> dict[str, int]:
    """How many each of our topics has that is there."""
    states = await admin.look(broker, all_topics(systems))
    found = {state.topic: state.partitions for state in states if state.partitions}
    if topics.DEAD not in found:
        raise SettingsInvalid(
            f"the broker has no topic {topics.DEAD}; see that the address is the right one, and "
            "make the topics: countermand topics create"
        )
    return found


def _assigned(consumer: AIOKafkaConsumer, partitions: int) -> list[Any]:
    """Have the consumer read all partitions, which are returned."""
    # By hand, not as a member: whoever was killed keeps nobody waiting, and of two runs at a
    # time each sends everything, which has no effect twice.
    places = [TopicPartition(topics.DEAD, number) for number in range(partitions)]
    consumer.assign(places)
    return places


async def _placed(consumer: AIOKafkaConsumer, partitions: int, *, from_start: bool) -> Offsets:
    """Put the consumer where the last run has ended; returns where this one is to end."""
    places = _assigned(consumer, partitions)
    async with asyncio.timeout(SILENCE):
        firsts = await consumer.beginning_offsets(places)
        ends: Offsets = await consumer.end_offsets(places)
        for place in places:
            kept = None if from_start else await consumer.committed(place)
            # A topic that was made anew has begun to count again.
            is_there = kept is not None and firsts[place] <= kept <= ends[place]
            consumer.seek(place, kept if is_there else firsts[place])
    return ends


async def _letters(
    consumer: AIOKafkaConsumer, ends: Offsets, done: dict[Any, int], *, keep: bool
) -> AsyncGenerator[Letter, None]:
    """The letters up to the ends. To be asked for the next one is to be done with one.

    ``done`` says how far; with ``keep`` true it is committed, and said no longer.
    """
    try:
        while unread := [place for place in ends if await consumer.position(place) < ends[place]]:
            batch = await _batch(consumer, unread)
            for place, records in batch.items():
                for record in records:
                    if record.offset < ends[place]:
                        yield _letter(record)
                        done[place] = record.offset + 1
            await _keep(consumer, done, keep=keep)
    finally:
        await _keep(consumer, done, keep=keep)


def _letter(record: Any) -> Letter:
    return Letter(record.key or b"", record.value or b"", record.headers, record.timestamp)


async def _batch(consumer: AIOKafkaConsumer, unread: Sequence[Any]) -> Mapping[Any, Any]:
    found: Mapping[Any, Any] = await consumer.getmany(
        *unread, timeout_ms=int(SILENCE * 1000), max_records=BATCH
    )
    if not found:
        raise TimeoutError(f"no letters for {SILENCE:g} s")
    return found


async def _keep(consumer: AIOKafkaConsumer, done: dict[Any, int], *, keep: bool) -> None:
    if keep and done:
        async with asyncio.timeout(SILENCE):
            await consumer.commit(done)
        done.clear()
