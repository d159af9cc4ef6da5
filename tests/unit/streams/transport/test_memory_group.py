"""Consumer groups: who gets what, who is waited for, and whose commits count."""

from __future__ import annotations

import asyncio
from unittest.mock import Mock

from aiokafka.cluster import ClusterMetadata  # type: ignore[import-untyped] # ships none
from aiokafka.coordinator.assignors.roundrobin import (  # type: ignore[import-untyped] # ships none
    RoundRobinPartitionAssignor,
)
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from streams.transport.memory import MemoryBroker
from streams.transport.memory.group import Assignment, ConsumerGroup, Member, round_robin

WORK = frozenset({"work"})
ALL = frozenset(TP("work", number) for number in range(4))


def make_group() -> ConsumerGroup:
    broker = MemoryBroker()
    broker.create_topic("work", 4)
    return broker.group("group")


async def join(group: ConsumerGroup, member: Member, *, patience: float = 5.0) -> Assignment:
    return await group.join(member, WORK, from_start=True, patience=patience)


def begin_join(
    group: ConsumerGroup, member: Member, *, patience: float = 5.0
) -> asyncio.Task[Assignment]:
    return asyncio.create_task(join(group, member, patience=patience))


async def test_a_single_member_gets_everything_at_once() -> None:
    group = make_group()
    generation, partitions = await join(group, group.new_member())
    assert (generation, partitions) == (1, ALL)


async def test_a_member_without_topics_gets_nothing() -> None:
    group = make_group()
    assignment = await group.join(group.new_member(), frozenset(), from_start=True, patience=1)
    assert assignment == Assignment(1, frozenset())


async def test_a_newcomer_calls_the_others_back_and_shares_with_them() -> None:
    group = make_group()
    first, second = group.new_member(), group.new_member()
    await join(group, first)
    joining = begin_join(group, second)
    await first.rejoin.wait()
    assert not joining.done()
    shares = [await join(group, first), await joining]
    assert {each.generation for each in shares} == {2}
    assert shares[0].partitions | shares[1].partitions == ALL
    assert [len(each.partitions) for each in shares] == [2, 2]
    assert not first.rejoin.is_set()


async def test_a_newcomer_amid_a_rebalance_is_part_of_it() -> None:
    group = make_group()
    first, second, third = (group.new_member() for _ in range(3))
    await join(group, first)
    joining = [begin_join(group, each) for each in (second, third)]
    await first.rejoin.wait()
    shares = [await join(group, first), *[await each for each in joining]]
    assert {each.generation for each in shares} == {2}


async def test_a_member_that_leaves_calls_the_others_back() -> None:
    group = make_group()
    first, second = group.new_member(), group.new_member()
    joining = begin_join(group, first)
    await asyncio.sleep(0)
    await asyncio.gather(join(group, second), join(group, first), joining)
    group.leave(second)
    await first.rejoin.wait()
    assert (await join(group, first)).partitions == ALL


async def test_the_leave_of_the_one_waited_for_completes_the_rebalance() -> None:
    group = make_group()
    slow, quick = group.new_member(), group.new_member()
    await join(group, slow)
    joining = begin_join(group, quick)
    await slow.rejoin.wait()
    group.leave(slow)
    assert (await joining).partitions == ALL


async def test_a_member_that_does_not_rejoin_in_time_is_dropped() -> None:
    group = make_group()
    slow, quick = group.new_member(), group.new_member()
    await join(group, slow)
    assert (await join(group, quick, patience=0.01)).partitions == ALL
    assert group.members == (quick.name,)
    assert not group.commit(slow, {TP("work", 0): 1})


async def test_a_dropped_member_may_join_again() -> None:
    group = make_group()
    slow, quick = group.new_member(), group.new_member()
    await join(group, slow)
    await join(group, quick, patience=0.01)
    rejoining = begin_join(group, slow)
    await quick.rejoin.wait()
    shares = [await join(group, quick), await rejoining]
    assert [len(each.partitions) for each in shares] == [2, 2]


async def test_a_dropped_member_commits_nothing_before_it_is_back() -> None:
    group = make_group()
    slow, quick = group.new_member(), group.new_member()
    await join(group, slow)
    await join(group, quick, patience=0.01)
    rejoining = begin_join(group, slow)
    await quick.rejoin.wait()
    assert not group.commit(slow, {TP("work", 0): 1})
    await asyncio.gather(join(group, quick), rejoining)
    assert group.commit(slow, {})


