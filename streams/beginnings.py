"""Beginnings: the first events of jobs that have just begun, for whoever follows one at once.

Whoever submits a job mostly follows it next. A process that stores all events of a job keeps
them as it stores them; one that only answers keeps those that it has read for its answer, until
it hears that there are more.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from domain.events import JobEvent

BEGINNINGS = 100
"""Jobs that have just begun."""
LONGEST_BEGINNING = 8
"""Events, of which one transaction stores about two."""


class Beginnings:
    """All events so far of each of the latest jobs, as long as they are few.

    ``keep`` is for a process that stores all events of these jobs itself; ``reading`` for one that
    hears of what others store, and keeps nothing while it does not (``close``).
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Sequence[JobEvent]] = OrderedDict()
        self._reading: dict[str, list[JobEvent]] = {}
        self._hearing = False

    def of(self, tenant: str, job_id: str) -> Sequence[JobEvent]:
        """All events so far of a job that has just begun; none of any other."""
        beginning = self._kept.get(job_id, ())
        return beginning if beginning and beginning[0].tenant == tenant else ()

    def keep(self, event: JobEvent) -> None:
        """An event was stored, and not published yet; kept if all before it are."""
        job_id = event.originator_id
        beginning = [*self._kept.pop(job_id, ()), event]
        if _is_whole(beginning):
            self._add(job_id, beginning)

    @contextmanager
    def reading(self, job_id: str) -> Iterator[list[JobEvent]]:
        """Where the events of a job go that are read meanwhile; kept if no news of it came.

        Whoever hears of a commit finds it in whatever is read from then on.
        """
        read: list[JobEvent] = []
        self._reading[job_id] = read
        try:
            yield read
        finally:
            undisturbed = self._reading.get(job_id) is read
            if undisturbed:
                del self._reading[job_id]
        if undisturbed and self._hearing and _is_whole(read):
            self._add(job_id, read)

    def heard(self, job_id: str, version: int) -> None:
        """The events of a job up to a version are stored, of which one may not be kept."""
        self._reading.pop(job_id, None)
        if version > len(self._kept.get(job_id, ())):
            self._kept.pop(job_id, None)

    def open(self) -> None:
        """From now on ``heard`` is called for every event that others store."""
        self.close()
        self._hearing = True

    def close(self) -> None:
        """Events may be stored of which nobody here is told."""
        self._hearing = False
        self._kept.clear()
        self._reading.clear()

    def _add(self, job_id: str, beginning: Sequence[JobEvent]) -> None:
        self._kept[job_id] = beginning
        self._kept.move_to_end(job_id)
        if len(self._kept) > BEGINNINGS:
            self._kept.popitem(last=False)


def _is_whole(events: Sequence[JobEvent]) -> bool:
    """Whether these are the first events of a job, few, and with more to come."""
    last = events[-1] if events else None
    if last is None or last.status.terminal or len(events) > LONGEST_BEGINNING:
        return False
    return events[0].originator_version == 1 and last.originator_version == len(events)
