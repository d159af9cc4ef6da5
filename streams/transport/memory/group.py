"""Consumer groups: who reads which partition, in which generation."""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from faust.types import TP

from streams.transport.memory.log import PartitionLog

__all__ = ["Assignment", "ConsumerGroup", "Member", "round_robin"]

PartitionsOf = Callable[[str], tuple[PartitionLog, ...]]


class Assignment(NamedTuple):
    """What one member reads until the next rebalance."""

    generation: int
    partitions: frozenset[TP]


class Member:
    """A consumer's seat in its group."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.topics: frozenset[str] = frozenset()
        self.assignment = Assignment(0, frozenset())
        self.rejoin = asyncio.Event()
        """Set when the group rebalances: give up the partitions, then join again."""
        self._seat: asyncio.Future[Assignment] | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether it has joined the coming generation."""
        return self._seat is not None

    def take_seat(self, topics: frozenset[str]) -> asyncio.Future[Assignment]:
        """Declare that it is ready for the coming generation."""
        self.topics = topics
        self.rejoin.clear()
        self._seat = asyncio.get_running_loop().create_future()
        return self._seat

    def call_back(self) -> None:
        """Ask it to join again, unless it already waits."""
        if not self.is_waiting:
            self.rejoin.set()

    def settle(self, assignment: Assignment) -> None:
        """Hand it its assignment."""
        self.assignment = assignment
        seat, self._seat = self._seat, None
        if seat is not None and not seat.done():
            seat.set_result(assignment)


class ConsumerGroup:
    """Shares the partitions of its topics among its members.

    A join or a leave begins a rebalance: every member finishes what it has in flight, commits,
    gives up all partitions and joins; when all have, the next generation begins. A member that
    has not joined in time is dropped: its commits are refused from then on, and what it had not
    committed goes to the others. It may join again when it is done.
    """

    def __init__(self, name: str, partitions_of: PartitionsOf) -> None:
        self.name = name
        self.generation = 0
        self._partitions_of = partitions_of
        self._members: dict[str, Member] = {}
        self._from_start = True
        self._numbers = itertools.count()

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the members, in the order partitions are dealt out."""
        return tuple(sorted(self._members))

    def new_member(self) -> Member:
        """Return a seat for a consumer; it counts as a member once it joins."""
        return Member(f"{self.name}-{next(self._numbers):06}")

    async def join(
        self, member: Member, topics: frozenset[str], *, from_start: bool, patience: float
    ) -> Assignment:
        """Wait until all members have joined, and return what this one is to read.

        Args:
            member: The seat that joins.
            topics: What it wants to read.
            from_start: Where the group begins on a partition it never read: at the oldest
                message held, or else behind the newest.
            patience: Seconds to wait for the other members.
        """
        self._from_start = from_start
        self._members[member.name] = member
        seat = member.take_seat(topics)
        for other in self._members.values():
            other.call_back()
        self._deal_when_all_wait()
        try:
            async with asyncio.timeout(patience):
                return await seat
        except TimeoutError:
            if member.is_waiting:
                self._drop_absent()
                self._deal_when_all_wait()
            return member.assignment
        except asyncio.CancelledError:
            self.leave(member)
            raise

    def leave(self, member: Member) -> None:
        """Give up the seat at once; what it has not committed goes to the others."""
        if self._members.get(member.name) is not member:
            return
        del self._members[member.name]
        member.settle(Assignment(self.generation, frozenset()))
        for other in self._members.values():
            other.call_back()
        self._deal_when_all_wait()

    def commit(self, member: Member, offsets: Mapping[TP, int]) -> bool:
        """Store how far a member has come; False if the group went on without it."""
        if self._members.get(member.name) is not member:
            return False
        if member.assignment.generation != self.generation:
            return False
        for tp, offset in offsets.items():
            if tp in member.assignment.partitions:
                self._partitions_of(tp.topic)[tp.partition].commit(self.name, offset)
        return True

    def _drop_absent(self) -> None:
        self._members = {name: each for name, each in self._members.items() if each.is_waiting}

    def _deal_when_all_wait(self) -> None:
        members = self._members.values()
        if not members or not all(member.is_waiting for member in members):
            return
        self.generation += 1
        topics = {topic for member in members for topic in member.topics}
        logs = [log for topic in sorted(topics) for log in self._partitions_of(topic)]
        for log in logs:
            if log.committed(self.name) is None:
                log.commit(self.name, log.earliest if self._from_start else log.highwater)
        shares = round_robin(
            {member.name: member.topics for member in members}, [log.tp for log in logs]
        )
        for member in members:
            member.settle(Assignment(self.generation, shares[member.name]))


def round_robin(
    members: Mapping[str, frozenset[str]], partitions: Iterable[TP]
) -> dict[str, frozenset[TP]]:
    """Deal partitions to members in turn, passing over those that do not read the topic.

    The same order as aiokafka's round robin, so that partitions meet here as they do on Kafka.
    """
    shares: dict[str, set[TP]] = {name: set() for name in members}
    turn = itertools.cycle(sorted(members))
    for tp in sorted(partitions):
        name = next(turn)
        while tp.topic not in members[name]:
            name = next(turn)
        shares[name].add(tp)
    return {name: frozenset(share) for name, share in shares.items()}
