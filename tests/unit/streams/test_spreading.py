"""Spreading: no slot is given a second message while another that holds partitions has none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from domain.job import Job
from streams.spreading import Spread

TOPIC = "work.stock"


@dataclass
class _Working:
    """As much of a job as is looked at."""

    open: dict[int, str] = field(default_factory=dict)


class Place:
    """A coordinator with its jobs, and slots that hold partitions."""

    def __init__(self, slots: Sequence[Sequence[int]]) -> None:
        self.slots = slots
        self.jobs: dict[str, _Working] = {}
        self.spread = Spread(lambda topic: self.slots if topic == TOPIC else ())
        self.number = 0

    def send(self, job_id: str, chunks: int = 1) -> tuple[int | None, list[int]]:
        numbers = list(range(self.number, self.number + chunks))
        self.number += chunks
        self.jobs.setdefault(job_id, _Working()).open |= dict.fromkeys(numbers, "sent")
        live = cast("dict[str, Job]", self.jobs)
        return self.spread.place(TOPIC, job_id, numbers, live), numbers

    def end(self, job_id: str, chunks: Sequence[int]) -> None:
        for chunk in chunks:
            del self.jobs[job_id].open[chunk]


def test_of_what_nobody_is_known_to_hold_the_key_decides() -> None:
    assert Place([]).send("one") == (None, [0])
    assert Place([[], []]).send("one") == (None, [0])


def test_slots_take_turns_and_their_partitions_as_well() -> None:
    place = Place([[0, 2], [1, 3]])
    assert [place.send("one")[0] for _ in range(4)] == [0, 1, 2, 3]


def test_whoever_ends_first_gets_the_next() -> None:
    place = Place([[0], [1]])
    place.send("one")
    for _ in range(5):
        partition, chunks = place.send("two")
        assert partition == 1
        place.end("two", chunks)


def test_several_chunks_in_one_message_are_one_until_the_last_has_ended() -> None:
    place = Place([[0], [1]])
    _, packed = place.send("one", chunks=3)
    assert place.send("one")[0] == 1
    place.end("one", packed[:2])
    assert [place.send("two")[0], place.send("two")[0]] == [0, 1]


def test_a_job_that_is_gone_has_nothing_in_flight() -> None:
    place = Place([[0], [1]])
    place.send("one")
    place.send("two")
    place.send("one")
    del place.jobs["one"]
    assert place.send("three")[0] == 0


def test_a_slot_that_is_gone_gets_no_more() -> None:
    place = Place([[0], [1]])
    place.send("one")
    place.slots = [[0, 1]]
    assert [place.send("one")[0], place.send("one")[0]] == [1, 0]


@given(
    st.integers(1, 4),
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(0, 99)), max_size=60),
)
def test_none_has_more_than_one_above_the_least_when_it_is_given_some(
    slots: int, each: int, steps: list[tuple[str, bool, int]]
) -> None:
    place = Place([[slot + slots * n for n in range(each)] for slot in range(slots)])
    flying: list[tuple[str, int, list[int]]] = []
    for job_id, ends, which in steps:
        if ends and flying:
            job, _, chunks = flying.pop(which % len(flying))
            place.end(job, chunks)
            continue
        before = Counter(partition % slots for _, partition, _ in flying)
        partition, chunks = place.send(job_id)
        assert partition is not None
        assert before[partition % slots] == min(before[slot] for slot in range(slots))
        flying.append((job_id, partition, chunks))
