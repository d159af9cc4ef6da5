"""Tolerance: how many failures a job's limits have counted, and which of them is hit. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Self

from pydantic import BaseModel

from domain.options import Limit
from domain.outcomes import CodeCounts, Deferred, Fault


class Tally(BaseModel):
    """What one limit has counted since the job began, was retried, or resumed after a hit.

    ``recent`` are settled and failed items of the last chunks that fill the limit's window.
    """

    failed: int = 0
    recent: list[tuple[int, int]] = []

    def as_it_stands(self) -> Self:
        """A copy that later chunks do not change."""
        return self.model_copy(update={"recent": list(self.recent)})

    def add(self, limit: Limit, *, settled: int, failed: int) -> None:
        """One more chunk."""
        self.failed += failed
        if limit.window is None or not settled:
            return
        self.recent.append((settled, failed))
        spare = sum(items for items, _ in self.recent) - limit.window
        while spare >= self.recent[0][0]:
            spare -= self.recent.pop(0)[0]

    def exceeds(self, limit: Limit, total: int) -> bool:
        """Whether there are more failures than the limit tolerates, in a job of ``total`` items."""
        failed, items = self.failed, total
        if limit.window is not None:
            failed = sum(bad for _, bad in self.recent)
            items = sum(settled for settled, _ in self.recent)
        if limit.failed is not None:
            return failed > limit.failed
        full = limit.window is None or items >= limit.window
        return full and failed * 100 > items * _as_written(limit.percent or 0.0)


def _as_written(percent: float) -> Fraction:
    """The number that somebody wrote: as a float, 0.57 % of 10,000 is less than 57."""
    return Fraction(str(percent))


def exceeded(limits: Sequence[Limit], tallies: Sequence[Tally], total: int) -> Limit | None:
    """The first limit that is hit."""
    for limit, tally in zip(limits, tallies, strict=False):
        if tally.exceeds(limit, total):
            return limit
    return None


def named_by(
    limits: Sequence[Limit], chunk: int, faults: Sequence[Fault], again: Sequence[Deferred]
) -> list[CodeCounts]:
    """A chunk's failures with codes that limits name, without those that are tried ``again``."""
    wanted = {code for limit in limits for code in limit.codes}
    if not wanted:
        return []
    codes = Counter(fault.code for fault in faults if fault.code in wanted)
    for entry in again:
        codes[entry.code] -= len(entry.items)
    found = {code: count for code, count in sorted(codes.items()) if count > 0}
    return [CodeCounts(chunk=chunk, codes=found)] if found else []
