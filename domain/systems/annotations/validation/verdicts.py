"""Verdicts: what the issues of a run make of its items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from domain.outcomes import Done, Failed
from domain.systems.annotations.validation.issues import score_of, told, verdict
from domain.systems.annotations.validation.subjects import Batch
from domain.systems.annotations.validation.thresholds import Thresholds


def refusals(batch: Batch, limits: Thresholds, positions: Sequence[int]) -> dict[int, Failed]:
    """The items that fail, by their place in the batch; ``positions`` are those in the job."""
    found: dict[int, Failed] = {}
    for index, issues in batch.issues.items():
        failed = verdict(issues, positions[index], limits.threshold)
        if failed is not None:
            found[index] = failed
    return found


def done(batch: Batch, index: int, position: int, result: Mapping[str, Any], *, full: bool) -> Done:
    """An item that has passed, with what the rules say of it; the score is that of all layers."""
    issues = batch.issues.get(index)
    if not issues:
        return Done(result, 1.0 if full else None)
    return Done({**result, **told(issues, position)}, score_of(issues))
