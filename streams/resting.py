"""Resting: jobs that have come to rest in this process, as long as nobody has changed them.

Whoever hears twice that work of a job is done need not load it a second time to see that
there is nothing left to do.
"""

from __future__ import annotations

from typing import Final

from domain.job import Job
from streams.stores.chunks import version_of
from streams.stores.database import Database

KEPT: Final = 1000


class Resting:
    """The last ``KEPT`` of them, each with its version."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._versions: dict[str, int] = {}

    def note(self, job: Job) -> None:
        """It has come to rest."""
        self._versions.pop(job.id, None)
        self._versions[job.id] = job.version
        while len(self._versions) > KEPT:
            del self._versions[next(iter(self._versions))]

    async def has(self, job_id: str) -> bool:
        """Whether it has come to rest here, and rests still."""
        version = self._versions.get(job_id)
        if version is None:
            return False
        return version == await self._database.read(
            lambda found: version_of(found, job_id), single=True
        )
