"""An agent's body never raises: what it cannot do is kept, with its cause."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import faust
import orjson
import pytest
from structlog.contextvars import get_contextvars

from domain.errors import BrokerUnavailable, StoreUnavailable
from streams import topics
from streams.agents import (
    EXIT_STUCK,
    Binding,
    Sender,
    deliver,
    two_at_a_time,
    within,
)
from streams.answers import buried
from streams.app import create_faust_app
from streams.deadletters import Burial
from streams.envelope import Outgoing, decode_command
from streams.express import NotBegun
from streams.failpoints import Failpoints
from streams.transport.errors import MessageTooLargeError, UnknownPartitionError
from tests.unit.streams import giving_up


@dataclass
class Message:
    value: bytes | None
    key: bytes | None = b"job"
    topic: str = topics.COMMANDS
    partition: int = 2
    offset: int = 17
    headers: list[tuple[str, bytes]] = field(default_factory=list)


COMMAND = orjson.dumps(
    {
        "type": "pause_job",
        "schema_version": 1,
        "command_id": "c",
        "job_id": "j",
        "tenant": "t",
        "actor": "a",
    }
)
Handle = Callable[[object], Awaitable[list[Outgoing]]]


@dataclass
class Told:
    """What a lane hears: how often that a stage waits, and of which partitions one is done."""

    waits: int = 0
    handled: list[tuple[str, int]] = field(default_factory=list)

    def moved(self) -> None:
        self.waits += 1

    def note(self, topic: str, partition: int) -> None:
        self.handled.append((topic, partition))


async def taken(value: bytes | None, handle: Handle) -> tuple[list[Outgoing], Told]:
    """What was sent, and what the lane has heard."""
    sent: list[Outgoing] = []
    told = Told()

    async def send(outgoing: Outgoing) -> None:
        sent.append(outgoing)

    binding = Binding(
        topic=topics.COMMANDS,
        decode=decode_command,
        handle=handle,
        moved=told.moved,
        handled=told.note,
    )
    await deliver(binding, Message(value), send, Failpoints())
    return sent, told


async def test_what_is_logged_of_a_message_names_its_job() -> None:
    binding = Binding(topic=topics.COMMANDS, decode=decode_command, handle=nothing)
    for key, job_id in (
        (b"job-1", "job-1"),
        (b"job-1.7.2", "job-1"),
        (None, ""),
        (b"\xff", "\ufffd"),
    ):
        with within(binding, Message(COMMAND, key=key)):
            assert get_contextvars() == {"job_id": job_id}
    assert get_contextvars() == {}


async def nothing(_command: object) -> list[Outgoing]:
    return []


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, b"unreadable"),
        (b"", b"unreadable"),
        (b"\x80\x04\x95pickle", b"unreadable"),
        (b"{", b"unreadable"),
        (b"[]", b"unreadable"),
        (b'{"type": "destroy"}', b"unreadable"),
        (COMMAND.replace(b"pause_job", b"pause_job\xff"), b"unreadable"),
        (COMMAND.replace(b'"schema_version":1', b'"schema_version":2'), b"unsupported_version"),
        (COMMAND[:-1] + b',"more":1}', b"unreadable"),
    ],
)
async def test_what_cannot_be_read_is_kept_with_cause_and_place(
    value: bytes | None, code: bytes
) -> None:
    (dead,), told = await taken(value, nothing)
    assert (dead.topic, dead.value, dead.key) == (topics.DEAD, value or b"", b"job")
    assert dict(dead.headers)["countermand-code"] == code
    assert dict(dead.headers)["countermand-reason"]
    assert dict(dead.headers)["countermand-topic"] == topics.COMMANDS.encode()
    assert dict(dead.headers)["countermand-partition"] == b"2"
    assert dict(dead.headers)["countermand-offset"] == b"17"
    assert told == Told(waits=0, handled=[(topics.COMMANDS, 2)])


async def test_a_handler_s_fault_is_kept_and_the_partition_moves_on() -> None:
    async def fail(_command: object) -> list[Outgoing]:
        raise KeyError("oops")

    (dead,), told = await taken(COMMAND, fail)
    assert dict(dead.headers)["countermand-code"] == b"internal"
    assert b"oops" in dict(dead.headers)["countermand-reason"]
    assert told == Told(waits=0, handled=[(topics.COMMANDS, 2)])


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("null value\nDETAIL:  Failing row contains (canary).", b"ValueError: null value"),
        ('no number: "canary"', b"ValueError: no number: [...]"),
        ('value "canary" is out of range', b"ValueError: value [...] is out of range"),
        ("", b"ValueError: "),
    ],
)
async def test_a_dead_letter_s_reason_repeats_no_value(said: str, reason: bytes) -> None:
    async def fail(_command: object) -> list[Outgoing]:
        raise ValueError(said)

    (dead,), _ = await taken(COMMAND, fail)
    assert dict(dead.headers)["countermand-reason"] == reason


async def test_what_is_away_is_waited_for() -> None:
    calls: list[object] = []

    async def away_twice(command: object) -> list[Outgoing]:
        calls.append(command)
        if len(calls) < 3:
            raise StoreUnavailable("away")
        return [Outgoing("next", b"k", b"v")]

    sent, told = await taken(COMMAND, away_twice)
    assert [one.topic for one in sent] == ["next"]
    assert len(calls) == 3
    # To wait is no standstill: the watchdog hears of it.
    assert told == Told(waits=2, handled=[(topics.COMMANDS, 2)])


async def test_what_has_begun_is_not_left_to_others() -> None:
    said: list[Exception | None] = [StoreUnavailable("away"), NotBegun(), None]

    async def once_begun(_command: object) -> list[Outgoing]:
        if (one := said.pop(0)) is not None:
            raise one
        return []

    _, told = await taken(COMMAND, once_begun)
    assert (said, told.handled) == ([], [(topics.COMMANDS, 2)])


async def test_what_has_not_begun_is_left_to_others() -> None:
    async def late(_command: object) -> list[Outgoing]:
        raise NotBegun

    with pytest.raises(NotBegun):
        await taken(COMMAND, late)


async def test_a_process_that_has_not_reached_the_broker_yet_says_try_again() -> None:
    app = create_faust_app(app_id="young", broker_url="kafka://127.0.0.1:9", producer_only=True)
    with pytest.raises(BrokerUnavailable, match="try again"):
        await Sender(app)(Outgoing(topic=topics.COMMANDS, key=b"job", value=b"{}"))


PARTITIONS = 4
WORK = topics.work("stock")
BEST = Outgoing(WORK, b"j.1.1", b"work", (("work-mode", b"concurrent"),), PARTITIONS + 1)
"""Work for a partition of which its worker has heard before this process."""
ANSWER = Outgoing(topics.OUTCOMES, b"j", b"accepted")


@dataclass
class Producer:
    """That of an app, which knows of so many partitions and takes few bytes."""

    most: int = 1000
    sent: list[tuple[str, bytes, int | None]] = field(default_factory=list)
    headers: list[Any] = field(default_factory=list)

    async def send_and_wait(
        self, topic: str, _key: Any, value: bytes, partition: int | None, _at: Any, headers: Any
    ) -> None:
        if partition is not None and partition >= PARTITIONS:
            raise UnknownPartitionError(topic, partition, PARTITIONS)
        if len(value) > self.most:
            raise MessageTooLargeError(topic, len(value), self.most)
        self.sent.append((topic, value, partition))
        self.headers.append(headers)

    @property
    def sender(self) -> Sender:
        return Sender(cast("faust.App", SimpleNamespace(producer=self)))


async def test_a_partition_that_is_not_known_yet_is_left_to_the_key() -> None:
    producer = Producer()
    await producer.sender(BEST)
    await producer.sender(replace(BEST, partition=1))
    assert producer.sent == [(WORK, b"work", None), (WORK, b"work", 1)]
    assert producer.headers == [list(BEST.headers)] * 2


async def test_a_command_that_was_decided_is_no_dead_letter_for_a_partition_that_is_new() -> None:
    producer, binding = Producer(), replace(_causing([BEST, ANSWER]), buried=buried)
    await deliver(binding, Message(COMMAND), producer.sender, Failpoints())
    assert [topic for topic, *_ in producer.sent] == [WORK, topics.OUTCOMES]


async def test_what_can_never_be_sent_is_a_letter_itself_and_the_others_are_sent() -> None:
    """Not the command: that was decided, and whoever sent it is told so."""
    producer, told = Producer(most=10), Told()
    large = replace(ANSWER, topic=WORK, value=b"x" * 11)
    binding = replace(
        _causing([replace(large, value=b"before"), large, replace(large, value=b"after"), ANSWER]),
        buried=buried,
        handled=told.note,
    )
    sent: list[Outgoing] = []

    async def send(one: Outgoing) -> None:
        if one.topic != topics.DEAD:
            await producer.sender(one)
        sent.append(one)

    await deliver(binding, Message(COMMAND), send, Failpoints())
    assert sorted(one.value for one in sent[:-1]) == [b"accepted", b"after", b"before"]
    letter = sent[-1]
    assert (letter.topic, letter.key, letter.value) == (topics.DEAD, large.key, large.value)
    burial = Burial.of(letter.headers)
    assert (burial.topic, burial.code, burial.size) == (WORK, "internal", 11)
    assert "MessageTooLargeError" in burial.reason
    assert told.handled == [(topics.COMMANDS, 2)]


async def test_a_command_is_done_with_when_not_even_the_letter_can_be_sent() -> None:
    """It is stored, and would cause the same again at each start."""
    producer, told = Producer(most=2), Told()
    binding = replace(_causing([ANSWER]), buried=buried, handled=told.note)
    await deliver(binding, Message(COMMAND), producer.sender, Failpoints())
    assert (producer.sent, told.handled) == ([], [(topics.COMMANDS, 2)])


def _outgoing(topic: str, key: bytes, value: str) -> Outgoing:
    return Outgoing(topic=topic, key=key, value=value.encode())


def _causing(outgoing: list[Outgoing]) -> Binding[object]:
    async def handle(_command: object) -> list[Outgoing]:
        return outgoing

    return Binding(topic=topics.COMMANDS, decode=decode_command, handle=handle)


async def test_messages_of_one_key_keep_their_order_whatever_fails() -> None:
    wanted = {key: [f"{key}{number}" for number in range(4)] for key in "ab"}
    outgoing = [
        _outgoing("work", key.encode(), wanted[key][number]) for number in range(4) for key in "ab"
    ]
    sent: list[str] = []
    chance = random.Random(3)

    async def send(one: Outgoing) -> None:
        await asyncio.sleep(0)
        if chance.random() < 0.4:
            raise BrokerUnavailable("away")
        sent.append(one.value.decode())

    await deliver(_causing(outgoing), Message(COMMAND), send, Failpoints())
    for key, values in wanted.items():
        assert [value for value in sent if value.startswith(key)] == values


async def test_what_may_be_sent_later_is_not_buried_with_what_cannot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streams.agents.MAX_TRIES", 1)
    outgoing = [_outgoing("large", b"a", "large"), _outgoing("away", b"b", "away")]
    sent: list[str] = []

    async def send(one: Outgoing) -> None:
        if one.topic == "large":
            raise ValueError("too large")
        if one.topic == "away":
            raise BrokerUnavailable("away")
        sent.append(one.topic)

    with pytest.raises(SystemExit):
        await deliver(_causing(outgoing), Message(COMMAND), send, Failpoints())
    assert sent == [], "a letter would have said that it is done with"


@dataclass
class Event:
    message: Message


@dataclass
class Stream:
    """Three messages of three jobs, and then nothing."""

    enable_acks: bool = True
    acknowledged: list[Event] = field(default_factory=list)

    async def events(self) -> AsyncIterator[Event]:
        for job_id in (b"one", b"two.0.1", b"three"):
            yield Event(Message(b"", key=job_id))
        await asyncio.Event().wait()

    async def ack(self, event: Event) -> None:
        self.acknowledged.append(event)


class App:
    """One whose consumer knows of nothing that is late, or fails to say."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.consumer = self
        self._fault = fault

    def forget_if_late(self, _message: object) -> bool:
        if self._fault is not None:
            raise self._fault
        return False


