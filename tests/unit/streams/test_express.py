"""Short events are worked beside long ones; those of one job stay in their order, one at a time."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.envelope import WorkMode
from streams.express import AHEAD, Entry, Express


@dataclass(frozen=True)
class Event:
    """One message: of which job, which of it, its mode, and how many turns of the loop it takes."""

    job_id: str
    number: int
    mode: WorkMode = WorkMode.SEQUENTIAL
    turns: int = 0


@dataclass
class Slot:
    """Notes what is worked when; ``held`` events are in hand until they are released."""

    held: dict[Event, asyncio.Event] = field(default_factory=dict)
    begun: list[Event] = field(default_factory=list)
    done: list[Event] = field(default_factory=list)
    lost: set[Event] = field(default_factory=set)
    cancelled: list[Event] = field(default_factory=list)
    together: list[Event] = field(default_factory=list)
    seen_together: list[list[Event]] = field(default_factory=list)

    async def handle(self, event: Event) -> None:
        self.begun.append(event)
        self.together.append(event)
        self.seen_together.append(list(self.together))
        try:
            if event in self.held:
                await self.held[event].wait()
            for _ in range(event.turns):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled.append(event)
            raise
        self.together.remove(event)
        self.done.append(event)

    def hold(self, *events: Event) -> None:
        self.held |= {event: asyncio.Event() for event in events}

    def express(self) -> Express[Event]:
        return Express(
            lambda event: Entry(event, event.job_id, event.mode),
            self.handle,
            lambda event: event in self.lost,
            nullcontext,
        )


@dataclass
class Source:
    """What is read, one after the other, and how much was read."""

    events: Sequence[Event]
    read: int = 0
    end: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aiter__(self) -> AsyncIterator[Event]:
        for event in self.events:
            self.read += 1
            yield event
        await self.end.wait()


async def settled() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


@asynccontextmanager
async def working(slot: Slot, source: Source) -> AsyncIterator[None]:
    """While the slot works what it was given, once it can begin no more; then to the end."""
    running = asyncio.create_task(slot.express().run(source))
    await settled()
    yield
    source.end.set()
    await running


LONG, NEXT = Event("large", 1), Event("large", 2)
SHORT = Event("small", 1, WorkMode.CONCURRENT)


async def test_a_short_one_is_done_while_a_long_one_is_not() -> None:
    slot, source = Slot(), Source([LONG, NEXT, SHORT])
    slot.hold(LONG)
    async with working(slot, source):
        assert slot.done == [SHORT]
        assert slot.begun == [LONG, SHORT], "of two long ones the second waits"
        slot.held[LONG].set()
        await settled()
        assert slot.done == [SHORT, LONG, NEXT]


async def test_a_short_one_waits_for_what_is_before_it_of_its_job() -> None:
    last = Event("large", 3, WorkMode.CONCURRENT)
    slot, source = Slot(), Source([LONG, NEXT, last])
    slot.hold(LONG, NEXT)
    async with working(slot, source):
        assert slot.begun == [LONG]
        slot.held[LONG].set()
        await settled()
        assert slot.begun == [LONG, NEXT]
        slot.held[NEXT].set()
    assert slot.done == [LONG, NEXT, last]


async def test_a_long_one_does_not_wait_for_a_short_one() -> None:
    slot, source = Slot(), Source([SHORT, LONG])
    slot.hold(SHORT)
    async with working(slot, source):
        assert slot.done == [LONG]
        slot.held[SHORT].set()


async def test_of_two_short_ones_the_second_waits() -> None:
    """Both would want the processor, and neither would be done sooner."""
    other = Event("other", 1, WorkMode.CONCURRENT)
    slot, source = Slot(), Source([SHORT, other])
    slot.hold(SHORT)
    async with working(slot, source):
        assert slot.begun == [SHORT]
        slot.held[SHORT].set()
    assert slot.done == [SHORT, other]


async def test_a_short_one_before_what_is_exclusive_is_still_worked() -> None:
    suspect = Event("killer", 1, WorkMode.EXCLUSIVE)
    slot, source = Slot(), Source([LONG, SHORT, suspect])
    slot.hold(LONG)
    async with working(slot, source):
        assert slot.done == [SHORT]
        slot.held[LONG].set()
    assert slot.done == [SHORT, LONG, suspect]


async def test_what_is_exclusive_holds_nobody_up_once_it_is_ours_no_longer() -> None:
    suspect = Event("killer", 1, WorkMode.EXCLUSIVE)
    last = Event("last", 1, WorkMode.CONCURRENT)
    slot, source = Slot(), Source([LONG, suspect, SHORT, last])
    slot.hold(LONG, SHORT)
    async with working(slot, source):
        slot.lost = {suspect}
        slot.held[LONG].set()
        slot.held[SHORT].set()
    assert slot.done == [LONG, SHORT, last]


async def test_nothing_is_worked_beside_what_is_exclusive() -> None:
    suspect, behind = Event("killer", 1, WorkMode.EXCLUSIVE), Event("other", 1, WorkMode.CONCURRENT)
    slot, source = Slot(), Source([LONG, suspect, SHORT, behind])
    slot.hold(LONG, suspect)
    async with working(slot, source):
        assert slot.begun == [LONG], "those behind it wait as well, or it would never be alone"
        slot.held[LONG].set()
        await settled()
        assert slot.begun == [LONG, suspect]
        slot.held[suspect].set()
    assert slot.done == [LONG, suspect, SHORT, behind]


async def test_it_reads_no_further_than_it_may() -> None:
    several = [Event("large", number) for number in range(3 * AHEAD)]
    slot, source = Slot(), Source(several)
    slot.hold(several[0])
    async with working(slot, source):
        assert source.read == AHEAD + 1, "one more, for which there is no room yet"
        slot.held[several[0]].set()
    assert slot.done == several


async def test_what_is_ours_no_longer_is_not_worked() -> None:
    other = Event("other", 1)
    slot, source = Slot(), Source([LONG, NEXT, other])
    slot.hold(LONG)
    async with working(slot, source):
        slot.lost = {NEXT, other}
        slot.held[LONG].set()
    assert slot.begun == [LONG]


async def test_what_is_forgotten_makes_room() -> None:
    several = [Event("large", number) for number in range(2 * AHEAD)]
    slot, source = Slot(), Source(several)
    slot.hold(several[0])
    slot.lost = set(several[1:AHEAD])
    async with working(slot, source):
        slot.held[several[0]].set()
    assert slot.done == [several[0], *several[AHEAD:]]


async def test_whoever_is_cancelled_ends_what_is_in_hand() -> None:
    slot, source = Slot(), Source([LONG, SHORT, NEXT])
    slot.hold(LONG, SHORT)
    running = asyncio.create_task(slot.express().run(source))
    await settled()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert slot.begun == [LONG, SHORT]
    assert sorted(slot.cancelled, key=lambda event: event.job_id) == [LONG, SHORT]


events = st.lists(
    st.builds(
        Event,
        job_id=st.sampled_from("abcde"),
        number=st.just(0),
        mode=st.sampled_from(WorkMode),
        turns=st.integers(0, 5),
    ),
    max_size=60,
)


@given(events)
def test_all_are_worked_once_and_those_of_a_job_in_their_order(several: list[Event]) -> None:
    numbered = [
        Event(each.job_id, number, each.mode, each.turns) for number, each in enumerate(several)
    ]
    slot, source = Slot(), Source(numbered)
    source.end.set()
    asyncio.run(slot.express().run(source))
    of_job: defaultdict[str, list[int]] = defaultdict(list)
    for event in slot.begun:
        of_job[event.job_id].append(event.number)
    assert sorted(slot.done, key=lambda event: event.number) == numbered
    assert all(numbers == sorted(numbers) for numbers in of_job.values())
    for together in slot.seen_together:
        assert len(together) <= 2
        assert len({each.job_id for each in together}) == len(together)
        assert len(together) == 1 or not any(map(is_exclusive, together))
        assert sum(each.mode is WorkMode.CONCURRENT for each in together) <= 1


def is_exclusive(event: Event) -> bool:
    return event.mode is WorkMode.EXCLUSIVE
