"""The planner: sizes stay within bounds, what the caller asked for wins, chunks are packed."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.events import Cause
from domain.options import MAX_CHUNK, JobOptions
from domain.planning import (
    FIRST_ITEMS,
    LEAST_ITEMS,
    LONG_MS,
    MAX_BYTES,
    MAX_GROWTH,
    MAX_ITEMS,
    MAX_PACKED,
    MAX_STARTS,
    MOST_BYTES,
    MOST_MS,
    SLOW_ITEMS,
    TARGET_MS,
    Pace,
    automatic_items,
    chunk_items,
    chunks_per_dispatch,
    smoothed,
    starts_allowed,
    undo_chunks_per_dispatch,
)

paces = st.builds(
    Pace,
    ms_per_item=st.none() | st.floats(0, 1e5),
    bytes_per_item=st.floats(0, 1e7),
    last_items=st.integers(1, MAX_CHUNK),
    target_ms=st.sampled_from([TARGET_MS, LONG_MS]),
)
sizes = st.integers(1, MAX_CHUNK)


TRANSACTION_MS, CHUNK_MS = 4.0, 0.3
"""What one costs by itself, measured with ``tests/engine/test_chunk_sizes.py``."""
WORKLOADS = {
    "tiny rows": (40_000, 0.009, 30.0),
    "rows of 20 kB": (2_000, 0.17, 20_000.0),
    "a handler of 50 ms": (600, 50.0, 30.0),
}
"""How many items, of so many milliseconds and bytes."""


def _cost(items: int, ms: float, size: float, asked: int | Literal["auto"]) -> float:
    """Milliseconds for all items, in chunks of a size."""
    options = JobOptions(chunk_size=asked)
    pace, cost = Pace(ms_per_item=None, bytes_per_item=size), 0.0
    while items:
        packed = chunks_per_dispatch(options, pace, slow=False)
        chunk = chunk_items(options, pace, slow=False)
        now = min(items, packed * chunk)
        cost += TRANSACTION_MS + CHUNK_MS * -(-now // chunk) + ms * now
        pace = replace(pace, ms_per_item=smoothed(pace.ms_per_item, ms), last_items=min(chunk, now))
        items -= now
    return cost


@pytest.mark.parametrize("work", WORKLOADS)
def test_automatic_chunks_cost_hardly_more_than_the_best_fixed_ones(work: str) -> None:
    best = min(_cost(*WORKLOADS[work], size) for size in (1, 5, 20, 50, 100, 200, 500, 1000, 2000))
    assert _cost(*WORKLOADS[work], "auto") <= 1.15 * best


@given(paces)
def test_automatic_chunks_stay_within_all_bounds(pace: Pace) -> None:
    items = automatic_items(pace, slow=False)
    assert 1 <= items <= MAX_ITEMS
    assert items <= pace.last_items * MAX_GROWTH
    assert items == 1 or items * pace.bytes_per_item <= MAX_BYTES
    if pace.ms_per_item is not None:
        assert items == 1 or items * pace.ms_per_item <= MOST_MS
        assert items <= LEAST_ITEMS or items * pace.ms_per_item <= pace.target_ms


@pytest.mark.parametrize("own", [0.0, 30.0, 300.0])
def test_what_a_transaction_costs_by_itself_does_not_make_chunks_vanish(own: float) -> None:
    pace, items = Pace(ms_per_item=None, bytes_per_item=100.0), FIRST_ITEMS
    for _ in range(50):
        measured = (own + 0.02 * items) / items
        pace = replace(pace, ms_per_item=smoothed(pace.ms_per_item, measured), last_items=items)
        items = automatic_items(pace, slow=False)
    assert items >= LEAST_ITEMS


@given(paces)
def test_the_first_chunk_is_small(pace: Pace) -> None:
    first = Pace(ms_per_item=None, bytes_per_item=pace.bytes_per_item)
    assert automatic_items(first, slow=False) <= FIRST_ITEMS < MAX_ITEMS


@given(paces)
def test_slow_chunks_do_not_depend_on_the_pace(pace: Pace) -> None:
    assert automatic_items(pace, slow=True) == SLOW_ITEMS


@given(paces, sizes, st.booleans())
def test_a_chunk_size_that_was_asked_for_is_kept(pace: Pace, size: int, slow: bool) -> None:
    small = replace(pace, bytes_per_item=min(pace.bytes_per_item, MOST_BYTES / MAX_CHUNK))
    assert chunk_items(JobOptions(chunk_size=size), small, slow=slow) == size


@given(paces, sizes | st.just("auto"), st.booleans())
def test_no_chunk_holds_more_bytes_than_a_worker_is_to_hold(
    pace: Pace, size: int | Literal["auto"], slow: bool
) -> None:
    items = chunk_items(JobOptions(chunk_size=size), pace, slow=slow)
    assert items >= 1
    assert items == 1 or items * pace.bytes_per_item <= MOST_BYTES


@given(paces, sizes)
def test_asked_chunks_are_packed_up_to_what_a_dispatch_may_hold(pace: Pace, size: int) -> None:
    packed = chunks_per_dispatch(JobOptions(chunk_size=size), pace, slow=False)
    room = _room(pace)
    assert packed >= 1
    assert packed == 1 or packed * size <= room
    assert (packed + 1) * size > room, "one more would not have fitted"


def _room(pace: Pace) -> int:
    """How many items of small chunks a transaction may hold."""
    # A chunk grows step by step from the last one; a pack has no such history.
    alone = automatic_items(replace(pace, last_items=MAX_ITEMS), slow=False)
    if alone < MAX_ITEMS:
        return alone
    by_bytes = MAX_PACKED if pace.bytes_per_item < 1 else int(MAX_BYTES / pace.bytes_per_item)
    by_time = int(pace.target_ms / max(pace.ms_per_item or 0, 1e-6))
    return min(by_bytes, by_time, MAX_PACKED)


@given(paces, sizes)
def test_slow_chunks_travel_alone(pace: Pace, size: int) -> None:
    assert chunks_per_dispatch(JobOptions(), pace, slow=True) == 1
    assert chunks_per_dispatch(JobOptions(chunk_size=size), pace, slow=True) == 1


@given(paces)
def test_automatic_chunks_grow_before_they_travel_together(pace: Pace) -> None:
    packed = chunks_per_dispatch(JobOptions(), pace, slow=False)
    size = automatic_items(pace, slow=False)
    assert packed == 1 or size == MAX_ITEMS
    assert packed == 1 or packed * size <= min(_room(pace), pace.last_items * MAX_GROWTH)


def test_the_largest_automatic_chunks_of_quick_items_travel_together() -> None:
    pace = Pace(ms_per_item=0.008, bytes_per_item=30.0, last_items=MAX_ITEMS)
    assert chunks_per_dispatch(JobOptions(), pace, slow=False) == 2


@given(st.lists(sizes, max_size=50), paces)
def test_undo_chunks_are_packed_up_to_what_a_dispatch_may_hold(
    waiting: list[int], pace: Pace
) -> None:
    packed = undo_chunks_per_dispatch(waiting, pace, slow=False)
    room = automatic_items(replace(pace, last_items=MAX_ITEMS), slow=False)
    assert packed == 1 or sum(waiting[:packed]) <= room
    assert packed >= len(waiting) or sum(waiting[: packed + 1]) > room
    assert undo_chunks_per_dispatch(waiting, pace, slow=True) == 1


@given(st.floats(0.001, 1e4), st.floats(0.001, 1e4))
def test_the_estimate_lies_between_the_old_one_and_the_measured(old: float, new: float) -> None:
    assert smoothed(None, new) == new
    assert min(old, new) <= smoothed(old, new) <= max(old, new)


def test_the_estimate_forgets_a_slow_start() -> None:
    estimate = smoothed(None, 1000.0)
    for _ in range(20):
        estimate = smoothed(estimate, 1.0)
    assert estimate == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ("cause", "parent", "starts"),
    [
        (Cause.APPLY, None, MAX_STARTS),
        (Cause.APPLY, 4, MAX_STARTS),
        (Cause.RETRY, None, MAX_STARTS),
        (Cause.BISECT, 4, 1),
        (Cause.ROLLBACK, None, MAX_STARTS),
        (Cause.ROLLBACK, 4, 1),
        (Cause.REAPPLY, 4, 1),
    ],
)
def test_a_part_of_a_killer_is_suspect_at_once(
    cause: Cause, parent: int | None, starts: int
) -> None:
    assert starts_allowed(cause, parent) == starts
