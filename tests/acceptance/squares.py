"""Squares: what something costs, on a machine whose speed changes while it is measured."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Final

TURNS: Final = (False, True, True, False)
"""With it or without, run by run of a square: a machine that slows down does so to both."""


def cost_of(squares: Sequence[tuple[float, ...]]) -> float:
    """How much more it is with it, of runs in ``TURNS``; the median of the squares."""
    return statistics.median(
        math.sqrt(second * third / (first * fourth)) for first, second, third, fourth in squares
    )
