"""Dead letters: whole, with their cause, and sent again by code to where they came from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import faust
import orjson
import pytest

from domain.errors import MessageUnreadable
from streams import topics
from streams.agents import Binding, Sender, bind
from streams.answers import buried
from streams.app import create_faust_app, running
from streams.deadletters import (
    MAX_GROUPS,
    Burial,
    Group,
    Letter,
    bury,
    grouped,
    redrive,
)
from streams.envelope import Headers, Outgoing, decode_command, decode_outcome
from streams.failpoints import Failpoints
from streams.transport.memory import MemoryBroker, memory_transport

BURIAL = Burial(
    topic=topics.COMMANDS, partition=3, offset=41, size=5, code="unsupported_version", reason="é"
)
NEWER = orjson.dumps(
    {
        "schema_version": 2,
        "type": "submit_job",
        "command_id": "c-1",
        "job_id": "job-1",
        "tenant": "local",
        "actor": "ada",
        "shape": "nobody knows it yet",
    }
)


async def of(letters: list[Letter]) -> AsyncIterator[Letter]:
    for letter in letters:
        yield letter


def letter_of(outgoing: Outgoing) -> Letter:
    return Letter(outgoing.key, outgoing.value, outgoing.headers)


def test_a_burial_survives_its_headers() -> None:
    headers = BURIAL.headers()
    assert dict(headers)["countermand-offset"] == b"41"
    assert Burial.of(headers) == BURIAL


@pytest.mark.parametrize(
    "headers",
    [
        (),
        BURIAL.headers()[1:],
        (*BURIAL.headers(), ("countermand-more", b"1")),
        (*BURIAL.headers()[:-1], ("countermand-reason", b"\xff")),
        (("countermand-partition", b"x"), *BURIAL.headers()[2:]),
    ],
)
def test_what_says_no_cause_is_no_letter(headers: Headers) -> None:
    with pytest.raises(MessageUnreadable):
        Burial.of(headers)


def test_a_letter_has_the_message_s_own_headers_even_twice() -> None:
    own = (("traceparent", b"00-1"), ("note", b"a"), ("note", b"\xff"))
    forged = ("countermand-topic", b"countermand.events")
    letter = bury(BURIAL, b"job-1", b"hello", (*own, forged))
    assert letter.headers == (*own, *BURIAL.headers())
    assert (letter.topic, letter.key, letter.value) == (topics.DEAD, b"job-1", b"hello")


def test_the_largest_message_is_kept_whole_and_a_larger_one_is_cut_with_its_cause() -> None:
    whole = bury(BURIAL, b"k", b"x" * topics.MAX_MESSAGE_BYTES, ())
    assert len(whole.value) == topics.MAX_MESSAGE_BYTES
    cut = bury(BURIAL, b"k", b"x" * 2_000_000, (("h", b"y" * 2_000_000),))
    assert len(cut.value) < topics.MAX_LETTER_BYTES
    assert Burial.of(cut.headers) == BURIAL


async def test_only_whole_letters_of_the_code_are_sent_again_and_only_as_work() -> None:
    def letter(value: bytes = b"hello", **changes: Any) -> Letter:
        burial = BURIAL.model_copy(update=changes)
        return letter_of(bury(burial, b"job-1", value, (("note", b"1"),)))

    sent: list[Outgoing] = []

    async def send(outgoing: Outgoing) -> None:
        sent.append(outgoing)

    letters = [
        letter(),
        letter(code="unreadable"),
        letter(topic=topics.work("shop")),
        letter(topic=topics.work("gone")),
        letter(topic=topics.EVENTS),
        letter(size=6),
        Letter(b"", b"", ()),
    ]
    found = await redrive(of(letters), send, code="unsupported_version", systems=["shop"])

    assert (found.sent, found.left) == (2, 3)
    assert sent == [
        Outgoing(topic, b"job-1", b"hello", (("note", b"1"),))
        for topic in (topics.COMMANDS, topics.work("shop"))
    ]


async def test_letters_are_listed_by_code_and_topic_with_their_latest_cause() -> None:
    def letter(key: bytes = b"job-1", **changes: Any) -> Letter:
        return letter_of(bury(BURIAL.model_copy(update=changes), key, b"hello", ()))

    many = [letter(code=f"code_{number}") for number in range(MAX_GROUPS)]
    letters = [letter(), letter(b"job-2", reason="too new", offset=42), Letter(b"", b"", ()), *many]
    found = await grouped(of(letters))

    first = Group("unsupported_version", topics.COMMANDS, 2, "too new", "job-2", "3:42")
    assert found.groups[0] == first
    assert (len(found.groups), found.others) == (MAX_GROUPS, 2)


async def test_a_limit_ends_before_the_next_letter_that_could_be_sent() -> None:
    asked: list[int] = []
    burial = Burial(
        topic=topics.COMMANDS, partition=0, offset=0, size=5, code="unreadable", reason=""
    )

    async def letters() -> AsyncIterator[Letter]:
        for number, code in enumerate(["unreadable", "other", "unreadable", "unreadable"]):
            asked.append(number)
            own = burial.model_copy(update={"code": code})
            yield letter_of(bury(own, b"job-1", b"hello", ()))

    sent: list[Outgoing] = []

    async def send(outgoing: Outgoing) -> None:
        sent.append(outgoing)

    found = await redrive(letters(), send, code="unreadable", systems=[], limit=1)
    assert (found.sent, found.more, len(sent)) == (1, True, 1)
    assert asked == [0, 1, 2], "the third was looked at and is the next run's"


Handle = Callable[[Any], Coroutine[Any, Any, list[Outgoing]]]


def app_over(broker: MemoryBroker, name: str) -> faust.App:
    return create_faust_app(
        app_id=name, broker_url=str(broker.url), transport=memory_transport(broker)
    )


def kept(broker: MemoryBroker, topic: str) -> list[Outgoing]:
    """What a topic that nobody commits holds."""
    (log,) = broker.partitions(topic)
    return [
        Outgoing(topic, record.key or b"", record.value or b"", tuple(record.headers))
        for record in log.read(0, 1000)
    ]


async def test_a_newer_message_is_held_told_of_and_handled_after_the_upgrade() -> None:
    broker = MemoryBroker()
    for topic in (topics.COMMANDS, topics.OUTCOMES, topics.DEAD):
        broker.create_topic(topic, 1)
    old = app_over(broker, "old")
    send = Sender(old)

    async def nothing(_command: Any) -> list[Outgoing]:
        return []

    handled = asyncio.Event()
    bind(
        old,
        Binding(
            topic=topics.COMMANDS,
            decode=decode_command,
            handle=nothing,
            handled=lambda _topic, _partition: handled.set(),
            buried=buried,
        ),
        send,
        Failpoints(),
    )
    headers = (("traceparent", b"00-1"),)
    async with running(old), asyncio.timeout(10):
        await send(Outgoing(topics.COMMANDS, b"job-1", NEWER, headers))
        await handled.wait()
        (letter,) = kept(broker, topics.DEAD)
        (told,) = kept(broker, topics.OUTCOMES)

        assert (letter.key, letter.value) == (b"job-1", NEWER)
        assert letter.headers[:1] == headers
        answer = decode_outcome(told.value)
        assert answer is not None
        assert answer.model_dump(include={"type", "command_id", "status"}) == {
            "type": "command_decided",
            "command_id": "c-1",
            "status": "held",
        }

    read: list[bytes] = []
    arrived = asyncio.Event()

    async def take(value: bytes) -> list[Outgoing]:
        read.append(value)
        arrived.set()
        return []

    new = app_over(broker, "new")
    bind(
        new,
        Binding(topic=topics.COMMANDS, decode=lambda value: value or b"", handle=take),
        Sender(new),
        Failpoints(),
    )
    async with running(new), asyncio.timeout(10):
        found = await redrive(
            of([letter_of(letter)]), Sender(new), code="unsupported_version", systems=[]
        )
        await arrived.wait()
    assert (found.sent, read) == (1, [NEWER])
