"""The broker that lives in the process: topics, their partitions and the groups reading them."""

from collections.abc import Mapping

from faust.types import TP
from yarl import URL

from streams.transport.errors import UnknownTopicError
from streams.transport.memory.group import ConsumerGroup
from streams.transport.memory.log import PartitionLog

__all__ = ["MemoryBroker"]

LARGEST_MESSAGE = 1_000_000
MAX_BACKLOG_BYTES = 32 * LARGEST_MESSAGE


class MemoryBroker:
    """Any number of apps share one broker; each is given it when it is made.

    Everything is kept in memory and is gone with the process. All calls belong on one event loop.

    Args:
        name: Tells brokers of one process apart; part of `url`.
        max_backlog_bytes: How much one partition may hold that not every group has committed.
    """

    def __init__(self, name: str = "local", *, max_backlog_bytes: int = MAX_BACKLOG_BYTES) -> None:
        if max_backlog_bytes < LARGEST_MESSAGE:
            raise ValueError(
                f"max_backlog_bytes is {max_backlog_bytes}: a single message may take "
                f"{LARGEST_MESSAGE}, so give at least that"
            )
        self.name = name
        self._max_backlog_bytes = max_backlog_bytes
        self._topics: dict[str, tuple[PartitionLog, ...]] = {}
        self._groups: dict[str, ConsumerGroup] = {}

    @property
    def url(self) -> URL:
        """What an app is given as its broker's address."""
        return URL.build(scheme="memory", host=self.name)

    @property
    def topics(self) -> Mapping[str, int]:
        """Number of partitions by topic."""
        return {topic: len(logs) for topic, logs in self._topics.items()}

    def create_topic(self, topic: str, partitions: int) -> None:
        """Create a topic; doing it again with the same number of partitions changes nothing."""
        if partitions < 1:
            raise ValueError(f"topic {topic!r} needs at least one partition, not {partitions}")
        existing = self._topics.get(topic)
        if existing is None:
            self._topics[topic] = tuple(
                PartitionLog(TP(topic, number), self._max_backlog_bytes)
                for number in range(partitions)
            )
        elif len(existing) != partitions:
            raise ValueError(
                f"topic {topic!r} has {len(existing)} partitions, not {partitions}: a key would "
                "change its partition; take another broker or keep the number"
            )

    def partitions(self, topic: str) -> tuple[PartitionLog, ...]:
        """Return the partitions of a topic in order.

        Raises:
            UnknownTopicError: It was never created.
        """
        try:
            return self._topics[topic]
        except KeyError:
            raise UnknownTopicError(topic) from None

    def group(self, name: str) -> ConsumerGroup:
        """Return the consumer group of this name, a new one at first mention."""
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = ConsumerGroup(name, self.partitions)
        return group

    def forget_group(self, name: str) -> None:
        """Drop a group that will not come back, so that no message is held for it.

        Raises:
            ValueError: It has members.
        """
        group = self._groups.get(name)
        if group is None:
            return
        if group.members:
            raise ValueError(f"group {name!r} has members: stop {', '.join(group.members)} first")
        del self._groups[name]
        for log in self._logs():
            log.forget(name)

    def committed(self, group: str) -> dict[TP, int]:
        """Return how far a group has committed on each partition it ever read."""
        offsets = ((log.tp, log.committed(group)) for log in self._logs())
        return {tp: offset for tp, offset in offsets if offset is not None}

    def lag(self, group: str) -> int:
        """Return how many messages a group has not committed yet."""
        logs = ((log, log.committed(group)) for log in self._logs())
        return sum(log.highwater - offset for log, offset in logs if offset is not None)

    def _logs(self) -> list[PartitionLog]:
        return [log for logs in self._topics.values() for log in logs]
