"""Files: texts and images that come in by them, as jobs, and what of them was rejected.

The file is read once, and its documents are stored as items as they come. Only when it is
read to its end are the labels made and the command sent: whoever dies before leaves an upload
that nobody claims, which goes by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, Final, TypeVar

from sqlalchemy import Connection

from domain.errors import RecordNotFound
from domain.ports import Clock
from domain.systems.annotations.formats.spill import Spill
from domain.systems.annotations.roles import ProjectRole
from streams.callers import Caller
from streams.stores import job_files
from streams.stores.database import Database
from streams.stores.decisions import Decision
from streams.stores.job_files import JobFile
from streams.systems.annotations.access import seat_of
from streams.systems.annotations.file_reading import SPILLED, FileReader, Wanted, said
from streams.systems.annotations.keeping import keep
from streams.systems.annotations.labelling import add_labels

T = TypeVar("T")
Submit = Callable[[str, AsyncIterator[bytes]], Awaitable[Decision]]
"""Makes a job of an operation, by its kind, of the items, when all have come."""

REJECTS: Final = "rejects"
ARCHIVE: Final = (".zip", "application/zip")


@dataclass(frozen=True, slots=True)
class Imported:
    """The job that an import is, of which operation, and what its file had."""

    decision: Decision
    kind: str
    summary: dict[str, Any]


class Files:
    """What comes in by files, one caller at a time."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def take(
        self, caller: Caller, project_id: int, file: BinaryIO, wanted: Wanted, submit: Submit
    ) -> Imported:
        """Have the texts or images of a file imported; raises FileRefused when none can be.

        What was rejected is kept beside the job, which is the same however often it is
        submitted under one idempotency key.
        """
        async with _reading(file, wanted) as reading:
            reader = reading.reader
            kind = reader.intake.operation.kind
            decision = await submit(kind, self._items(caller, project_id, reading))
            summary = reader.summary()
            form = (reader.format.suffix, reader.format.media_type)
            suffix, media_type = ARCHIVE if reader.archived else form
            rejects = JobFile(
                job_id=decision.job_id,
                role=REJECTS,
                tenant=caller.tenant,
                project_id=project_id,
                name=f"rejects{suffix}",
                media_type=media_type,
                about=said(summary),
                created_at=self._clock.now().timestamp(),
            )
            await self._keep(reading, rejects)
            return Imported(decision, kind, summary)

    async def rejects(self, caller: Caller, job_id: str) -> JobFile:
        """What an import has rejected; raises RecordNotFound, and RoleLacking for others."""

        def read(connection: Connection) -> JobFile:
            found = job_files.find(connection, caller.tenant, job_id, REJECTS)
            if found is None or found.project_id is None:
                raise RecordNotFound(
                    f"there is no file of rejects of {job_id}; it goes a month after the import"
                )
            seat = seat_of(connection, caller, found.project_id)
            seat.demand(ProjectRole.MANAGER, "to read what an import has rejected")
            return found

        return await self._database.read(read)

    async def piece(self, file: JobFile, number: int) -> bytes:
        """A piece of a file; raises RecordNotFound when it was removed meanwhile."""
        data = await self._database.read(lambda found: job_files.piece_of(found, file, number))
        if data is None:
            raise RecordNotFound(f"the file {file.name} was removed; import what it is of again")
        return data

    async def _items(
        self, caller: Caller, project_id: int, reading: _Reading
    ) -> AsyncGenerator[bytes, None]:
        reader = reading.reader
        while block := await reading.run(reader.block):
            yield block
        if reader.wanted.new_labels:
            await add_labels(self._database, self._clock, caller, project_id, tuple(reader.labels))

    async def _keep(self, reading: _Reading, file: JobFile) -> None:
        """Store what was rejected, piece by piece; a file that is removed meanwhile stays away."""
        await self._database.write(lambda found: job_files.begin(found, file))
        whole = await keep(self._database, file, reading.reader.rejects(), reading.run)
        if whole is not None and whole.sha256 is not None:
            size, digest = whole.size or 0, whole.sha256
            await self._database.write(lambda c: job_files.finish(c, file, size, digest))


@dataclass(frozen=True, slots=True)
class _Reading:
    """A file that is being read, and the thread in which all of that happens."""

    reader: FileReader
    pool: ThreadPoolExecutor

    async def run(self, work: Callable[[], T]) -> T:
        """Done in the thread, after what it was given before."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, work)


@asynccontextmanager
async def _reading(file: BinaryIO, wanted: Wanted) -> AsyncGenerator[_Reading, None]:
    pool = ThreadPoolExecutor(1, thread_name_prefix="import")
    spill = Spill(SPILLED)
    try:
        run = partial(asyncio.get_running_loop().run_in_executor, pool)
        yield _Reading(await run(FileReader, file, wanted, spill.database), pool)
    finally:
        # After what the thread is at: a reading that is cancelled goes on to the end of its block.
        pool.submit(spill.database.close)
        pool.shutdown(wait=False)
