"""Pace: how fast an operation goes, and for how long, as one client is told of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from domain.events import JobStatus

LEAST_SECONDS: Final = 1.0
"""A rate of less than that says more about chunks than about the operation."""


class Pace:
    """From the status that the client was told first, by each message that follows."""

    def __init__(
        self, started_at: datetime | None, at: datetime, processed: int, rate: float | None
    ) -> None:
        self._started_at = started_at
        self._since, self._processed = at, processed
        self._rate = rate

    def told(self, status: JobStatus, at: datetime, processed: int) -> dict[str, Any]:
        """What is to be said of it at a moment; ``items_per_second`` is that of the last while."""
        if status is JobStatus.RUNNING and self._started_at is None:
            self._started_at = at
        passed = (at - self._since).total_seconds()
        if passed >= LEAST_SECONDS:
            # What is tried again, or put back, is no pace of work.
            self._rate = round(max(0, processed - self._processed) / passed, 2)
            self._since, self._processed = at, processed
        return {
            "items_per_second": self._rate if status is JobStatus.RUNNING else None,
            "elapsed_seconds": self._elapsed(at),
        }

    def _elapsed(self, at: datetime) -> float | None:
        """None before the start, which is known of what is told again."""
        if self._started_at is None or at < self._started_at:
            return None
        return round((at - self._started_at).total_seconds(), 3)
