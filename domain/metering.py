"""Metering: how fast a job goes and how long its work takes, in bounded memory. Pure.

A job carries one meter of its present run: since it was started, resumed, retried, undone
or given other caps, because what was before says little of what comes. It is a fold of
events, so it is the same wherever the job is loaded.

The time to the end is judged by how evenly the run went: items settled in equal slots of
time, of which there are few; when they become too many, each two are joined.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from datetime import datetime
from typing import Self

from pydantic import BaseModel

from domain.values import Value

MOST_SLOTS = 48
FIRST_SLOT = 0.25
"""Seconds of a slot at first."""
JUDGED = 24
"""Slots by which the rest is judged at least: of a long run its last half."""
LEAST_SLOTS = 4
RECENT_SECONDS = 10
STEP = 1.1
"""Durations are told apart to within five percent."""
LEAST_MS, MOST_MS = 0.001, 1e8
QUANTILE = 1.2816
"""A tenth of what is normally distributed lies above, a tenth below its negative."""


class Quantiles(Value):
    """Durations that half, nearly all and all but one in a hundred keep to, in milliseconds."""

    p50: float
    p95: float
    p99: float


class Remaining(Value):
    """Seconds to the end; four times in five it lies between ``low`` and ``high``."""

    seconds: float
    low: float
    high: float


class Durations(BaseModel):
    """A histogram of durations whose steps grow with them."""

    counts: dict[int, int] = {}

    def as_it_stands(self) -> Self:
        """A copy that later durations do not change."""
        return self.model_copy(update={"counts": dict(self.counts)})

    def add(self, milliseconds: float, times: int = 1) -> None:
        """Something took so long, so many times."""
        bounded = min(max(milliseconds, LEAST_MS), MOST_MS)
        step = round(math.log(bounded) / _LOG)
        self.counts[step] = self.counts.get(step, 0) + times

    def quantiles(self) -> Quantiles | None:
        """What they keep to; None when there is none."""
        total = sum(self.counts.values())
        if not total:
            return None
        p50, p95, p99 = (self._at(share * total) for share in (0.5, 0.95, 0.99))
        return Quantiles(p50=p50, p95=p95, p99=p99)

    def _at(self, rank: float) -> float:
        passed = 0
        for step in sorted(self.counts):
            passed += self.counts[step]
            if passed >= rank:
                break
        return float(f"{STEP**step:.3g}")


class Meter(BaseModel):
    """What is measured of a run. ``recent`` are settled items by whole seconds of it."""

    began: datetime | None = None
    before: int = 0
    """Items that were settled when the run began."""
    settled: int = 0
    width: float = FIRST_SLOT
    slots: list[int] = []
    recent: dict[int, int] = {}
    chunks: Durations = Durations()
    items: Durations = Durations()

    def as_it_stands(self) -> Self:
        """A copy that later chunks do not change."""
        return self.model_copy(
            update={
                "slots": list(self.slots),
                "recent": dict(self.recent),
                "chunks": self.chunks.as_it_stands(),
                "items": self.items.as_it_stands(),
            }
        )

    def begin(self, at: datetime, before: int) -> None:
        """A run begins. Durations of the runs before it stay: the work is the same."""
        self.began, self.before, self.settled = at, before, 0
        self.width, self.slots, self.recent = FIRST_SLOT, [], {}

    def closed(self, at: datetime, settled: int, chunks: Iterable[tuple[int, float]]) -> None:
        """Chunks were closed: items settled in all, and of each its items and milliseconds."""
        if self.began is None:
            self.begin(at, 0)
        for items, milliseconds in chunks:
            self.chunks.add(milliseconds)
            self.items.add(milliseconds / items, items)
        self.settled += settled
        passed = self._passed(at)
        second = int(passed)
        self.recent[second] = self.recent.get(second, 0) + settled
        if len(self.recent) > RECENT_SECONDS + 1:
            del self.recent[min(self.recent)]
        slot = self._slot(passed)
        self.slots += [0] * (slot + 1 - len(self.slots))
        self.slots[slot] += settled

    def _slot(self, passed: float) -> int:
        """The slot of a moment; there is one, for slots are joined until it is not too far."""
        self.slots, self.width = self._joined(passed)
        return int(passed / self.width)

    def _joined(self, passed: float) -> tuple[list[int], float]:
        """The slots and their width as a chunk that is closed at a moment finds them."""
        slots, width = self.slots, self.width
        while passed >= width * MOST_SLOTS:
            pairs = zip(slots[::2], [*slots[1::2], 0], strict=False)
            slots = [first + second for first, second in pairs]
            width *= 2
        return slots, width

    def _passed(self, at: datetime) -> float:
        return max((at - (self.began or at)).total_seconds(), 0.0)

    # -- questions ----------------------------------------------------------------

    def mean(self, now: datetime) -> float | None:
        """Items a second since the run began."""
        passed = self._passed(now)
        return round(self.settled / passed, 2) if passed > 0 else None

    def now(self, now: datetime) -> float | None:
        """Items a second in the last ten seconds, or since the run began."""
        passed = self._passed(now)
        if passed <= 0:
            return None
        window = min(passed, float(RECENT_SECONDS))
        since = passed - window
        return round(sum(n for second, n in self.recent.items() if second >= since) / window, 2)

    def remaining(self, items: int, now: datetime) -> Remaining | None:
        """How long so many more items take; None as long as nothing can be said."""
        passed = self._passed(now)
        # A run that has stood still for a year is asked as cheaply as any other.
        settled, width = self._joined(passed)
        whole = int(passed / width)
        judged = max(JUDGED, whole // 2)
        seen = [*settled[:whole], *([0] * (whole - len(settled)))][-judged:]
        if len(seen) < LEAST_SLOTS or not any(seen):
            return None
        slots = len(seen)
        mean = sum(seen) / slots
        # What was settled since the last whole slot has been waited for already.
        left = items / mean
        spread = math.sqrt(_variance(seen, mean) * left * (1 + left / slots)) / mean
        reach = _quantile(slots - 1) * spread
        return Remaining(
            seconds=round(left * width, 1),
            low=round(max(left - reach, 0.0) * width, 1),
            high=round((left + reach) * width, 1),
        )


def _variance(seen: list[int], mean: float) -> float:
    """That of a slot, as it counts in a sum of many: with what a slot tells of the next."""
    slots = len(seen)
    off = [count - mean for count in seen]
    variance = sum(o * o for o in off) / (slots - 1)
    if variance <= 0:
        return 0.0
    together = sum(a * b for a, b in itertools.pairwise(off)) / (slots - 1)
    echo = min(max(together / variance, 0.0), 0.8)
    return variance * (1 + echo) / (1 - echo)


def _quantile(freedom: int) -> float:
    """Student's t for 80 % in the middle, by its series in the normal quantile."""
    z = QUANTILE
    first = (z**3 + z) / (4 * freedom)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return z + first + second


_LOG = math.log(STEP)
