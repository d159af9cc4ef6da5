"""Coordinators and workers that break a rule about what jobs share, or about time for an item."""

from __future__ import annotations

from typing import ClassVar

from domain.buckets import Shared
from domain.job import Job
from tests.model.buckets import SharedRow, Use
from tests.model.coordinator import Coordinator
from tests.model.outside import Compensators
from tests.model.sharing import Sharing
from tests.model.tables import LONG, JobTables


class _CountsItself(Sharing):
    def _stands(self, row: SharedRow, job: Job) -> Shared:
        return row.stands(use for use in row.uses.values() if use.job_id == job.id)


class _Keeps(Sharing):
    def _put(self, row: SharedRow, use: Use) -> None:
        if use.calls or use.waits:
            super()._put(row, use)


class _TakesNone(Sharing):
    def _take(self, row: SharedRow, rate: float, items: int) -> None:
        return


class SharesNothing(Coordinator):
    """Rule 24: looks at the calls of its own job only."""

    sharing_of: ClassVar[type[Sharing]] = _CountsItself


class GivesNothingBack(Coordinator):
    """Rule 24: a job that has ended keeps what it had of a bucket."""

    sharing_of: ClassVar[type[Sharing]] = _Keeps


class TakesNoTokens(Coordinator):
    """Rule 24: does not write how many tokens it has taken."""

    sharing_of: ClassVar[type[Sharing]] = _TakesNone


class WaitsForEver(Compensators):
    """Rule 25: does not heed how long an item of its job may take."""

    def _patience(self, tables: JobTables) -> int:
        return LONG


class GivesUpAtOnce(Compensators):
    """Rule 25: does not say that what took too long may be tried again."""

    def _timeout(self) -> tuple[str, bool]:
        return ("timeout", False)
