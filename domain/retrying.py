"""Retrying: which failed items the job itself tries again, and when. Pure.

What fails together in a chunk with the same code waits together, for a random part of a
window that grows with each attempt (full jitter), so that what failed for want of
something does not ask for it again all at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from domain.options import Backoff, RetryPolicy
from domain.outcomes import Deferred, Fault
from domain.ranges import Ranges

Draw = Callable[[], float]
"""A source of chance: numbers from 0 up to, not with, 1."""

STEPS = 32
LEAST_STEP = 0.1
"""Times are rounded up to steps, so that what waits is a few groups, however much it is."""


def _never() -> float:
    raise RuntimeError("items are to be tried again: pass a source of chance")


@dataclass(frozen=True, slots=True)
class Failures:
    """What is known of the failed items of chunks, by their numbers."""

    of: Mapping[int, Sequence[Fault]] = field(default_factory=dict)
    draw: Draw = _never


def put_off(
    policy: RetryPolicy | None,
    chunk: int,
    faults: Sequence[Fault],
    *,
    trial: int,
    at: datetime,
    draw: Draw,
) -> list[Deferred]:
    """Those of a chunk's failed items that have attempts left, after ``trial`` of them."""
    if policy is None or not faults:
        return []
    again: dict[str, tuple[Backoff, list[int]]] = {}
    for fault in faults:
        backoff = policy.backoff(fault.code, retryable=fault.retryable)
        if backoff is not None and trial < backoff.attempts:
            again.setdefault(fault.code, (backoff, []))[1].append(fault.position)
    return [
        Deferred(
            chunk=chunk,
            items=Ranges.of(positions),
            attempt=trial + 1,
            due=_due(backoff, trial, at, draw),
            code=code,
        )
        for code, (backoff, positions) in again.items()
    ]


def _due(backoff: Backoff, trial: int, at: datetime, draw: Draw) -> datetime:
    window = backoff.window(trial)
    if not window:
        return at
    step = max(window / STEPS, LEAST_STEP)
    wanted = at.timestamp() + draw() * window
    return datetime.fromtimestamp(math.ceil(wanted / step) * step, UTC)
