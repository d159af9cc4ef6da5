"""Who writes the files of jobs that were put away, and clears what is in them: rule 22."""

from __future__ import annotations

from dataclasses import dataclass

from domain.events import JobStatus
from tests.model.loading import load
from tests.model.tables import File, JobTables, Store


@dataclass(frozen=True, slots=True)
class Draft:
    """A file that is safe on its disk and that no row names yet; ``version`` is the job's."""

    job_id: str
    name: str
    version: int


class Archivist:
    """All archivists; what one of them has begun another one may end."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.drafts: list[Draft] = []

    def write(self, tables: JobTables) -> None:
        """The file, with what is stored of the job now."""
        job, name = load(tables), self._store.name("file")
        clear = job.shredded is None
        self._store.files[name] = File(dict(tables.outcomes), clear=clear)
        self.drafts.append(Draft(tables.job_id, name, job.version))

    def name(self, draft: Draft) -> None:
        """The row that names it, unless nobody wants it any more."""
        self.drafts.remove(draft)
        tables = self._store.jobs[draft.job_id]
        if wants_file(tables) and tables.control.version == draft.version:
            tables.written = (draft.version, draft.name)

    def clear(self, tables: JobTables) -> None:
        """Delete what is in the file: whoever wants to know reads it there from now on."""
        if self._may_clear(tables):
            assert tables.written is not None
            tables.outcomes = dict(self._store.files[tables.written[1]].outcomes)
            tables.cleared = True

    def _may_clear(self, tables: JobTables) -> bool:
        return load(tables).emptied is not None


def wants_file(tables: JobTables) -> bool:
    """Whether a job was put away, and what is stored of it may go to a file."""
    return tables.status is JobStatus.ARCHIVED and load(tables).awaits_file