async def test_a_join_that_completes_as_its_patience_ends_drops_nobody() -> None:
    group = make_group()
    first, second = group.new_member(), group.new_member()
    await join(group, first)
    joining = begin_join(group, second, patience=0)
    # One turn for it to begin, one for its patience to end.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await join(group, first)
    assert (await joining).generation == 2
    assert group.members == (first.name, second.name)


async def test_a_member_that_leaves_while_it_joins_gets_nothing() -> None:
    group = make_group()
    first, second = group.new_member(), group.new_member()
    await join(group, first)
    joining = begin_join(group, second)
    await first.rejoin.wait()
    group.leave(second)
    assert (await joining).partitions == frozenset()
    assert (await join(group, first)).partitions == ALL


async def test_a_cancelled_join_gives_the_seat_up() -> None:
    group = make_group()
    first, second = group.new_member(), group.new_member()
    await join(group, first)
    joining = begin_join(group, second)
    await first.rejoin.wait()
    joining.cancel()
    await asyncio.gather(joining, return_exceptions=True)
    assert joining.cancelled()
    assert group.members == (first.name,)
    assert (await join(group, first)).partitions == ALL


async def test_commits_count_until_the_next_generation_begins() -> None:
    group = make_group()
    first, second = group.new_member(), group.new_member()
    await join(group, first)
    joining = begin_join(group, second)
    await first.rejoin.wait()
    assert group.commit(first, {TP("work", 0): 0})
    await asyncio.gather(join(group, first), joining)
    group.leave(second)
    assert group.commit(first, {})


async def test_a_commit_counts_only_for_partitions_one_has() -> None:
    broker = MemoryBroker()
    broker.create_topic("work", 4)
    group = broker.group("group")
    first, second = group.new_member(), group.new_member()
    joining = begin_join(group, first)
    await asyncio.sleep(0)
    await joining
    joining = begin_join(group, second)
    await first.rejoin.wait()
    await asyncio.gather(join(group, first), joining)
    foreign = min(second.assignment.partitions)
    log = broker.partitions("work")[foreign.partition]
    await log.append(key=None, value=b"", headers=[], timestamp=0, size=1, patience=1)
    assert group.commit(first, {foreign: 1})
    assert log.committed("group") == 0


async def test_a_group_begins_at_the_oldest_or_behind_the_newest() -> None:
    broker = MemoryBroker()
    broker.create_topic("work", 1)
    log = broker.partitions("work")[0]
    for _ in range(3):
        await log.append(key=None, value=b"", headers=[], timestamp=0, size=1, patience=1)
    for name, from_start in (("earliest", True), ("latest", False)):
        group = broker.group(name)
        await group.join(group.new_member(), WORK, from_start=from_start, patience=1)
    assert (log.committed("earliest"), log.committed("latest")) == (0, 3)


TOPICS = ("one", "two", "three")


@given(
    counts=st.lists(st.integers(1, 8), min_size=3, max_size=3),
    subscriptions=st.lists(
        st.sets(st.sampled_from(TOPICS), min_size=1).map(frozenset), min_size=1, max_size=5
    ),
)
def test_partitions_are_dealt_as_aiokafka_deals_them(
    counts: list[int], subscriptions: list[frozenset[str]]
) -> None:
    members = {f"member-{number}": topics for number, topics in enumerate(subscriptions)}
    read = frozenset().union(*subscriptions)
    partitions = {topic: set(range(count)) for topic, count in zip(TOPICS, counts, strict=True)}
    cluster = Mock(spec=ClusterMetadata)
    cluster.partitions_for_topic = partitions.get
    expected = RoundRobinPartitionAssignor.assign(
        cluster,
        {name: RoundRobinPartitionAssignor.metadata(topics) for name, topics in members.items()},
    )
    shares = round_robin(
        members, [TP(topic, number) for topic in read for number in partitions[topic]]
    )
    assert shares == {
        name: {TP(topic, number) for topic, numbers in share.assignment for number in numbers}
        for name, share in expected.items()
    }
