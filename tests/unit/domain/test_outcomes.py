"""Counts: six statuses that always add up; chunks say what became of their items."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.outcomes import ClosedChunk, Closing, Counts, ItemStatus
from domain.ranges import Ranges

statuses = st.sampled_from(ItemStatus)
counted = st.builds(Counts, **{status.value: st.integers(0, 50) for status in ItemStatus})


@given(counted, statuses, statuses, st.integers(0, 50))
def test_moving_keeps_the_total_or_is_refused(
    counts: Counts, source: ItemStatus, target: ItemStatus, count: int
) -> None:
    have = getattr(counts, source)
    if count > have and source is not target:
        with pytest.raises(ValidationError):
            counts.moved(source, target, count)
        return
    moved = counts.moved(source, target, count)
    assert moved.total == counts.total
    if source is not target:
        assert getattr(moved, source) == have - count
        assert getattr(moved, target) == getattr(counts, target) + count


@given(counted, st.integers(0, 50))
def test_added_items_are_pending(counts: Counts, count: int) -> None:
    added = counts.added(count)
    assert added.pending == counts.pending + count
    assert added.total == counts.total + count


def test_every_item_status_is_counted() -> None:
    assert set(Counts.model_fields) == {status.value for status in ItemStatus}
    assert Counts(**dict.fromkeys(Counts.model_fields, 1)).total == len(ItemStatus)


def test_counts_are_never_negative() -> None:
    with pytest.raises(ValidationError):
        Counts(pending=-1)


def test_a_closed_chunk_survives_its_json() -> None:
    closed = ClosedChunk(
        chunk=7,
        closing=Closing.REVOKED,
        succeeded=2,
        returned=Ranges.of([4, 5, 9]),
        duration_ms=1.25,
        sha256="ab",
    )
    assert ClosedChunk.model_validate_json(closed.model_dump_json()) == closed


def test_a_closed_chunk_has_no_field_but_those_declared() -> None:
    with pytest.raises(ValidationError):
        ClosedChunk.model_validate({"chunk": 1, "lost": 2})
