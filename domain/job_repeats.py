"""How items of a draft are edited, and those skipped that are called as others."""

from __future__ import annotations

from domain import portions
from domain.editing import Edited
from domain.errors import InvalidCommand
from domain.events import ItemsEdited, RepeatsSkipped
from domain.job_record import Stamp
from domain.job_terms import JobTerms
from domain.outcomes import ItemStatus
from domain.ranges import Ranges


class JobRepeats(JobTerms):
    """A job whose items may have keys, and as a draft may be edited."""

    def edit(self, stamp: Stamp, edited: Edited | None, dropped: Ranges, reason: str) -> None:
        """Take new bodies in, and items out; the caller has asked ``editable`` before."""
        counts = self.counts.moved(ItemStatus.PENDING, ItemStatus.SKIPPED, len(dropped))
        self._emit(ItemsEdited, stamp, counts=counts, edited=edited, dropped=dropped, reason=reason)

    def editable(self, positions: Ranges) -> None:
        """Raise unless the job is a draft that has these items, to be worked once it starts."""
        self.check("edit")
        if self.options.dry_run:
            raise InvalidCommand("a dry run is of what was sent; open another draft instead")
        others = positions - self.waiting
        if others:
            raise InvalidCommand(
                f"the draft has no item {next(iter(others))} that is to be worked; it has "
                f"{self.counts.total}, {len(self.withdrawn)} of them are dropped",
                pointer="/edits",
            )

    def skip_repeated(self, stamp: Stamp, repeated: Ranges) -> None:
        """Leave items out that others stand for; right after the submit or the seal."""
        if repeated and self.begun:
            raise RuntimeError("skip what is repeated before anything of the job is planned")
        for items in portions.of_ranges(repeated):
            counts = self.counts.moved(ItemStatus.PENDING, ItemStatus.SKIPPED, len(items))
            self._emit(RepeatsSkipped, stamp, counts=counts, items=items)
