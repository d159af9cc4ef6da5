"""No commit passes a message that is still in flight, whatever the schedule."""

from __future__ import annotations

import random

import faust
from faust.types import TP, ConsumerMessage

from streams.app import create_faust_app
from streams.transport.memory import MemoryBroker, memory_transport
from streams.transport.memory.consumer import Consumer
from streams.transport.watermark import LowWatermark

TP0 = TP("work", 0)
SCHEDULES = 3000


def test_it_counts_up_to_the_first_that_is_missing() -> None:
    watermark = LowWatermark()
    watermark.start(TP0, 5)
    acked = {5, 6, 8}
    assert watermark.advance(TP0, acked) == 7
    assert acked == {8}


def test_what_was_begun_or_not_and_is_not_done_is_counted() -> None:
    watermark = LowWatermark()
    assert watermark.unfinished(TP0, set(), position=7) == 0
    watermark.start(TP0, 5)
    acked = {3, 5, 7}
    assert watermark.unfinished(TP0, acked, position=9) == 2
    assert watermark.advance(TP0, acked) == 6
    assert watermark.unfinished(TP0, acked, position=9) == 2


def test_it_does_not_move_while_the_first_is_in_flight() -> None:
    watermark = LowWatermark()
    watermark.start(TP0, 0)
    assert watermark.advance(TP0, {1, 2, 3}) is None


def test_what_was_acknowledged_from_an_earlier_delivery_is_dropped() -> None:
    watermark = LowWatermark()
    watermark.start(TP0, 5)
    acked = {2, 3, 6}
    assert watermark.advance(TP0, acked) is None
    assert acked == {6}


def test_a_partition_where_nothing_was_begun_moves_nothing() -> None:
    watermark = LowWatermark()
    acked = {0, 1}
    assert watermark.advance(TP0, acked) is None
    assert acked == set()


class Schedule:
    """Deliveries, acknowledgements, commits, seeks and rebalances of one partition."""

    def __init__(self, consumer: Consumer, broker: MemoryBroker, seed: int) -> None:
        self.random = random.Random(seed)
        self.consumer = consumer
        self.broker = broker
        self.tp = TP(f"work-{seed}", 0)
        self.delivered: list[ConsumerMessage] = []
        self.in_flight: list[ConsumerMessage] = []
        self.done: set[int] = set()

    async def run(self) -> None:
        await self.begin()
        steps = [self.deliver, self.deliver, self.acknowledge, self.acknowledge, self.commit]
        rare = [self.seek_back, self.seek_to_committed, self.rebalance]
        for _ in range(self.random.randint(5, 40)):
            await self.random.choice(rare if self.random.random() < 0.05 else steps)()
            self.check()
        await self.finish()

    async def finish(self) -> None:
        # Whoever sought to the end has nothing to acknowledge before another message comes.
        await self.send(1)
        while await self.consumer.position(self.tp) != self.log.highwater:
            await self.deliver()
        while self.in_flight:
            await self.acknowledge()
        await self.commit()
        self.check()
        assert self.log.committed(self.consumer.app.conf.id) == self.log.highwater

    async def begin(self) -> None:
        self.broker.create_topic(self.tp.topic, 1)
        self.consumer.app.topics.acking_topics.add(self.tp.topic)
        self.log = self.broker.partitions(self.tp.topic)[0]
        await self.send(self.random.randint(1, 30))
        await self.rebalance()

    async def send(self, count: int) -> None:
        for _ in range(count):
            await self.log.append(key=None, value=b"", headers=[], timestamp=0, size=1, patience=0)

    async def rebalance(self) -> None:
        group = self.broker.group(self.consumer.app.conf.id)
        if self.consumer._member is not None:
            group.leave(self.consumer._member)
        member = self.consumer._member = group.new_member()
        generation, partitions = await group.join(
            member, frozenset({self.tp.topic}), from_start=True, patience=1
        )
        self.consumer.app.consumer_generation_id = generation
        self.consumer._adopt(generation, partitions)
        await self.consumer.perform_seek()

    async def deliver(self) -> None:
        batch = self.consumer._reading.next_batch(lambda _: True, self.random.randint(1, 3))
        for record in batch.get(self.tp, []):
            assert self.consumer._reading.take(self.tp, record)
            message = self.consumer._to_message(self.tp, record)
            message.incref()
            self.consumer.track_message(message)
            message.tracked = True
            self.in_flight.append(message)

    async def acknowledge(self) -> None:
        if self.in_flight:
            message = self.in_flight.pop(self.random.randrange(len(self.in_flight)))
            message.ack(self.consumer)
            self.done.add(message.offset)

    async def commit(self) -> None:
        await self.consumer.commit()

    async def seek_back(self) -> None:
        await self.consumer.seek(self.tp, self.random.randint(0, self.log.highwater))
        # Whoever seeks forward gives up what lies between.
        self.done.update(range(await self.consumer.position(self.tp) or 0))

    async def seek_to_committed(self) -> None:
        await self.consumer.perform_seek()

    def check(self) -> None:
        committed = self.log.committed(self.consumer.app.conf.id) or 0
        missing = set(range(committed)) - self.done
        assert not missing, f"seed {self.tp}: committed {committed} past {sorted(missing)}"


def make_consumer(broker: MemoryBroker) -> tuple[faust.App, Consumer]:
    app = create_faust_app(
        app_id="group", broker_url=str(broker.url), transport=memory_transport(broker)
    )
    assert isinstance(app.consumer, Consumer)
    return app, app.consumer


async def test_3000_random_schedules_commit_nothing_in_flight_and_everything_in_the_end() -> None:
    broker = MemoryBroker()
    app, consumer = make_consumer(broker)
    app.flow_control.resume()
    for seed in range(SCHEDULES):
        await Schedule(consumer, broker, seed).run()
