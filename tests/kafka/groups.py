"""Groups: what the broker knows of a consumer group, past the engine."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Mapping, Set
from typing import Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupState,
    KafkaError,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

PATIENCE: Final = 60.0
POLL_SECONDS: Final = 0.1
OFFSETS: Final = "__consumer_offsets"
_GROUP_NOTE: Final = 2
"""What the key of a note begins with that says how a group is."""

Partition = tuple[str, int]
Shares = Mapping[str, Set[Partition]]
"""The partitions of each member, by the name that it keeps over restarts."""


def settled(bootstrap: str, group: str, members: Set[str], partitions: Set[Partition]) -> Shares:
    """Wait until these members, and nobody else, have shared out these partitions."""
    client = AdminClient({"bootstrap.servers": bootstrap})
    until = time.monotonic() + PATIENCE
    while True:
        state, shares = _described(client, group)
        held = sorted(partition for share in shares.values() for partition in share)
        is_stable = state is ConsumerGroupState.STABLE
        if is_stable and shares.keys() == members and held == sorted(partitions):
            return shares
        assert time.monotonic() < until, (state, shares)
        time.sleep(POLL_SECONDS)


def _described(client: AdminClient, group: str) -> tuple[ConsumerGroupState, Shares]:
    found = client.describe_consumer_groups([group])[group].result(PATIENCE)
    return found.state, {
        str(member.group_instance_id): {
            (each.topic, each.partition) for each in member.assignment.topic_partitions
        }
        for member in found.members
    }


def generation(bootstrap: str, group: str) -> int:
    """How often the group has shared out its partitions, as the broker has written it down."""
    notes = [note for note in _notes(bootstrap) if _is_of(note, group)]
    value = notes[-1].value() or b""
    # After its version comes the type of the protocol, and then the generation.
    (number,) = struct.unpack_from(">i", value, 4 + len(_text(value)))
    return int(number)


def _notes(bootstrap: str) -> Iterator[Message]:
    """All that the broker has noted of groups and their offsets, each group's in its order."""
    reader = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "no member",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 50,
        }
    )
    try:
        left = set(reader.list_topics(OFFSETS, PATIENCE).topics[OFFSETS].partitions)
        reader.assign([TopicPartition(OFFSETS, number, OFFSET_BEGINNING) for number in left])
        while left:
            found = reader.poll(PATIENCE)
            assert found is not None, f"the broker does not show {OFFSETS}"
            if found.error() is None:
                yield found
            else:
                assert found.error().code() == KafkaError._PARTITION_EOF, found.error()
                left.discard(found.partition())
    finally:
        reader.close()


def _is_of(note: Message, group: str) -> bool:
    """Whether it says how a group is; one that is gone has no value."""
    key = note.key() or b""
    (kind,) = struct.unpack_from(">h", key)
    return kind == _GROUP_NOTE and _text(key) == group and note.value() is not None


def _text(data: bytes) -> str:
    """That which follows the version: its length, and itself."""
    (length,) = struct.unpack_from(">h", data, 2)
    return data[4 : 4 + length].decode()
