"""A producer is asked for a partition of which somebody else has heard before it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from streams.app import create_faust_app
from streams.transport.errors import UnknownPartitionError
from streams.transport.kafka.producer import NEW_PARTITION_SECONDS

TOPIC = "work"


class Client:
    """As aiokafka's: what it knows is what the last broker has said that answered, or none.

    Each of ``updates`` is how many partitions one of them says that there are; the last one of
    them is silent when it is None.
    """

    def __init__(self, known: int, updates: Sequence[int | None]) -> None:
        self._known = known
        self._updates = list(updates)
        self.tracked: set[str] = set()
        self.cluster = self
        # What our producer looks at beside the client.
        self.client = self
        self._sender = SimpleNamespace(sender_task=SimpleNamespace(done=lambda: False))
        self.sent: list[int | None] = []

    def partitions_for_topic(self, _topic: str) -> set[int] | None:
        return set(range(self._known)) or None

    def add_topic(self, topic: str) -> None:
        self.tracked.add(topic)

    async def force_metadata_update(self) -> bool:
        said = self._updates.pop(0) if len(self._updates) > 1 else self._updates[0]
        if said is None:
            await asyncio.Event().wait()
        self._known = said or 0
        return True

    async def send(self, _topic: str, *_: Any, partition: int | None, **__: Any) -> Any:
        self.sent.append(partition)
        sent = asyncio.get_running_loop().create_future()
        sent.set_result(None)
        return sent


async def send(client: Client, partition: int) -> None:
    app = create_faust_app(app_id="behind", broker_url="kafka://127.0.0.1:9", producer_only=True)
    app.producer._producer = client
    await app.producer.send_and_wait(TOPIC, b"key", b"value", partition, None, None)


async def test_a_partition_that_is_known_is_not_asked_for() -> None:
    client = Client(4, [None])
    await send(client, 3)
    assert client.sent == [3]


@pytest.mark.parametrize("updates", [[8], [4, 4, 8], [0, 8]], ids=["at once", "late", "back"])
async def test_a_partition_that_is_new_is_asked_for(updates: Sequence[int]) -> None:
    """Also where the broker that answers has heard of it late, or has just come back."""
    client = Client(4, updates)
    await send(client, 6)
    assert (client.sent, client.tracked) == ([6], {TOPIC})


@pytest.mark.parametrize("updates", [[4], [None]], ids=["none", "silent"])
async def test_a_partition_that_there_is_not_is_said_in_time(
    updates: Sequence[int | None],
) -> None:
    client = Client(4, updates)
    begun = time.monotonic()
    with pytest.raises(UnknownPartitionError, match="partitions 0 to 3, not 6"):
        await send(client, 6)
    assert client.sent == []
    assert time.monotonic() - begun < NEW_PARTITION_SECONDS + 5.0
