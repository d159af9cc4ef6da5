"""What an item costs this engine, beside the engine from before jobs had their whole life."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import against
from benchmarks.against import MOST, Beside, checked_out
from tests.proof.figures import tell

BEFORE = "30428f5"
"""The last commit of the scaled engine, when retry, undo and cancel were all that a job knew."""


def test_rounds_are_compared_each_with_its_own() -> None:
    found = Beside(earlier=[10.0, 20.0, 10.0], now=[11.0, 21.0, 30.0])
    assert found.ratio == pytest.approx(1.1)


def test_a_history_that_ends_too_early_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no commit 0000000 here; fetch"):
        checked_out("0000000", tmp_path)


@pytest.mark.proof
@pytest.mark.timeout(1800)
async def test_an_item_costs_hardly_more_than_before() -> None:
    found = await against.compare(BEFORE, against.ITEMS, against.ROUNDS, print)
    told = {"items": against.ITEMS, "rounds": against.ROUNDS, "commit": BEFORE}
    tell("CPU of an item to that before", f"{found.ratio:.2f}", **told)
    tell("microseconds of CPU an item, before and now", str(found).partition(":")[0])
    assert found.ratio <= MOST
