"""What agents may rely on, whichever broker carries their messages.

A test module runs all of this on a backend by importing the classes and `bench`, and by
providing a fixture `harness`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiokafka.partitioner import murmur2  # type: ignore[import-untyped] # ships none
from faust.exceptions import ProducerSendError
from faust.types import TP

from streams.app import backlog, tell_of_leaving
from streams.envelope import WORK_MODE, WorkMode
from streams.liveness import Lane
from streams.stores.database import Database, sqlite_url
from streams.topics import MAX_LETTER_BYTES
from streams.transport.letters import Letter
from streams.vitals import STUCK_SECONDS, Health, Vitals
from tests.contracts.transport_bench import (
    PARTITIONS,
    RELUCTANT,
    Bench,
    Member,
    TransportHarness,
)
from tests.engine.stages import HandClock

__all__ = [
    "TestCommitting",
    "TestContent",
    "TestCrash",
    "TestExpress",
    "TestGroups",
    "TestOrder",
    "TestPause",
    "TestSending",
    "TestStopping",
    "TestVolume",
    "bench",
]


@pytest.fixture
async def bench(harness: TransportHarness) -> AsyncIterator[Bench]:
    """A topic with a producer on the backend under test."""
    bench = Bench(harness)
    await bench.open()
    try:
        yield bench
    finally:
        await bench.close()


class TestOrder:
    async def test_messages_of_a_partition_arrive_in_the_order_they_were_sent(
        self, bench: Bench
    ) -> None:
        member = await bench.member()
        values = await bench.send_many(200, partition=2)
        await bench.finishes(member, 200)
        assert member.values == values
        assert [each.offset for each in member.finished] == list(range(200))

    async def test_messages_sent_before_the_first_member_came_arrive_too(
        self, bench: Bench
    ) -> None:
        values = await bench.send_many(50, partition=0)
        member = await bench.member()
        await bench.finishes(member, 50)
        assert member.values == values

    async def test_messages_of_one_key_share_a_partition(self, bench: Bench) -> None:
        sent = [await bench.send(b"%d" % number, key=b"one job") for number in range(20)]
        assert len({each.partition for each in sent}) == 1

    @pytest.mark.parametrize("key", [b"21", b"foobar", b"a-little-bit-long-string", b"\xff\x00"])
    async def test_a_key_is_placed_as_kafka_places_it(self, bench: Bench, key: bytes) -> None:
        sent = await bench.send(b"value", key=key)
        assert sent.partition == (murmur2(key) & 0x7FFFFFFF) % PARTITIONS

    async def test_messages_without_a_key_reach_all_partitions(self, bench: Bench) -> None:
        member = await bench.member()
        for number in range(100):
            await bench.send(b"%d" % number)
        await bench.finishes(member, 100)
        assert {each.partition for each in member.finished} == set(range(PARTITIONS))


class TestContent:
    async def test_key_value_and_headers_arrive_byte_for_byte(self, bench: Bench) -> None:
        member = await bench.member()
        every_byte = bytes(range(256))
        headers = {"trace": every_byte, "empty": b""}
        await bench.send(every_byte, key=every_byte, headers=headers)
        await bench.finishes(member, 1)
        received = member.finished[0]
        assert (received.key, received.value) == (every_byte, every_byte)
        assert dict(received.headers) == headers

    async def test_a_message_may_lack_a_key_and_headers(self, bench: Bench) -> None:
        member = await bench.member()
        await bench.send(b"value")
        await bench.finishes(member, 1)
        received = member.finished[0]
        assert (received.key, received.value, received.headers) == (None, b"value", ())

    async def test_an_empty_value_is_not_a_missing_one(self, bench: Bench) -> None:
        member = await bench.member()
        await bench.send(b"", key=b"key", partition=0)
        await bench.send(None, key=b"key", partition=0)
        await bench.finishes(member, 2)
        assert member.values == [b"", None]

    async def test_the_timestamp_is_the_senders(self, bench: Bench) -> None:
        member = await bench.member()
        await bench.send(b"value", timestamp=1_700_000_000.123)
        await bench.finishes(member, 1)
        assert member.finished[0].timestamp == pytest.approx(1_700_000_000.123, abs=0.001)


class TestSending:
    async def test_the_metadata_tells_partition_and_rising_offset(self, bench: Bench) -> None:
        sent = [await bench.send(b"value", partition=1) for _ in range(3)]
        assert [(each.topic, each.partition, each.offset) for each in sent] == [
            (bench.topic, 1, 0),
            (bench.topic, 1, 1),
            (bench.topic, 1, 2),
        ]

    async def test_a_message_of_900_kb_passes(self, bench: Bench) -> None:
        member = await bench.member()
        await bench.send(b"x" * 900_000)
        await bench.finishes(member, 1)
        assert len(member.finished[0].value or b"") == 900_000

    async def test_a_message_above_the_limit_is_refused_at_the_producer(self, bench: Bench) -> None:
        with pytest.raises(ProducerSendError, match=r"\d bytes"):
            await bench.send(b"x" * (MAX_LETTER_BYTES + 1))

    async def test_messages_sent_together_keep_their_order(self, bench: Bench) -> None:
        """More than a batch holds, of several keys, one of which is larger than a batch."""
        member = await bench.member()
        sizes = [10, 6_000, 6_000, 40_000, 10, 900_000, 10, 3_000] * 3
        letters: list[Letter] = [
            (b"job %d" % (number % 5), b"%d " % number + b"x" * size, [("n", b"%d" % number)])
            for number, size in enumerate(sizes)
        ]
        await bench.send_together(letters)
        await bench.finishes(member, len(letters))
        for key in {key for key, _, _ in letters}:
            received = [(each.key, each.value, list(each.headers)) for each in member.finished]
            assert [one for one in received if one[0] == key] == [
                letter for letter in letters if letter[0] == key
            ]

    async def test_messages_of_which_one_is_too_large_are_refused_together(
        self, bench: Bench
    ) -> None:
        member = await bench.member()
        with pytest.raises(ProducerSendError, match=r"\d bytes"):
            await bench.send_together(
                [(b"job", b"x", []), (b"job", b"x" * (MAX_LETTER_BYTES + 1), [])]
            )
        await bench.send_together([])
        await bench.send_together([(b"job", b"later", [])])
        await bench.finishes(member, 1)
        assert member.values[-1] == b"later"

    async def test_a_refused_message_leaves_the_producer_usable(self, bench: Bench) -> None:
        with pytest.raises(ProducerSendError):
            await bench.send(b"x" * (MAX_LETTER_BYTES + 1))
        assert (await bench.send(b"value", partition=0)).offset == 0

    async def test_an_unknown_topic_is_refused(self, bench: Bench) -> None:
        with pytest.raises(ProducerSendError):
            await bench.send(b"value", topic=f"{bench.topic}-unknown")


class TestCrash:
    async def test_what_was_not_committed_is_delivered_again_from_the_last_commit(
        self, bench: Bench
    ) -> None:
        member = await bench.member(settings=RELUCTANT, mortal=True)
        for number in range(10):
            await bench.send(b"%d" % number, partition=0)
            await bench.finishes(member, number + 1)
            if number == 4:
                # A message counts as done once its agent asks for the next.
                await bench.eventually(lambda: _commits_up_to(bench, member, 5))
        await bench.crash(member)
        successor = await bench.member()
        await bench.finishes(successor, 5)
        await bench.silence()
        assert successor.values == [b"5", b"6", b"7", b"8", b"9"]

    async def test_a_message_in_flight_is_delivered_again(self, bench: Bench) -> None:
        member = await bench.member(holding=[], mortal=True)
        await bench.send(b"in flight")
        await bench.begins(member, 1)
        await bench.crash(member)
        successor = await bench.member()
        await bench.finishes(successor, 1)
        assert successor.values == [b"in flight"]

    async def test_the_survivor_takes_the_partitions_over(self, bench: Bench) -> None:
        survivor, victim = await bench.member(), await bench.member(mortal=True)
        await bench.share_out(survivor, victim)
        await bench.crash(victim)
        await bench.share_out(survivor)
        values = await bench.send_many(40)
        await bench.finishes(survivor, 40)
        assert sorted(each or b"" for each in survivor.values) == values


async def _commits_up_to(bench: Bench, member: Member, offset: int) -> bool:
    await member.app.commit({bench.topic})
    return (await bench.committed())[0] == offset


class TestStopping:
    async def test_a_stop_and_a_start_lose_and_repeat_nothing(self, bench: Bench) -> None:
        first = await bench.member(settings=RELUCTANT)
        values = await bench.send_many(100)
        await bench.finishes(first, 10)
        await bench.stop(first)
        second = await bench.member()
        await bench.finishes(second, 100 - len(first.finished))
        await bench.silence()
        assert sorted(each or b"" for each in first.values + second.values) == values

    async def test_a_stop_waits_for_the_message_in_flight_and_commits_it(
        self, bench: Bench
    ) -> None:
        member = await bench.member(holding=[])
        await bench.send(b"in flight", partition=0)
        await bench.begins(member, 1)
        stopping = asyncio.ensure_future(bench.stop(member))
        await bench.silence()
        assert not stopping.done()
        await member.release()
        await stopping
        assert member.values == [b"in flight"]
        assert (await bench.committed())[0] == 1

    async def test_messages_queued_behind_the_one_in_flight_go_to_the_next_member(
        self, bench: Bench
    ) -> None:
        member = await bench.member(holding=[])
        values = await bench.send_many(10, partition=0)
        await bench.begins(member, 1)
        stopping = asyncio.ensure_future(bench.stop(member))
        await bench.silence()
        await member.release()
        await stopping
        successor = await bench.member()
        await bench.finishes(successor, 9)
        await bench.silence()
        assert (member.values, successor.values) == (values[:1], values[1:])

    async def test_a_handler_may_send_while_its_app_waits_to_stop(self, bench: Bench) -> None:
        onward = f"{bench.topic}-onward"
        await bench.harness.create_topic(onward, 1)
        member = await bench.member(holding=[], forward_to=onward)
        await bench.send(b"value")
        await bench.begins(member, 1)
        stopping = asyncio.ensure_future(bench.stop(member))
        await bench.silence()
        await member.release()
        await stopping
        assert (await bench.send(b"next", topic=onward)).offset == 1


SAYS_SHORT = {WORK_MODE: WorkMode.CONCURRENT.encode()}


class TestExpress:
    """A short message is handed over beside a long one, and nothing is lost by that."""

    async def test_a_short_message_is_done_beside_a_long_one(self, bench: Bench) -> None:
        member = await bench.member(holding=[b"long"], express=True)
        for number, value in enumerate((b"long", b"next")):
            await bench.send(value, key=b"large.%d.1" % number, partition=0)
        await bench.send(b"short", key=b"small", partition=0, headers=SAYS_SHORT)
        await bench.finishes(member, 1)
        await bench.silence()
        assert [each.value for each in member.begun] == [b"long", b"short"]
        assert member.values == [b"short"]
        await member.release()
        await bench.finishes(member, 3)
        assert member.values == [b"short", b"long", b"next"]
        await bench.commits(3)

    async def test_a_commit_stays_behind_the_long_one(self, bench: Bench) -> None:
        member = await bench.member(holding=[b"long"], express=True, mortal=True)
        await bench.send(b"long", key=b"large", partition=0)
        await bench.send(b"short", key=b"small", partition=0, headers=SAYS_SHORT)
        await bench.finishes(member, 1)
        await bench.silence()
        assert (await bench.committed())[0] == 0
        await bench.crash(member)
        successor = await bench.member(express=True)
        await bench.finishes(successor, 2)
        assert sorted(each or b"" for each in successor.values) == [b"long", b"short"]
        await bench.commits(2)

    async def test_a_stop_waits_for_what_is_begun_and_leaves_the_rest_to_the_next_member(
        self, bench: Bench
    ) -> None:
        member = await bench.member(holding=[], express=True)
        for number, value in enumerate((b"long", b"next")):
            await bench.send(value, key=b"large.%d.1" % number, partition=0)
        await bench.send(b"short", key=b"small", partition=0, headers=SAYS_SHORT)
        await bench.begins(member, 2)
        await bench.send(b"last", key=b"small", partition=0, headers=SAYS_SHORT)
        await bench.silence()
        stopping = asyncio.ensure_future(bench.stop(member))
        await bench.silence()
        assert not stopping.done()
        await member.release()
        await stopping
        assert sorted(each or b"" for each in member.values) == [b"long", b"short"]
        successor = await bench.member(express=True)
        await bench.begins(successor, 2)
        await bench.silence()
        # The second message was not done, so that the third comes again as well.
        assert [each.value for each in successor.begun] == [b"next", b"short", b"last"]

    async def test_a_rebalance_waits_for_what_is_begun_alone(self, bench: Bench) -> None:
        member = await bench.member(holding=[b"0", b"1"], express=True)
        for number in range(6):
            await bench.send(b"%d" % number, key=b"large.%d.1" % number, partition=0)
        await bench.begins(member, 1)
        await bench.silence()
        joining = asyncio.ensure_future(bench.member(holding=[b"1"], express=True))
        await bench.eventually(lambda: _gives_up(member))
        assert not joining.done()
        await member.release(b"0")
        other = await joining
        await bench.share_out(member, other)
        assert other.values + member.values == [b"0"]
        await member.release()
        await other.release()
        await bench.commits(6)
        values = [each or b"" for each in member.values + other.values]
        assert sorted(values) == [b"%d" % number for number in range(6)]

    @pytest.mark.parametrize("express", [True, False], ids=["two_at_a_time", "one_at_a_time"])
    async def test_a_rebalance_waits_for_none_that_nobody_has_begun(
        self, bench: Bench, *, express: bool
    ) -> None:
        member = await bench.member(express=express)
        member.is_full = True
        sent = [b"%d" % number for number in range(6)]
        for value in sent:
            await bench.send(value, key=b"large.%s.1" % value, partition=int(value) % PARTITIONS)
        await bench.silence()
        other = await bench.member(express=express)
        await bench.share_out(member, other)
        assert member.begun == []
        await bench.finishes(other, 1)
        member.is_full = False
        await bench.commits(len(sent))
        values = [each or b"" for each in member.values + other.values]
        assert sorted(values) == sent


async def _gives_up(member: Member) -> bool:
    return not member.app.flow_control.is_active()


class TestPause:
    async def test_a_paused_partition_delivers_nothing_until_it_is_resumed(
        self, bench: Bench
    ) -> None:
        member = await bench.member()
        partitions = member.partitions
        member.app.consumer.pause_partitions(partitions)
        await bench.silence()
        values = await bench.send_many(20)
        await bench.silence()
        assert member.begun == []
        member.app.consumer.resume_partitions(partitions)
        await bench.finishes(member, 20)
        assert sorted(each or b"" for each in member.values) == values

    async def test_the_other_partitions_go_on(self, bench: Bench) -> None:
        member = await bench.member()
        member.app.consumer.pause_partitions({TP(bench.topic, 0)})
        await bench.silence()
        await bench.send(b"paused", partition=0)
        await bench.send(b"open", partition=1)
        await bench.finishes(member, 1)
        await bench.silence()
        assert member.values == [b"open"]

    async def test_who_takes_nothing_is_found_to_stand_still(
        self, bench: Bench, tmp_path: Path
    ) -> None:
        """It had nothing to do when it stopped taking, so only the broker knows what waits."""
        member = await bench.member()
        member.app.consumer.pause_partitions(member.partitions)
        await bench.silence()
        async with watched(member, tmp_path) as (vitals, clock):
            assert (await vitals.health()).ready
            for partition in range(PARTITIONS):
                await bench.send_many(5, partition=partition)
            await stands_still(vitals, clock, bench.topic, dict.fromkeys(range(PARTITIONS), 5))
            member.app.consumer.resume_partitions(member.partitions)
            await bench.finishes(member, 20)
            await bench.eventually(lambda: moves_on(vitals))

    async def test_who_finishes_nothing_is_found_to_stand_still(
        self, bench: Bench, tmp_path: Path
    ) -> None:
        member = await bench.member(holding=[])
        async with watched(member, tmp_path) as (vitals, clock):
            await bench.send_many(10, partition=0)
            await bench.begins(member, 1)
            await stands_still(vitals, clock, bench.topic, {0: 10})
            await member.release()
            await bench.finishes(member, 10)
            await bench.eventually(lambda: moves_on(vitals))

    async def test_a_partition_that_takes_nothing_is_found_beside_one_that_goes_on(
        self, bench: Bench, tmp_path: Path
    ) -> None:
        member = await bench.member()
        member.app.consumer.pause_partitions({TP(bench.topic, 0)})
        await bench.silence()
        async with watched(member, tmp_path) as (vitals, clock):
            await bench.send_many(3, partition=0)
            await vitals.measure()
            for finished in range(1, 6):
                clock.pass_seconds(STUCK_SECONDS / 5 - 1)
                await bench.send(b"open", partition=1)
                await bench.finishes(member, finished)
                # It is finished a moment before it is acknowledged.
                await bench.eventually(lambda: waits(vitals, 3))
                assert not vitals.stuck
            clock.pass_seconds(6)
            assert_stands_still(await vitals.health(), bench.topic, {0: 3}, vitals.stuck)
            member.app.consumer.resume_partitions({TP(bench.topic, 0)})
            await bench.finishes(member, 8)
            await bench.eventually(lambda: moves_on(vitals))


@asynccontextmanager
async def watched(member: Member, folder: Path) -> AsyncIterator[tuple[Vitals, HandClock]]:
    """The vitals of a process that has a member, as each role has them."""
    clock = HandClock()
    with Database(sqlite_url(folder / "vitals.db")) as database:
        vitals = Vitals(database, [Lane("it", clock, lambda: backlog(member.app))])
        await vitals.measure()
        yield vitals, clock


async def stands_still(
    vitals: Vitals, clock: HandClock, topic: str, waiting: dict[int, int]
) -> None:
    """It is said, and the watchdog would end the process, but not before its time.

    ``waiting`` are the messages of each partition that has some.
    """
    await vitals.measure()
    clock.pass_seconds(STUCK_SECONDS - 1)
    assert not vitals.stuck
    clock.pass_seconds(2)
    assert_stands_still(await vitals.health(), topic, waiting, vitals.stuck)


def assert_stands_still(health: Health, topic: str, waiting: dict[int, int], stuck: bool) -> None:
    """A second after its time each partition on which messages wait is named, and no other."""
    assert (health.ready, health.waiting, stuck) == (False, sum(waiting.values()), True)
    assert health.reasons == [
        f"it: {count} messages wait on partition {partition} of {topic} "
        "and none was handled for 31 s"
        for partition, count in waiting.items()
    ]


async def waits(vitals: Vitals, count: int) -> bool:
    """Whether so many messages wait now."""
    await vitals.measure()
    return (await vitals.health()).waiting == count


async def moves_on(vitals: Vitals) -> bool:
    """Whether nothing waits any more, and all is well then."""
    await vitals.measure()
    health = await vitals.health()
    return health.ready and not health.waiting


class TestGroups:
    async def test_each_group_sees_every_message(self, bench: Bench) -> None:
        one, other = await bench.member("one"), await bench.member("other")
        values = await bench.send_many(50)
        await bench.finishes(one, 50)
        await bench.finishes(other, 50)
        for member in (one, other):
            assert sorted(each or b"" for each in member.values) == values

    async def test_members_of_a_group_share_the_partitions_and_miss_nothing(
        self, bench: Bench
    ) -> None:
        members = [await bench.member(), await bench.member()]
        await bench.share_out(*members)
        assert [len(each.partitions) for each in members] == [PARTITIONS // 2] * 2
        values = await bench.send_many(100)
        await bench.commits(100)
        seen = Counter(value for each in members for value in each.values)
        assert seen == Counter(values)

    async def test_a_member_that_leaves_hands_its_partitions_over(self, bench: Bench) -> None:
        stays, leaves = await bench.member(), await bench.member()
        await bench.share_out(stays, leaves)
        await bench.stop(leaves)
        await bench.share_out(stays)
        await bench.send_many(20)
        await bench.finishes(stays, 20)

    async def test_a_rebalance_repeats_nothing_that_was_finished(self, bench: Bench) -> None:
        first = await bench.member(settings=RELUCTANT, holding=[b"00100"])
        values = await bench.send_many(200)
        async with asyncio.timeout(bench.harness.patience):
            await first.until(lambda: first.begun[-1:] != [] and first.begun[-1].value == b"00100")
        assert len(first.finished) > 10
        joining = asyncio.ensure_future(bench.member(settings=RELUCTANT))
        await bench.silence()
        assert not joining.done()
        await first.release()
        second = await joining
        await bench.share_out(first, second)

        async def all_finished() -> bool:
            return len(first.finished) + len(second.finished) >= len(values)

        await bench.eventually(all_finished)
        await bench.silence()
        assert sorted(each or b"" for each in first.values + second.values) == values

    async def test_a_rebalance_waits_for_the_message_in_flight(self, bench: Bench) -> None:
        first = await bench.member(holding=[])
        await bench.send(b"in flight", partition=0)
        await bench.begins(first, 1)
        joining = asyncio.ensure_future(bench.member())
        await bench.silence()
        assert not joining.done()
        await first.release()
        second = await joining
        await bench.silence()
        assert (first.values, second.values) == ([b"in flight"], [])

    async def test_who_gives_its_partitions_up_is_told_when_it_has_done_what_it_had_begun(
        self, bench: Bench
    ) -> None:
        first = await bench.member(holding=[])
        left: list[list[bytes | None]] = []
        tell_of_leaving(first.app, lambda: left.append(first.values))
        await bench.send(b"in flight", partition=0)
        await bench.begins(first, 1)
        joining = asyncio.ensure_future(bench.member())
        await bench.silence()
        assert left == []
        await first.release()
        second = await joining
        await bench.share_out(first, second)
        assert left == [[b"in flight"]]

    async def test_members_may_come_and_go_without_a_message_being_missed(
        self, bench: Bench
    ) -> None:
        members = [await bench.member()]
        sent: list[bytes] = []

        async def keep_sending() -> None:
            while True:
                sent.append(b"%05d" % len(sent))
                await bench.send(sent[-1], key=sent[-1])

        sending = asyncio.ensure_future(keep_sending())
        for _ in range(4):
            before = len(sent)
            guests = await asyncio.gather(bench.member(), bench.member())
            members.extend(guests)
            await asyncio.gather(*map(bench.stop, guests))
            assert len(sent) > before, f"nothing was sent while members came and went: {sending}"
        sending.cancel()
        # One that has died of something else says of what.
        with suppress(asyncio.CancelledError):
            await sending

        async def all_seen() -> bool:
            return {value for each in members for value in each.values} >= set(sent[:-1])

        await bench.eventually(all_seen)
        await bench.silence()
        assert max(Counter(value for each in members for value in each.values).values()) == 1


class TestCommitting:
    async def test_what_is_finished_is_committed_by_itself(self, bench: Bench) -> None:
        member = await bench.member()
        await bench.send_many(25)
        await bench.finishes(member, 25)
        await bench.commits(25)

    async def test_a_commit_stays_behind_the_message_in_flight(self, bench: Bench) -> None:
        member = await bench.member(holding=[b"00003"])
        await bench.send_many(10, partition=0)
        await bench.begins(member, 4)
        await bench.commits(3)
        await bench.silence()
        assert (await bench.committed())[0] == 3

    async def test_a_commit_stays_behind_a_message_that_others_have_overtaken(
        self, bench: Bench
    ) -> None:
        member = await bench.member(concurrency=4, holding=[b"00000", b"00007"], mortal=True)
        values = await bench.send_many(10, partition=0)
        await bench.finishes(member, 8)
        await bench.silence()
        assert (await bench.committed())[0] == 0
        await bench.crash(member)
        successor = await bench.member()
        await bench.finishes(successor, 10)
        assert successor.values == values


class TestVolume:
    async def test_20_000_messages_arrive_once_each(self, bench: Bench) -> None:
        member = await bench.member()
        values = await bench.send_many(20_000)
        await bench.finishes(member, 20_000)
        await bench.commits(20_000)
        assert sorted(each or b"" for each in member.values) == values
