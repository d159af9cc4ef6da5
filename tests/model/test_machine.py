"""The model holds: a few thousand steps always, a hundred thousand when the proof is asked for."""

from __future__ import annotations

import secrets

import pytest

from tests.model.oracle import DRAWN
from tests.model.running import FULL, QUICK, run

NEEDS_A_LIMIT = {
    ("failed", "undo", "rolling_back"),
    ("rolling_back", "finish", "failed"),
}
NEEDS_APPROVALS = {("awaiting_approval", "cancel", "cancelled")}


def test_a_few_thousand_steps_break_nothing() -> None:
    report = run(QUICK, first_seed=20_260_101)
    print(report)
    assert report.tally.steps >= QUICK
    assert len(report.tally.edges) > 25, "the walk has become too tame to find anything"
    assert {"died", "done", "revoked"} == set(report.tally.closings)


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_steps_break_nothing() -> None:
    seed = secrets.randbelow(2**31)
    print(f"seed {seed}", flush=True)
    report = run(FULL, seed)
    print(report)
    assert report.tally.steps >= FULL
    assert set(report.tally.edges) == DRAWN - NEEDS_A_LIMIT - NEEDS_APPROVALS
