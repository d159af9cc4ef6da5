"""What is read of a job that has just begun is kept only while nothing more is stored."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.events import JobEvent
from streams.beginnings import BEGINNINGS, LONGEST_BEGINNING, Beginnings
from tests.unit.streams.lives import whole_life

Reading = AbstractContextManager[list[JobEvent]]
LIFE = whole_life(4000)


def hearing() -> Beginnings:
    beginnings = Beginnings()
    beginnings.open()
    return beginnings


def read(beginnings: Beginnings, events: list[JobEvent], job_id: str = "job") -> None:
    with beginnings.reading(job_id) as found:
        found.extend(events)


def test_the_life_is_longer_than_a_beginning() -> None:
    assert len(LIFE) > LONGEST_BEGINNING + 1
    assert LIFE[-1].status.terminal


def test_what_was_read_is_kept_for_the_tenant_of_the_job() -> None:
    beginnings = hearing()
    read(beginnings, LIFE[:2])
    assert beginnings.of("local", "job") == LIFE[:2]
    assert not beginnings.of("another", "job")
    assert not beginnings.of("local", "another")


@pytest.mark.parametrize("told", ["heard", "close", "open", "reading"])
def test_what_is_heard_while_one_reads_makes_it_of_no_use(told: str) -> None:
    beginnings = hearing()
    with beginnings.reading("job") as found:
        found.extend(LIFE[:2])
        if told == "heard":
            beginnings.heard("job", 3)
        elif told == "reading":
            with pytest.raises(ValueError, match="away"), beginnings.reading("job"):
                raise ValueError("away")
        else:
            getattr(beginnings, told)()
    assert not beginnings.of("local", "job")


def test_only_who_hears_what_is_stored_keeps_what_was_read() -> None:
    beginnings = Beginnings()
    read(beginnings, LIFE[:2])
    assert not beginnings.of("local", "job"), "nothing is heard yet"
    beginnings.open()
    read(beginnings, LIFE[:2])
    beginnings.close()
    assert not beginnings.of("local", "job"), "nothing is heard any more"
    read(beginnings, LIFE[:2])
    assert not beginnings.of("local", "job")


def test_news_of_what_is_kept_changes_nothing() -> None:
    beginnings = hearing()
    read(beginnings, LIFE[:2])
    beginnings.heard("job", 1)
    beginnings.heard("job", 2)
    beginnings.heard("another", 7)
    assert beginnings.of("local", "job") == LIFE[:2]
    beginnings.heard("job", 3)
    assert not beginnings.of("local", "job")


SHORT = whole_life(1)


@pytest.mark.parametrize(
    "events",
    [[], LIFE[1:3], [LIFE[0], LIFE[2]], LIFE[: LONGEST_BEGINNING + 1], SHORT],
    ids=["nothing", "behind a snapshot", "with a gap", "many", "over"],
)
def test_only_a_short_whole_beginning_is_kept(events: list[JobEvent]) -> None:
    assert len(SHORT) <= LONGEST_BEGINNING
    beginnings = hearing()
    read(beginnings, events)
    assert not beginnings.of("local", "job")


def test_whoever_reads_many_jobs_keeps_the_latest() -> None:
    beginnings = hearing()
    for number in range(BEGINNINGS):
        read(beginnings, LIFE[:1], f"job-{number}")
    read(beginnings, LIFE[:2], "job-0")
    read(beginnings, LIFE[:1], "one more")
    assert not beginnings.of("local", "job-1")
    assert beginnings.of("local", "job-0") == LIFE[:2]


class Readers:
    """Readers of one job, each of which asks, is answered and has its answer, at any moments."""

    def __init__(self) -> None:
        self.beginnings = hearing()
        self.stored = self.told = 0
        self._asked: list[tuple[Reading, list[JobEvent]]] = []
        self._answered: list[Reading] = []

    def store(self) -> None:
        self.stored = min(self.stored + 2, len(LIFE))

    def tell(self) -> None:
        if self.stored:
            self.told = self.stored
            self.beginnings.heard("job", self.told)

    def ask(self) -> None:
        reading = self.beginnings.reading("job")
        self._asked.append((reading, reading.__enter__()))

    def answer(self) -> None:
        if self._asked:
            reading, found = self._asked.pop(0)
            found.extend(LIFE[: self.stored])
            self._answered.append(reading)

    def end(self) -> None:
        if self._answered:
            self._answered.pop().__exit__(None, None, None)


@given(st.lists(st.sampled_from(["store", "tell", "ask", "answer", "end"]), max_size=40))
def test_what_is_kept_is_all_of_which_there_was_news(steps: list[str]) -> None:
    readers = Readers()
    for step in steps:
        getattr(readers, step)()
        kept = readers.beginnings.of("local", "job")
        assert not kept or readers.told <= len(kept) <= readers.stored
        assert list(kept) == LIFE[: len(kept)]
