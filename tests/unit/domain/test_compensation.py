"""What becomes of effects outside on an undo: attempts, and items that go together."""

from __future__ import annotations

import pytest

from domain.compensation import (
    NOT_TRIED,
    Fellows,
    Stage,
    Tried,
    again_in,
    attempts_before,
    left_alone,
)
from domain.options import Backoff
from domain.outcomes import Conflicted, Failed, Restored, UndoResult

BUSY = Failed("busy", "the vendor is busy", retryable=True)
NEVER = Failed("gone", "the vendor knows nothing of it")
TAKEN = Conflicted("orders/7", "the vendor", "shipped")
PATIENCE = Backoff(attempts=4, delay=2.0, factor=3.0, cap=10.0)


@pytest.mark.parametrize(
    ("result", "ended", "stage"),
    [
        (Restored(), True, Stage.DONE),
        (BUSY, False, Stage.TRYING),
        (BUSY, True, Stage.FAILED),
        (NEVER, True, Stage.FAILED),
        (TAKEN, True, Stage.CONFLICT),
    ],
)
def test_how_far_it_has_come(result: UndoResult, ended: bool, stage: Stage) -> None:
    assert Tried(3, 1, 1, result, ended).stage is stage


def test_what_is_done_is_never_asked_for_again_and_what_failed_is_by_the_next_undo() -> None:
    done, failed = Tried(3, 1, 1, Restored()), Tried(4, 1, 4, BUSY)
    assert (done.of(1), done.of(2)) == (Restored(), Restored())
    assert (failed.of(1), failed.of(2)) == (BUSY, None)
    assert Tried(5, 1, 2, BUSY, ended=False).of(1) is None


def test_attempts_are_counted_by_the_undo() -> None:
    known = Tried(3, 1, 2, BUSY, ended=False)
    assert [attempts_before(known, generation) for generation in (1, 2)] == [2, 0]
    assert attempts_before(None, 1) == 0


def test_an_item_waits_for_a_random_part_of_a_window_that_grows_up_to_a_cap() -> None:
    drawn = [again_in(PATIENCE, attempts, BUSY, lambda: 0.5) for attempts in (1, 2, 3, 4)]
    assert drawn == [1.0, 3.0, 5.0, None]
    assert again_in(PATIENCE, 3, BUSY, lambda: 0.0) == 0.0


@pytest.mark.parametrize("result", [Restored(), NEVER, TAKEN])
def test_only_what_may_go_better_is_tried_again(result: UndoResult) -> None:
    assert again_in(PATIENCE, 1, result, lambda: 0.5) is None


def test_items_that_wrote_to_the_same_records_are_put_back_together_or_not_at_all() -> None:
    known: dict[int, UndoResult | None] = {0: Restored(), 1: BUSY, 2: Restored(), 3: Restored()}
    left = left_alone([0, 1, 2, 3], known, Fellows([[0, 1, 2]]))
    assert set(left) == {0, 1, 2}
    assert left[1] == BUSY
    for position in (0, 2):
        held = left[position]
        assert isinstance(held, Failed)
        assert (held.code, held.retryable) == ("held_back", True)
        assert "item 1, which could not be compensated" in held.message


def test_who_goes_with_a_conflict_is_in_conflict() -> None:
    left = left_alone([4, 5], {4: Restored(), 5: TAKEN}, Fellows([[4, 5]]))
    assert left == {
        4: Conflicted("orders/7", "the vendor", "shipped, which item 5 has met"),
        5: TAKEN,
    }


def test_one_that_is_not_part_of_the_undo_keeps_its_fellow() -> None:
    left = left_alone([4], {4: Restored(), 5: None}, Fellows([[4, 5]]))
    assert isinstance(left[4], Failed)
    assert "item 5, which is not compensated" in left[4].message
    assert left_alone([5], {5: None}, Fellows([])) == {5: NOT_TRIED}
