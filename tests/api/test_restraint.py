"""Restraint: refusals are told in turn, each of those who are refused for themselves."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.restraint import KEPT, LONGEST, SPACING, Restraint


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at = 100.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)

    def monotonic(self) -> float:
        return self.at


def test_the_first_is_told_at_once_and_the_others_after_one_another() -> None:
    restraint = Restraint(Hand())
    assert [restraint.delay("a") for _ in range(3)] == pytest.approx([0.0, SPACING, 2 * SPACING])
    assert restraint.delay("b") == 0.0


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0.0, 2.0)), max_size=300))
def test_nobody_waits_longer_than_the_longest_and_whoever_pauses_is_told_at_once(
    calls: list[tuple[str, float]],
) -> None:
    clock = Hand()
    restraint, told = Restraint(clock), {"a": [0.0], "b": [0.0]}
    for whose, pause in calls:
        clock.at += pause
        wait = restraint.delay(whose)
        due = clock.at + wait
        assert 0.0 <= wait <= LONGEST + 1e-9
        if wait < LONGEST - 1e-9:
            assert due >= told[whose][-1] + SPACING - 1e-9
        if clock.at >= told[whose][-1] + LONGEST + SPACING:
            assert wait == 0.0
        told[whose].append(due)


def test_of_more_than_are_kept_the_one_refused_the_longest_ago_is_forgotten() -> None:
    restraint = Restraint(Hand())
    for number in range(KEPT + 1):
        restraint.delay(str(number))
    assert restraint.delay(str(KEPT)) == pytest.approx(SPACING)
    assert restraint.delay("0") == 0.0
