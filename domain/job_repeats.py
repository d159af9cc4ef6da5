"""How items of a job are skipped that are called the same as others. The rest is job.py's."""

from __future__ import annotations

from domain import portions
from domain.events import RepeatsSkipped
from domain.job_record import Stamp
from domain.job_terms import JobTerms
from domain.outcomes import ItemStatus
from domain.ranges import Ranges


class JobRepeats(JobTerms):
    """A job whose items may have keys."""

    def skip_repeated(self, stamp: Stamp, repeated: Ranges) -> None:
        """Leave items out that others stand for; right after the submit or the seal."""
        if repeated and self.begun:
            raise RuntimeError("skip what is repeated before anything of the job is planned")
        for items in portions.of_ranges(repeated):
            counts = self.counts.moved(ItemStatus.PENDING, ItemStatus.SKIPPED, len(items))
            self._emit(RepeatsSkipped, stamp, counts=counts, items=items)
