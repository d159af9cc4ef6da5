"""A process over its memory budget takes no more while it has something in hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import faust
import pytest

from streams.agents import Binding, bind, two_at_a_time
from streams.app import is_leaving, running
from streams.clock import SystemClock
from streams.envelope import Outgoing
from streams.express import NotBegun
from streams.failpoints import Failpoints
from streams.intake import MIB, Intake
from streams.stores.workers import WorkerRow
from streams.transport.memory import MemoryBroker
from tests.unit.streams.transport.apps import eventually, make_app, send

BUDGET = 100 * MIB
SECONDS = 5.0
ROW = WorkerRow("one", ("shop",), slots=2, process=17)


@dataclass
class House:
    """An intake with a memory that a test sets, and a stage that it opens."""

    used: int = 50 * MIB
    background: int = 0
    moved: int = 0
    begun: list[str] = field(default_factory=list)
    doors: dict[str, asyncio.Event] = field(default_factory=dict)
    intake: Intake = field(init=False)

    def __post_init__(self) -> None:
        self.intake = Intake(
            budget=BUDGET,
            measure=lambda: self.used,
            background=lambda: self.background,
            clock=SystemClock(),
        )

    async def _stage(self, message: str) -> str:
        self.begun.append(message)
        await self.doors.setdefault(message, asyncio.Event()).wait()
        return message.upper()

    def _moved(self) -> None:
        self.moved += 1

    @asynccontextmanager
    async def given(self, *messages: str) -> AsyncIterator[list[asyncio.Task[str]]]:
        tasks = [
            asyncio.create_task(self.intake.through(self._stage, self._moved, message))
            for message in messages
        ]
        # Each goes as far as it can without a door, a pause, or memory.
        await asyncio.sleep(0)
        try:
            yield tasks
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def open(self, message: str) -> None:
        self.doors.setdefault(message, asyncio.Event()).set()


async def test_within_its_budget_it_takes_all() -> None:
    house = House()
    async with house.given("a", "b") as (first, _):
        assert house.begun == ["a", "b"]
        house.open("a")
        assert await first == "A"
    seen = house.intake.look()
    assert (seen.used, seen.over_since, seen.waits, seen.alone) == (50 * MIB, None, 0, 0)


async def test_over_it_one_is_taken_and_the_next_waits_until_that_is_done() -> None:
    house = House(used=101 * MIB)
    async with house.given("a", "b") as (first, second):
        assert house.begun == ["a"]
        seen = house.intake.look()
        assert seen.over_since is not None
        assert seen.held_since is not None
        assert (seen.waits, seen.alone) == (1, 1)
        assert house.intake.told(ROW).held_since == seen.held_since.timestamp()
        house.open("a")
        house.open("b")
        async with asyncio.timeout(SECONDS):
            assert [await first, await second] == ["A", "B"]
    assert house.moved > 0, "who waits for memory does not stand still"
    assert house.intake.look().held_since is None
    assert house.intake.told(ROW).memory_budget == BUDGET


async def test_what_waits_is_taken_when_the_memory_comes_back() -> None:
    house = House(used=101 * MIB, background=1)
    async with house.given("a") as (task,):
        assert house.begun == []
        house.used = 99 * MIB
        assert house.intake.look().over_since is not None, "a little less is not enough"
        house.used = 90 * MIB
        house.open("a")
        async with asyncio.timeout(SECONDS):
            assert await task == "A"
    seen = house.intake.look()
    assert (seen.over_since, seen.held_since, seen.alone) == (None, None, 0)


async def test_who_ends_lets_everything_through() -> None:
    house = House(used=101 * MIB, background=1)
    async with house.given("a", "b") as tasks:
        assert house.begun == []
        house.intake.close()
        house.open("a")
        house.open("b")
        async with asyncio.timeout(SECONDS):
            assert await asyncio.gather(*tasks) == ["A", "B"]


async def test_who_is_cancelled_waits_no_longer() -> None:
    house = House(used=101 * MIB, background=1)
    async with house.given("a"):
        assert house.intake.look().held_since is not None
    assert house.intake.look().held_since is None
    assert str(house.intake.look()) == "101 of 100 MiB"


async def test_what_is_late_is_left_to_others_unless_there_is_memory() -> None:
    house, late = House(used=101 * MIB, background=1), asyncio.Event()
    waiting = asyncio.create_task(
        house.intake.through(house._stage, house._moved, "a", is_late=late.is_set)
    )
    await asyncio.sleep(0)
    assert house.intake.look().held_since is not None
    late.set()
    with pytest.raises(NotBegun):
        await waiting
    assert (house.begun, house.intake.look().held_since) == ([], None)
    house.used = 50 * MIB
    house.open("b")
    passed = house.intake.through(house._stage, house._moved, "b", is_late=late.is_set)
    assert await passed == "B"


def worker(broker: MemoryBroker, house: House, done: list[bytes]) -> faust.App:
    """An app that works what there is memory for, as a slot of a worker does."""

    async def work(message: bytes) -> list[Outgoing]:
        done.append(message)
        return []

    async def send_nothing(outgoing: Outgoing) -> None:
        raise AssertionError(f"sent to {outgoing.topic}")

    app = make_app(broker)
    binding: Binding[bytes] = Binding(
        topic="pair",
        decode=lambda value: value or b"",
        handle=partial(house.intake.through, work, house._moved, is_late=partial(is_leaving, app)),
        reader=two_at_a_time,
    )
    bind(app, binding, send_nothing, Failpoints())
    return app


async def test_a_message_that_waits_for_memory_holds_no_rebalance_up() -> None:
    broker = MemoryBroker()
    broker.create_topic("pair", 2)
    full, roomy = House(used=101 * MIB, background=1), House()
    left: list[bytes] = []
    taken: list[bytes] = []
    first, second = worker(broker, full, left), worker(broker, roomy, taken)
    async with running(first):
        for partition in range(2):
            await send(first, b"%d" % partition, "pair", partition)
        await eventually(lambda: full.intake.look().held_since is not None)
        async with asyncio.timeout(SECONDS), running(second):
            # One of the two messages is now whose process has memory.
            await eventually(lambda: len(taken) == 1)
            assert left == []
            full.used = 50 * MIB
            await eventually(lambda: broker.lag("group") == 0)
    assert sorted(left + taken) == [b"0", b"1"]
