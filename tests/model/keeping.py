"""What is said of the keeping of jobs at rest, and what becomes of them when they are put away."""

from __future__ import annotations

from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from domain.commands import (
    ArchiveJob,
    BaseCommand,
    HoldJob,
    ReleaseJob,
    RetryJob,
    ShredJob,
    UndoJob,
)
from domain.events import JobStatus
from domain.steps import child_id
from tests.model.acting import verbs
from tests.model.archivist import Archivist, wants_file
from tests.model.callers import coin, pick
from tests.model.kinds import Drawn, chains
from tests.model.machine import EngineMachine
from tests.model.tables import JobTables

KEEPS: tuple[type[BaseCommand], ...] = (
    *(HoldJob, ReleaseJob, HoldJob, ReleaseJob, ShredJob, ArchiveJob),
)
"""The last two, which are for good, are rarer."""


class KeptMachine(EngineMachine):
    """Jobs that are held, released, shredded, and put away."""

    archives: ClassVar[type[Archivist]] = Archivist

    def __init__(self) -> None:
        super().__init__()
        self.archivist = self.archives(self.store)

    @precondition(lambda self: any(map(_at_rest, self.store.jobs.values())))
    @rule(which=pick, kind=st.sampled_from(KEEPS))
    def keep(self, which: int, kind: type[BaseCommand]) -> None:
        """A job at rest is held, released, shredded or archived; or it has gone on by then."""
        able = [tables for tables in self.store.jobs.values() if _at_rest(tables)]
        self._ask(kind, able[which % len(able)].job_id, reason="the law")

    @precondition(lambda self: any(map(_batch_at_rest, self.store.jobs.values())))
    @rule(which=pick, again=coin, also=pick)
    def put_batch_away(self, which: int, again: bool, also: int) -> None:
        """A batch at rest is archived with all its jobs, if all may go.

        ``again``: one of them is worked again or undone before, and the batch is not told.
        """
        able = [tables for tables in self.store.jobs.values() if _batch_at_rest(tables)]
        self._put_away(able[which % len(able)], again=again, also=also)

    @precondition(lambda self: self._has_room())
    @rule(steps=chains, again=coin, also=pick)
    def there_and_away(self, steps: list[Drawn], again: bool, also: int) -> None:
        """A batch goes well, and is put away."""
        batch = self._submit_batch(steps)
        self._flow(12, room=4)
        if _batch_at_rest(batch):
            self._put_away(batch, again=again, also=also)

    def _put_away(self, batch: JobTables, *, again: bool, also: int) -> None:
        child = self.store.jobs[child_id(batch.job_id, also % len(batch.steps))]
        able_to = [verb for verb in verbs(child) if verb in (RetryJob, UndoJob)]
        if again and able_to:
            self.store.mended = not self.store.mended
            self._ask(able_to[also % len(able_to)], child.job_id)
            self._in_silence(8, room=3)
        self._ask(ArchiveJob, batch.job_id, reason="it is old")

    @precondition(lambda self: any(map(wants_file, self.store.jobs.values())))
    @rule(which=pick, dies=coin)
    def write_file(self, which: int, dies: bool) -> None:
        """The file of a job is written; the row that names it comes later, or never."""
        able = [tables for tables in self.store.jobs.values() if wants_file(tables)]
        self.archivist.write(able[which % len(able)])
        if not dies:
            self.archivist.name(self.archivist.drafts[-1])

    @precondition(lambda self: self.archivist.drafts)
    @rule(which=pick, told=coin)
    def name_file(self, which: int, told: bool) -> None:
        """A row names a file that was written a while ago."""
        drafts = self.archivist.drafts
        draft = drafts[which % len(drafts)]
        self.archivist.name(draft)
        if told:
            self.coordinators[0].hint(draft.job_id)

    @precondition(lambda self: any(t.written for t in self.store.jobs.values()))
    @rule(which=pick, told=coin)
    def clear(self, which: int, told: bool) -> None:
        """What is in the file of an archived job need not be kept twice, once the job says so."""
        able = [tables for tables in self.store.jobs.values() if tables.written]
        tables = able[which % len(able)]
        if told and not tables.cleared:
            # The hint before may have been lost.
            self.coordinators[0].hint(tables.job_id)
            self._deliver(room=1)
        self.archivist.clear(tables)


def _at_rest(tables: JobTables) -> bool:
    return tables.status is not None and tables.status.terminal and not tables.steps


def _batch_at_rest(tables: JobTables) -> bool:
    status = tables.status
    return bool(tables.steps and status and status.terminal) and status is not JobStatus.ARCHIVED
