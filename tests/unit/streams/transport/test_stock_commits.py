"""What the installed Faust itself commits: an upgrade that changes it fails here.

Our transports have rules of their own, and our agents one handler each. Both rely on this.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator

import faust
import pytest
from faust.transport.drivers import aiokafka as stock
from faust.types import TP, ConsumerMessage
from hypothesis import given, settings
from hypothesis import strategies as st

WORK = TP("work", 0)
STEPS = st.lists(st.sampled_from(["deliver", "deliver", "finish", "commit", "rebalance"]))


@pytest.fixture(scope="module")
def consumer() -> Iterator[stock.Consumer]:
    """Faust's consumer for Kafka, which is never started."""

    async def make() -> stock.Consumer:
        app = faust.App("stock", broker="kafka://127.0.0.1:1", topic_allow_declare=False)
        app.topics.acking_topics.add(WORK.topic)
        made = app.consumer
        assert isinstance(made, stock.Consumer)
        return made

    made = asyncio.run(make())
    yield made
    made._thread.thread_loop.close()


class Partition:
    """One partition, handlers that finish what they have begun, and what the group committed."""

    def __init__(self, consumer: stock.Consumer, committed: int | None, handlers: int) -> None:
        self.consumer = consumer
        self.handlers = handlers
        self.committed = committed
        self.queued: deque[ConsumerMessage] = deque()
        self.unfinished: list[int] = []
        self.begin()

    def begin(self) -> None:
        """A rebalance: what Faust forgets, and where it goes on."""
        consumer = self.consumer
        for kept in (consumer._gap, consumer._acked, consumer._acked_index):
            kept.pop(WORK, None)
        consumer._committed_offset[WORK] = self.committed or None
        consumer._read_offset[WORK] = self.committed
        self.queued.clear()
        self.unfinished.clear()
        self.next = self.committed or 0

    async def deliver(self, hole: int) -> None:
        """As Faust's loop over fetched messages does it."""
        offset = self.next + hole
        self.next = offset + 1
        before = self.consumer._read_offset[WORK]
        if before and offset - before > 1:
            await self.consumer._add_gap(WORK, before + 1, offset)
        self.consumer._read_offset[WORK] = offset
        message = ConsumerMessage(
            WORK.topic, 0, offset, 0.0, 0, [], b"", b"", None, tp=WORK, generation_id=0
        )
        self.queued.append(message)
        self.unfinished.append(offset)

    def finish(self, chosen: int) -> None:
        """One of the handlers comes to its end; with one handler, that is the oldest message."""
        in_hand = min(self.handlers, len(self.queued))
        if in_hand:
            index = chosen % in_hand
            message = self.queued[index]
            del self.queued[index]
            self.unfinished.remove(message.offset)
            self.consumer.ack(message)

    def commit(self) -> None:
        offset = self.consumer._new_offset(WORK)
        if offset is not None and self.consumer._should_commit(WORK, offset):
            passed = [each for each in self.unfinished if each < offset]
            assert passed == [], f"committed {offset} past {passed}"
            self.consumer._committed_offset[WORK] = self.committed = offset


@settings(max_examples=1500, deadline=None)
@given(st.data())
def test_with_one_handler_no_commit_passes_a_message_in_flight(
    consumer: stock.Consumer, data: st.DataObject
) -> None:
    start = data.draw(st.one_of(st.none(), st.integers(0, 5)))
    partition = Partition(consumer, start, handlers=1)

    async def run() -> None:
        for step in data.draw(STEPS):
            if step == "deliver":
                await partition.deliver(data.draw(st.sampled_from([0, 0, 0, 1, 3])))
            elif step == "finish":
                partition.finish(0)
            elif step == "commit":
                partition.commit()
            else:
                partition.begin()

    asyncio.run(run())


async def test_with_several_handlers_it_does(consumer: stock.Consumer) -> None:
    """When this fails Faust has mended it, and InFlight may go."""
    partition = Partition(consumer, None, handlers=2)
    await partition.deliver(0)
    await partition.deliver(0)
    partition.finish(1)
    with pytest.raises(AssertionError, match=r"committed 2 past \[0\]"):
        partition.commit()