async def lost(_event: object) -> None:
    raise LookupError("of a metric")


async def cancelled_by_nobody(_event: object) -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def done(_event: object) -> None: ...


@pytest.mark.parametrize(
    ("handle", "fault"), [(lost, None), (cancelled_by_nobody, None), (done, LookupError("late"))]
)
def test_what_a_reader_of_two_did_not_expect_ends_the_process(
    handle: Callable[[object], Awaitable[None]], fault: Exception | None
) -> None:
    """What was not done comes again, and nobody goes on without it."""
    stream = Stream()
    app = cast("faust.App", App(fault))
    with pytest.raises(SystemExit) as ended:
        asyncio.run(two_at_a_time(app, handle)(stream))
    assert ended.value.code == EXIT_STUCK
    assert stream.acknowledged == []
    assert not stream.enable_acks


async def test_a_reader_of_two_that_is_cancelled_ends_in_peace() -> None:
    stream, begun = Stream(), asyncio.Event()

    async def waits(_event: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    reading = asyncio.create_task(two_at_a_time(cast("faust.App", App()), waits)(stream))
    await begun.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert stream.acknowledged == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("reader", giving_up.READERS)
def test_a_message_that_is_given_up_comes_again(reader: str) -> None:
    """The process ends as any does, by stopping its app, which commits what is acknowledged."""
    command = [sys.executable, "-m", giving_up.__name__, reader]
    ended = subprocess.run(command, capture_output=True, check=True, timeout=60, text=True)
    assert "gave_up_waiting" in ended.stdout
    (committed,) = json.loads(ended.stdout.splitlines()[-1])
    assert committed <= 1, "the second is not behind it"
