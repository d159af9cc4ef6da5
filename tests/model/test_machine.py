"""The model holds: a few thousand steps always, a hundred thousand when the proof is asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.model.oracle import DRAWN
from tests.model.process import alone
from tests.model.running import FULL, QUICK

NEEDS_APPROVALS = {("awaiting_approval", "cancel", "cancelled")}
_KEPT_BY = ("hold", "release", "shred", "archive", "empty")
KEEPING = {edge for edge in DRAWN if edge[1] in _KEPT_BY}
"""They are for jobs at rest; the model draws most of them, and the tests of the drawing all."""


def _model(*arguments: str, timeout: float = 110) -> dict[str, Any]:
    said = alone("tests.model", "--json", *arguments, timeout=timeout)
    print(said)
    told: dict[str, Any] = json.loads(said.splitlines()[-1])
    return told


def test_a_few_thousand_steps_break_nothing() -> None:
    told = _model("--seed", "1")
    assert told["steps"] >= QUICK
    assert len(told["edges"]) > 20, "the walk has become too tame to find anything"


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_steps_break_nothing() -> None:
    told = _model("--profile", "full", timeout=1700)
    assert told["steps"] >= FULL
    seen = {tuple(edge) for edge in told["edges"]}
    assert seen - KEEPING == DRAWN - NEEDS_APPROVALS - KEEPING
    assert {label for _, label, _ in seen & KEEPING} == {*_KEPT_BY} - {"empty"}
