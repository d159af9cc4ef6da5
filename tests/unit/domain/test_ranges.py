"""Ranges behave as sets of positions do, and stay in normal form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from domain.ranges import Ranges
from tests.processor_time import processor_time

positions = st.sets(st.integers(0, 60), max_size=40)
spans = st.lists(
    st.tuples(st.integers(0, 50), st.integers(1, 12)).map(lambda s: [s[0], s[0] + s[1]]),
    max_size=12,
)


def _is_normal(ranges: Ranges) -> bool:
    ends = [end for _, end in ranges.spans]
    firsts = [first for first, _ in ranges.spans]
    return all(f < e for f, e in ranges.spans) and all(
        end < first for end, first in zip(ends, firsts[1:], strict=False)
    )


@given(positions)
def test_a_set_goes_in_and_comes_out(chosen: set[int]) -> None:
    ranges = Ranges.of(chosen)
    assert list(ranges) == sorted(chosen)
    assert len(ranges) == len(chosen)
    assert bool(ranges) == bool(chosen)
    assert _is_normal(ranges)
    assert all((position in ranges) == (position in chosen) for position in range(62))


@given(spans)
def test_spans_from_outside_are_put_in_order_and_merged(given_spans: list[list[int]]) -> None:
    ranges = Ranges.from_spans(given_spans)
    assert set(ranges) == {p for first, end in given_spans for p in range(first, end)}
    assert _is_normal(ranges)


@given(positions, positions)
def test_union_and_difference_are_those_of_sets(one: set[int], other: set[int]) -> None:
    union = Ranges.of(one) | Ranges.of(other)
    difference = Ranges.of(one) - Ranges.of(other)
    assert union == Ranges.of(one | other)
    assert difference == Ranges.of(one - other)
    assert _is_normal(union)
    assert _is_normal(difference)


@given(positions, st.integers(0, 62), st.integers(0, 62))
def test_within_is_what_lies_between(chosen: set[int], first: int, end: int) -> None:
    found = Ranges.of(chosen).within(first, end)
    assert list(found) == [position for position in sorted(chosen) if first <= position < end]
    assert _is_normal(found)


@given(positions, st.integers(0, 70))
def test_take_splits_off_the_first_positions(chosen: set[int], count: int) -> None:
    head, rest = Ranges.of(chosen).take(count)
    assert list(head) == sorted(chosen)[:count]
    assert list(rest) == sorted(chosen)[count:]
    assert _is_normal(head)
    assert _is_normal(rest)


@given(positions)
def test_halves_differ_by_one_at_most(chosen: set[int]) -> None:
    first, second = Ranges.of(chosen).halves()
    assert first | second == Ranges.of(chosen)
    assert 0 <= len(second) - len(first) <= 1


@given(positions)
def test_json_round_trip(chosen: set[int]) -> None:
    adapter = TypeAdapter(Ranges)
    ranges = Ranges.of(chosen)
    assert adapter.validate_json(adapter.dump_json(ranges)) == ranges
    assert adapter.validate_python(ranges) is ranges
    assert adapter.validate_python(ranges.to_json()) == ranges


@pytest.mark.parametrize(
    "wrong", [[[3, 3]], [[5, 2]], [[-1, 2]], [[1]], [[1, 2, 3]], [["a", 2]], 7]
)
def test_what_is_no_range_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Ranges).validate_python(wrong)


def test_a_span_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0 <= first < end, not \[4, 4\]"):
        Ranges.from_spans([[4, 4]])


def test_an_empty_span_is_empty() -> None:
    assert Ranges.span(5, 5) == Ranges()
    assert not Ranges.span(5, 3)


def test_a_model_holds_ranges() -> None:
    class Holder(BaseModel):
        items: Ranges = Ranges()

    holder = Holder.model_validate_json('{"items": [[4, 6], [0, 2], [2, 3]]}')
    assert holder.items.spans == ((0, 3), (4, 6))
    assert holder.model_dump(mode="json") == {"items": [[0, 3], [4, 6]]}


@given(positions, st.integers(0, 70))
def test_it_holds_what_was_put_in(chosen: set[int], position: int) -> None:
    assert (position in Ranges.of(chosen)) == (position in chosen)


def test_asking_a_scattered_set_for_each_position_stays_quick() -> None:
    scattered = Ranges(tuple((2 * n, 2 * n + 1) for n in range(50_000)))
    with processor_time() as taken:
        assert sum(position in scattered for position in range(100_000)) == 50_000
    assert taken.seconds < 2.0, "none must walk all spans"


def test_cutting_a_scattered_set_into_chunks_stays_quick() -> None:
    rest = Ranges(tuple((2 * n, 2 * n + 1) for n in range(200_000)))
    waiting = rest
    with processor_time() as taken:
        while rest:
            head, rest = rest.take(1000)
            waiting = waiting - head
    assert not waiting
    assert taken.seconds < 2.0, "200 chunks must not each walk the whole rest"
