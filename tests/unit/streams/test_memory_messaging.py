"""What an operator asks of the broker of an embedded engine."""

from __future__ import annotations

from streams import topics
from streams.deadletters import Burial, bury
from streams.envelope import Outgoing
from streams.memory_messaging import InMemory
from streams.messaging import MOST_SENT
from streams.topology import StageName, all_topics
from streams.transport.memory import MemoryBroker

SYSTEMS = ("shop",)


class Desk:
    """A broker, and what is sent of its letters."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        for topic in all_topics(SYSTEMS):
            self.broker.create_topic(topic, 2)
        self.sent: list[Outgoing] = []
        self.messaging = InMemory(self.broker, self._send, SYSTEMS)

    async def _send(self, outgoing: Outgoing) -> None:
        self.sent.append(outgoing)

    async def put(self, topic: str, partition: int, letter: Outgoing) -> None:
        """A message, past all who send."""
        await self.broker.partitions(topic)[partition].append(
            key=letter.key,
            value=letter.value,
            headers=list(letter.headers),
            timestamp=0,
            size=len(letter.value),
            patience=1.0,
        )

    async def bury(self, code: str, value: bytes, partition: int = 0, size: int = -1) -> None:
        """A letter; with another ``size`` it was cut."""
        burial = Burial(
            topic=topics.COMMANDS,
            partition=0,
            offset=7,
            size=len(value) if size < 0 else size,
            code=code,
            reason="it was no JSON",
        )
        await self.put(topics.DEAD, partition, bury(burial, b"job-1", value, (("trace", b"1"),)))


async def test_each_partition_says_what_waits_there() -> None:
    desk = Desk()
    for _ in range(3):
        await desk.put(topics.COMMANDS, 1, Outgoing(topics.COMMANDS, b"key", b"value", ()))
    desk.broker.partitions(topics.COMMANDS)[1].commit(StageName.COORDINATOR.value, 2)

    found = await desk.messaging.partitions()

    assert [(view.topic, view.partition) for view in found] == [
        (topic, number) for topic in (topics.COMMANDS, topics.work("shop")) for number in (0, 1)
    ]
    (commands,) = [view for view in found if view.end]
    assert (commands.partition, commands.end, commands.done, commands.waiting) == (1, 3, 2, 1)
    assert found[0].waiting is None, "nobody has read there"


async def test_letters_are_grouped_and_sent_again_once() -> None:
    desk = Desk()
    await desk.bury("unreadable", b"one")
    await desk.bury("unreadable", b"two", partition=1)
    await desk.bury("unreadable", b"cut", size=99)
    await desk.bury("too_new", b"other")

    groups = (await desk.messaging.letters()).groups
    assert [(group.code, group.letters, group.place) for group in groups] == [
        ("unreadable", 3, "0:7"),
        ("too_new", 1, "0:7"),
    ]
    first, again = [await desk.messaging.redrive("unreadable") for _ in range(2)]
    assert (first.sent, first.left, first.more) == (2, 1, False)
    assert (again.sent, again.left) == (0, 0)
    assert {letter.value for letter in desk.sent} == {b"one", b"two"}
    assert {letter.topic for letter in desk.sent} == {topics.COMMANDS}
    assert all(dict(letter.headers) == {"trace": b"1"} for letter in desk.sent)
    assert (await desk.messaging.redrive("too_new")).sent == 1


async def test_many_letters_are_sent_some_at_a_time() -> None:
    desk = Desk()
    for number in range(MOST_SENT + 1):
        await desk.bury("unreadable", b"%d" % number)

    first = await desk.messaging.redrive("unreadable")
    rest = await desk.messaging.redrive("unreadable")

    assert (first.sent, first.more, rest.sent, rest.more) == (MOST_SENT, True, 1, False)
    assert [letter.value for letter in desk.sent] == [b"%d" % n for n in range(MOST_SENT + 1)]
