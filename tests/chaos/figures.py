"""Figures, as the report says them: how long recoveries took, and what is wrong in the end."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tests.chaos.load import Load, left_behind
from tests.crash import seeds
from tests.proof.figures import tell


def percentile(values: Sequence[float], part: float) -> float:
    """The smallest value that so large a part of all does not exceed."""
    return sorted(values)[max(math.ceil(len(values) * part) - 1, 0)]


def recovery(what: str, seconds: Sequence[float], **terms: object) -> None:
    """Tell how long it took until all was done again."""
    p50, p99 = percentile(seconds, 0.5), percentile(seconds, 0.99)
    tell(f"recovery from {what}", f"p50 {p50:.1f} s, p99 {p99:.1f} s", N=len(seconds), **terms)


def outcome(load: Load) -> None:
    """Tell what was lost and what came twice of all that was asked; fails if anything is wrong."""
    verdict = load.verdict()
    tell("items lost", verdict.lost, items=load.items, seed=seeds.SEED)
    tell("effects doubled", verdict.doubled, effects=verdict.effects, seed=seeds.SEED)
    assert not verdict.faults, "\n".join(verdict.faults)


def repeats(load: Load) -> None:
    """Tell how many runs of a handler were not the first of their item."""
    runs = sum(len(load.runs(job_id)) for job_id in load.noted)
    tell("handler runs repeated", load.repeated(*load.noted), runs=runs, seed=seeds.SEED)


def unrepeated(load: Load, jobs: Sequence[str]) -> None:
    """Fails if a handler ran again for an item of these jobs: no process has died that began it."""
    again = {job_id: left_behind(load.runs(job_id)) for job_id in jobs}
    broken = {job_id: dict(processes) for job_id, processes in again.items() if processes}
    assert not broken, f"runs that were repeated, by job and process: {broken}"
