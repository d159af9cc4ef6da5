"""Sick: jobs that a process cannot go on with, so that each is said once and keeps no other.

A job is well again when it was repaired, or when a later release is here that reads it.
"""

from __future__ import annotations

from typing import Final

KEPT: Final = 10_000


class Sick:
    """The last ``KEPT`` of them; an older one is news again when it is met again."""

    def __init__(self) -> None:
        self._jobs: dict[str, None] = {}

    def add(self, job_id: str) -> bool:
        """It is sick; returns whether that is news."""
        news = job_id not in self._jobs
        self._jobs[job_id] = None
        while len(self._jobs) > KEPT:
            del self._jobs[next(iter(self._jobs))]
        return news

    def discard(self, job_id: str) -> None:
        """It is well, as nearly all of them are."""
        self._jobs.pop(job_id, None)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._jobs
