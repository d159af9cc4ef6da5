"""Figures: how long recoveries took, as the report says it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tests.proof.figures import tell


def percentile(values: Sequence[float], part: float) -> float:
    """The smallest value that so large a part of all does not exceed."""
    return sorted(values)[max(math.ceil(len(values) * part) - 1, 0)]


def recovery(what: str, seconds: Sequence[float], **terms: object) -> None:
    """Tell how long it took until all was done again."""
    p50, p99 = percentile(seconds, 0.5), percentile(seconds, 0.99)
    tell(f"recovery from {what}", f"p50 {p50:.1f} s, p99 {p99:.1f} s", N=len(seconds), **terms)
