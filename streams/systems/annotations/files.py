"""Files: texts and images that come in by them, as jobs, and what of them was rejected.

The file is read once, and its documents are stored as items as they come; meanwhile everybody
can see how far it is. Only when it is read to its end are the labels made, the rejects kept and
the command sent: whoever dies before leaves an upload that nobody claims, which goes by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, Final

import structlog
from sqlalchemy import Connection

from domain.errors import (
    CommandRefused,
    CountermandError,
    DecisionPending,
    RecordNotFound,
    Unavailable,
    WrongState,
)
from domain.ports import Clock
from domain.systems.annotations.roles import ProjectRole
from streams.callers import Caller
from streams.stores import job_files
from streams.stores.database import Database
from streams.stores.decisions import Decision
from streams.stores.job_files import JobFile
from streams.systems.annotations import numbers, readings
from streams.systems.annotations.access import seat_of
from streams.systems.annotations.file_reading import Wanted, said
from streams.systems.annotations.keeping import keep
from streams.systems.annotations.labelling import add_labels
from streams.systems.annotations.numbers import Numbered
from streams.systems.annotations.open_file import OpenFile, opened
from streams.systems.annotations.readings import Fault, Reading

log = structlog.get_logger(__name__)

Submit = Callable[[str, str, AsyncIterator[bytes]], Awaitable[Decision]]
"""Makes a job of an operation, by its kind, under an id of the items, when all have come."""

REJECTS: Final = "rejects"
ARCHIVE: Final = (".zip", "application/zip")
TOLD_SECONDS: Final = 0.4
"""So often is it said how far a file is read."""
CANCEL_TRIES: Final = 20
"""Who reads the file writes as well: whoever was quicker wins, and then it is tried again."""
STOPPED: Final = Fault(
    code="server_stopped", message="the server was stopped while it read the file; send it again"
)
INTERNAL: Final = Fault(
    code="internal", message="the file could not be read, by a fault of the server; see its log"
)


@dataclass(frozen=True, slots=True)
class About:
    """What is known of an import before its file is: the project, and what the job is given."""

    project_id: int
    job_id: str
    title: str = ""
    dry_run: bool = False


@dataclass(slots=True)
class Begun:
    """A file that is being read for an operation that has its number; ``said`` is how far."""

    caller: Caller
    number: Numbered
    file: OpenFile
    said: Reading
    turn: asyncio.Lock
    cancelled: bool = False
    sent: bool = False
    """Whether all of it was handed on: its job may be there, or come."""

    @property
    def job_id(self) -> str:
        """The id that the job will have."""
        return self.number.job_id


@dataclass(frozen=True, slots=True)
class Imported:
    """The operation that an import is, as it was decided on, and what its file had."""

    decision: Decision
    number: Numbered
    summary: dict[str, Any]


class Files:
    """What comes in by files, one caller at a time."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Stop reading what is read in the background; its operations say so."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @asynccontextmanager
    async def begun(
        self, caller: Caller, about: About, file: BinaryIO, wanted: Wanted
    ) -> AsyncGenerator[Begun, None]:
        """A file that is recognised, with the number of its operation.

        Raises FileRefused for one that is of no format that is known.
        """
        async with opened(file, wanted) as found:
            now = self._clock.now()
            reading = Reading(
                name=wanted.name,
                title=about.title,
                dry_run=about.dry_run,
                bytes_total=found.size,
                began_at=now,
                seen_at=now,
            )

            def begin(connection: Connection) -> Numbered:
                project, job_id = about.project_id, about.job_id
                readings.begin(
                    connection,
                    tenant=caller.tenant,
                    project_id=project,
                    job_id=job_id,
                    reading=reading,
                )
                return numbers.give(
                    connection, caller, project, found.kind, job_id, now.timestamp()
                )

            number = await self._database.write(begin, lasting=False)
            yield Begun(caller, number, found, reading, asyncio.Lock())

    async def take(self, begun: Begun, submit: Submit) -> Imported:
        """Have the texts or images of a file imported; raises FileRefused when none can be.

        What was rejected is kept beside the job, which is the same however often it is
        submitted under one idempotency key. Where it is refused, nothing is left; where it is
        not known whether the job comes, all is left to it.
        """
        try:
            decision = await self._decided(begun, submit)
        except DecisionPending:
            raise  # the job comes later, under its number
        except BaseException:
            with suppress(Unavailable):  # then it is found that nobody reads it
                await self._forget(begun)
            raise
        imported = await self._imported(begun, decision)
        if imported.number != begun.number:
            await self._forget(begun)
        return imported

    def take_later(self, begun: Begun, submit: Submit, holds: AsyncExitStack) -> None:
        """As ``take``, while others go on; where it is refused, the operation says why.

        What ``holds`` has is let go at the end.
        """
        task = asyncio.ensure_future(self._take_in_background(begun, submit, holds))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def reading(self, number: Numbered, tenant: str) -> Reading | None:
        """How far the file of an operation is read; None once its job is there."""
        return (await self.readings([number], tenant)).get(number.job_id)

    async def readings(self, those: list[Numbered], tenant: str) -> Mapping[str, Reading]:
        """How far the files of operations are read, by job, of those that have no job yet."""
        jobs, now = [number.job_id for number in those], self._clock.now()
        found = await self._database.read(lambda c: readings.find_all(c, tenant, jobs))
        return {job_id: reading.at(now) for job_id, reading in found.items()}

    async def cancel(self, number: Numbered, caller: Caller, reason: str) -> Reading | None:
        """Stop reading a file; None where it is read to its end, and a job.

        Raises WrongState for one that has ended already, and when it becomes a job just now.
        """
        why = f"{caller.actor} has cancelled it{f': {reason}' if reason else ''}"
        fault = Fault(
            code=readings.CANCELLED, message=f"{why}; send the file again if it is wanted"
        )
        for _ in range(CANCEL_TRIES):
            before = await self.reading(number, caller.tenant)
            if before is None:
                return None
            if before.fault is not None:
                raise WrongState(
                    f"operation {number.operation_id} has ended: there is nothing to do"
                )
            if before.whole:
                break
            after = before.model_copy(update={"fault": fault})
            swap = partial(readings.note, job_id=number.job_id, before=before, after=after)
            if await self._database.write(swap):
                return after
        raise WrongState("the file is read, and becomes a job just now; cancel that")

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

    async def _decided(self, begun: Begun, submit: Submit) -> Decision:
        ended = asyncio.Event()
        telling = asyncio.ensure_future(self._tell(begun, ended))
        try:
            return await submit(begun.file.kind, begun.job_id, self._items(begun))
        except DecisionPending:
            await self._database.write(lambda c: readings.end(c, begun.job_id))
            raise
        except CommandRefused:
            begun.sent = False
            raise
        finally:
            ended.set()
            await telling

    async def _imported(self, begun: Begun, decision: Decision) -> Imported:
        summary = begun.file.reader.summary()
        if decision.job_id == begun.job_id:
            await self._database.write(lambda c: readings.end(c, begun.job_id), lasting=False)
            return Imported(decision, begun.number, summary)
        begun.sent = False
        # It was sent before: what it has rejected may have been lost with who kept it.
        await self._keep(begun, decision.job_id)
        return Imported(decision, await self._number_of(begun, decision.job_id), summary)

    async def _take_in_background(
        self, begun: Begun, submit: Submit, holds: AsyncExitStack
    ) -> None:
        async with holds:
            try:
                imported = await self._imported(begun, await self._decided(begun, submit))
                if imported.number != begun.number:
                    known = imported.number.operation_id
                    message = f"it was sent before, with this key, and is operation {known}"
                    await self._give_up(begun, Fault(code="repeated", message=message))
            except asyncio.CancelledError:
                await self._give_up(begun, STOPPED)
                raise
            except DecisionPending:
                log.warning("import_undecided", job_id=begun.job_id)
            except CountermandError as error:
                await self._give_up(begun, Fault(code=error.code, message=error.message))
            except Exception:
                log.exception("import_failed", job_id=begun.job_id)
                await self._give_up(begun, INTERNAL)

    async def _items(self, begun: Begun) -> AsyncGenerator[bytes, None]:
        reader = begun.file.reader
        while block := await begun.file.run(reader.block):
            if begun.cancelled:
                break
            yield block
        if not await self._note(begun, whole=True):
            raise WrongState("somebody has cancelled it while the file was read; send it again")
        if reader.wanted.new_labels:
            project_id, labels = begun.number.project_id, tuple(reader.labels)
            await add_labels(self._database, self._clock, begun.caller, project_id, labels)
        await self._keep(begun, begun.job_id)
        begun.sent = True

    async def _keep(self, begun: Begun, job_id: str) -> None:
        """Store what was rejected, piece by piece; a file that is removed meanwhile stays away."""
        reader = begun.file.reader
        form = (reader.format.suffix, reader.format.media_type)
        suffix, media_type = ARCHIVE if reader.archived else form
        file = JobFile(
            job_id=job_id,
            role=REJECTS,
            tenant=begun.caller.tenant,
            project_id=begun.number.project_id,
            name=f"rejects{suffix}",
            media_type=media_type,
            about=said(reader.summary()),
            created_at=self._clock.now().timestamp(),
        )
        await self._database.write(lambda found: job_files.begin(found, file))
        whole = await keep(self._database, file, reader.rejects(), begun.file.run)
        if whole is not None and whole.sha256 is not None:
            size, digest = whole.size or 0, whole.sha256
            await self._database.write(lambda c: job_files.finish(c, file, size, digest))

    async def _tell(self, begun: Begun, ended: asyncio.Event) -> None:
        """Say now and then how far it is, until it has ended or somebody cancels it."""
        while not begun.cancelled:
            with suppress(TimeoutError):
                async with asyncio.timeout(TOLD_SECONDS):
                    await ended.wait()
            if ended.is_set():
                return
            with suppress(Unavailable):
                await self._note(begun)

    async def _note(self, begun: Begun, *, whole: bool = False) -> bool:
        """Write how far it is, and that it is worked on; False when somebody has cancelled it."""
        async with begun.turn:
            if begun.cancelled:
                return False
            before = begun.said
            far = {} if before.whole else _how_far(begun, whole=whole)
            after = before.model_copy(update={"seen_at": self._clock.now(), **far})
            write = partial(readings.go_on, job_id=begun.job_id, after=after)
            begun.cancelled = not await self._database.write(write, lasting=False)
            begun.said = after
            return not begun.cancelled

    async def _give_up(self, begun: Begun, fault: Fault) -> None:
        """Nothing comes of it, and its operation says why, unless it is a job or may become one.

        Where it may, the job comes, or it is found after a while that nobody reads the file.
        """
        reading = begun.said.model_copy(update={"fault": fault})

        def end(connection: Connection) -> None:
            if _may_be_job(connection, begun):
                return
            if not readings.go_on(connection, job_id=begun.job_id, after=reading):
                return  # who has cancelled it has said so
            job_files.remove_of(connection, begun.job_id)
            readings.begin(
                connection,
                tenant=begun.caller.tenant,
                project_id=begun.number.project_id,
                job_id=begun.job_id,
                reading=reading,
            )

        with suppress(Unavailable):  # then it is found that nobody reads it
            await self._database.write(end)

    async def _forget(self, begun: Begun) -> None:
        """Nothing is left of it, unless it is a job or may become one."""

        def forget(connection: Connection) -> None:
            if _may_be_job(connection, begun):
                return
            job_files.remove_of(connection, begun.job_id)
            numbers.take_back(connection, begun.job_id)

        await self._database.write(forget)

    async def _number_of(self, begun: Begun, job_id: str) -> Numbered:
        caller, known, now = begun.caller, begun.number, self._clock.now().timestamp()
        return await self._database.write(
            lambda c: numbers.give(c, caller, known.project_id, known.kind, job_id, now)
        )


def _how_far(begun: Begun, *, whole: bool) -> dict[str, Any]:
    """What a reading says of where its reader is."""
    file = begun.file
    return {
        "bytes_read": file.size if whole else file.position(),
        "accepted": file.reader.accepted,
        "rejected": file.reader.rejected,
        "whole": whole,
    }


def _may_be_job(connection: Connection, begun: Begun) -> bool:
    """Whether it is a job, and then its reading is over; or may be one that is not seen yet."""
    if readings.is_job(connection, begun.job_id):
        readings.end(connection, begun.job_id)
        return True
    return begun.sent
