"""A lane says of each partition whether it moves, by a clock that the test moves."""

from __future__ import annotations

from dataclasses import dataclass, field

from domain.errors import BrokerUnavailable
from streams.liveness import FETCHED, Lane, Place, Standing
from tests.engine.stages import HandClock

LIMIT = 30.0
STEP = 5.0
"""Seconds between two looks."""


@dataclass
class Broker:
    """How far each partition is worked off, and how many messages come after that."""

    at: dict[Place, tuple[int, int]] = field(default_factory=dict)
    away: bool = False

    async def standings(self) -> list[Standing]:
        if self.away:
            raise BrokerUnavailable("no broker answers")
        return [Standing(*place, done, waiting) for place, (done, waiting) in self.at.items()]

    def handle(self, place: Place, count: int = 1, *, more: int = 0) -> None:
        """So many of a partition's messages are handled, and others come."""
        done, waiting = self.at[place]
        self.at[place] = (done + count, waiting - count + more)


class Road:
    """A lane over partitions that a test works off."""

    def __init__(self, **waiting: int) -> None:
        self.clock = HandClock()
        self.broker = Broker({place(name): (0, count) for name, count in waiting.items()})
        self.lane = Lane("work", self.clock, self.broker.standings)

    async def passes(self, seconds: float = STEP) -> None:
        """Time passes, then somebody looks."""
        self.clock.pass_seconds(seconds)
        await self.lane.measure()

    async def works(self, seconds: float, name: str, *, per_step: int = 1, more: int = 0) -> None:
        """A partition is worked off for a while, on which messages may come meanwhile."""
        for _ in range(int(seconds / STEP)):
            self.broker.handle(place(name), per_step, more=more)
            await self.passes()

    @property
    def still(self) -> list[Place]:
        return [(one.topic, one.partition) for one in self.lane.still(LIMIT)]


def place(name: str) -> Place:
    """``work_1`` is partition 1 of the topic ``work``."""
    topic, _, partition = name.partition("_")
    return topic, int(partition)


async def test_a_partition_that_stands_beside_one_that_moves_is_named() -> None:
    road = Road(work_0=3, work_1=0)
    await road.passes()
    for _ in range(6):
        # What comes is worked off before anybody looks: nothing of it was before partition 0.
        road.broker.handle(("work", 1), more=1)
        assert road.still == []
        await road.passes()
    (still,) = road.lane.still(LIMIT)
    assert (still.topic, still.partition, still.waiting) == ("work", 0, 3)
    assert LIMIT < still.seconds < LIMIT + STEP
    assert road.lane.waiting == 3


async def test_a_partition_stands_however_many_others_say_that_they_have_handled_one() -> None:
    road = Road(work_0=1, work_1=1)
    await road.passes()
    road.clock.pass_seconds(LIMIT + 1)
    road.lane.handled("work", 1)
    road.lane.handled("other", 7)
    assert road.still == [("work", 0)]


async def test_a_partition_on_which_nothing_waits_does_not_stand() -> None:
    road = Road(work_0=0, work_1=5)
    await road.passes()
    await road.passes(LIMIT * 9)
    assert road.still == [("work", 1)]
    road.clock.pass_seconds(LIMIT + 1)
    assert road.still == [("work", 1)], "whenever somebody asks"
    road.broker.at["work", 0] = (0, 1)
    await road.passes()
    assert road.still == [("work", 1)], "its message may have come just now"
    await road.passes(LIMIT + 1)
    assert road.still == [("work", 0), ("work", 1)]


async def test_a_partition_moves_though_as_many_wait_as_before() -> None:
    road = Road(work_0=4)
    await road.passes()
    for _ in range(20):
        await road.works(STEP, "work_0", more=1)
        assert road.still == []
    assert road.lane.waiting == 4


async def test_a_partition_that_went_to_another_member_is_forgotten() -> None:
    road = Road(work_0=4, work_1=0)
    await road.passes()
    await road.passes(LIMIT + 1)
    assert road.still == [("work", 0)]
    gone = road.broker.at.pop(("work", 0))
    await road.passes()
    assert (road.still, road.lane.waiting) == ([], 0)
    road.broker.at["work", 0] = gone
    await road.passes()
    assert road.still == [], "it is new to this member"
    await road.passes(LIMIT + 1)
    assert road.still == [("work", 0)]


async def test_a_stage_that_knows_what_it_waits_for_keeps_all_its_partitions_from_standing() -> (
    None
):
    road = Road(work_0=1, other_0=1)
    await road.passes()
    for _ in range(9):
        await road.passes(LIMIT - 1)
        road.lane.moved()
        assert road.still == []
    road.clock.pass_seconds(LIMIT + 1)
    assert road.still == [("work", 0), ("other", 0)]


async def test_who_waits_for_a_broker_does_not_stand_and_has_its_time_anew() -> None:
    road = Road(work_0=1)
    await road.passes()
    road.broker.away = True
    await road.passes(LIMIT + 1)
    assert (road.still, road.lane.waiting) == ([], 0)
    assert road.lane.broker_away == "no broker answers"
    road.broker.away = False
    await road.passes(LIMIT + 1)
    assert (road.still, road.lane.broker_away) == ([], "")
    await road.passes(LIMIT + 1)
    assert road.still == [("work", 0)]


# -- who waits for its turn ----------------------------------------------------------------
# An agent takes one message after another, of all partitions of its topic.


async def test_a_partition_may_wait_for_what_was_there_before_it() -> None:
    road = Road(work_0=1, work_1=40)
    await road.passes()
    await road.works(40 * STEP, "work_1")
    assert road.still == []
    await road.passes(LIMIT + 1)
    assert road.still == [("work", 0)], "there is nobody before it any more"


async def test_what_came_after_it_goes_not_before_it_for_ever() -> None:
    road = Road(work_0=1, work_1=4)
    await road.passes()
    await road.works(4 * STEP, "work_1", more=1)
    assert road.still == []
    await road.works(LIMIT + STEP, "work_1", more=1)
    assert road.still == [("work", 0)]


async def test_no_more_goes_before_it_than_a_broker_hands_over_at_once() -> None:
    road = Road(work_0=1, work_1=100 * FETCHED)
    await road.passes()
    await road.works(2 * STEP, "work_1", per_step=FETCHED)
    await road.works(LIMIT + STEP, "work_1", per_step=FETCHED)
    assert road.still == [("work", 0)]


async def test_another_topic_has_an_agent_of_its_own() -> None:
    road = Road(work_0=1, other_0=100)
    await road.passes()
    await road.works(LIMIT + STEP, "other_0")
    assert road.still == [("work", 0)]


async def test_a_partition_waits_for_one_that_has_just_come_with_messages() -> None:
    road = Road(work_0=1)
    await road.passes()
    road.broker.at["work", 1] = (500, 40)
    await road.passes()
    await road.works(20 * STEP, "work_1")
    assert road.still == []


async def test_who_stands_itself_keeps_nobody_from_standing() -> None:
    road = Road(work_0=1, work_1=40)
    await road.passes()
    await road.passes(LIMIT + 1)
    assert road.still == [("work", 0), ("work", 1)]
