"""Archiving: writes the files of jobs that were put away, then clears what is in them.

One at a time in the whole installation does it, a job after the other, and each step can be
taken again by whoever comes after a death: the file is safe on its disk before a row names
it, the row is there before the coordinator stores the event, and nothing is deleted before
that. A file is called by its digest, so none is ever written over another.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Sequence
from functools import cache, partial
from pathlib import Path

import structlog
from sqlalchemy import Connection

from domain.archiving import CLEAR, SEALED, ArchiveFile
from domain.errors import CommandRefused, DataDirectoryUnusable, MessageUnreadable
from domain.ports import Ids
from domain.registry import Registry
from domain.retention import KnownRule, governing
from streams.envelope import Outgoing, look_at
from streams.failpoints import Failpoint, Failpoints
from streams.lasting_names import keep_names
from streams.loops import in_thread
from streams.retaining import Retained
from streams.sick import Sick
from streams.stores import archives, audit, retention
from streams.stores.archives import Stage, Wanted
from streams.stores.database import Database

log = structlog.get_logger(__name__)

Send = Callable[[Outgoing], Awaitable[None]]
Heads = Callable[[], audit.HeadsFile | None]
"""The signed heads; None while nobody has signed one here."""

FILES_AT_ONCE = 10
READ_AT_ONCE = 500
READS_AT_A_LOOK = 20
"""Of jobs that want their file, most of which may have to wait for their shredding."""
CLEARED_AT_ONCE = 10
DIGITS = 16
"""Of its digest, by which a file is called."""
RESTS_AFTER_FAULT = 30
"""Looks that are left out after a file could not be written: a full disk is not soon empty."""


class Archivist:
    """Moves what archived jobs were worked with into files of a folder."""

    def __init__(
        self,
        *,
        database: Database,
        registry: Registry,
        folder: Path,
        heads: Heads,
        ids: Ids,
        send: Send,
        failpoints: Failpoints,
        retained: Retained,
    ) -> None:
        self._database = database
        self._registry = registry
        self._folder = folder
        self._heads = heads
        self._ids = ids
        self._send = send
        self._failpoints = failpoints
        self._retained = retained
        self._behind = dict.fromkeys(Stage, "")
        self._rests = 0
        self._sick = Sick()

    async def look(self) -> None:
        """Clear some of what is safe, have some events stored, and write some files."""
        await self._clear()
        for job_id in await self._next(Stage.WRITTEN, FILES_AT_ONCE):
            # The hint before may have been lost.
            await self._send(look_at(job_id, self._ids.new()))
        if self._rests:
            self._rests -= 1
            return
        heads = self._heads()
        if heads is None:
            return
        for job in await self._wanted():
            if not await self._write(job, heads):
                return

    # -- files ----------------------------------------------------------------------------

    async def _wanted(self) -> list[Wanted]:
        """Some of the jobs that want their file, but for those that are to be shredded before.

        An archive may have the items in the clear, which no shredding reaches.
        """
        chosen, self._behind[Stage.WANTED] = await self._database.read(self._chosen)
        return chosen

    def _chosen(self, connection: Connection) -> tuple[list[Wanted], str]:
        """Those jobs, and behind which one the next look goes on."""
        rules = retention.rules_of(connection)
        shredded_first = cache(partial(_is_shredded_first, rules, self._registry))
        chosen: list[Wanted] = []
        behind = self._behind[Stage.WANTED]
        for _ in range(READS_AT_A_LOOK):
            found = archives.wanted(connection, behind, READ_AT_ONCE)
            for job in found:
                waits = job.shreddable and shredded_first(job.tenant, job.operation)
                if waits or job.job_id in self._sick:
                    continue
                chosen.append(job)
                if len(chosen) == FILES_AT_ONCE:
                    return chosen, job.job_id
            if len(found) < READ_AT_ONCE:
                return chosen, ""
            behind = found[-1].job_id
        return chosen, behind

    async def _write(self, job: Wanted, heads: audit.HeadsFile) -> bool:
        """Write the file of a job and have its event stored; False when the disk takes none."""
        try:
            written = await self._stored(job, heads)
        except OSError as error:
            self._rests = RESTS_AFTER_FAULT
            self._retained.unwritten += 1
            log.error(
                "archive_not_written",
                job_id=job.job_id,
                folder=str(self._folder),
                reason=str(error),
                remedy="make room, or have COUNTERMAND_ARCHIVE_DIR name a directory to write to",
            )
            return False
        except CommandRefused as refusal:
            # It has moved since it was found, and is looked at again.
            log.info("archive_not_written", job_id=job.job_id, reason=refusal.message)
            return True
        except (DataDirectoryUnusable, MessageUnreadable) as damage:
            # It keeps no other from its file, and is not tried again here for long.
            self._sick.add(job.job_id)
            self._retained.unwritten += 1
            log.error("archive_not_written", job_id=job.job_id, reason=damage.message)
            return True
        if written:
            self._failpoints.reach(Failpoint.ARCHIVE_NAMED)
            self._retained.files += 1
            await self._send(look_at(job.job_id, self._ids.new()))
        return True

    async def _stored(self, job: Wanted, heads: audit.HeadsFile) -> bool:
        """The file, then the row that names it; False when nobody wants it any more."""
        self._failpoints.reach(Failpoint.BEFORE_ARCHIVE)
        folder = self._folder / job.job_id
        if not await self._database.write(partial(_without_remains, job, folder)):
            return False
        file, version = await in_thread(partial(self._written, job.job_id, heads))
        self._failpoints.reach(Failpoint.ARCHIVE_WRITTEN)
        place = self._folder / file.name
        return await self._database.write(partial(_name, job.job_id, version, file, place))

    def _written(self, job_id: str, heads: audit.HeadsFile) -> tuple[ArchiveFile, int]:
        """In a thread: a file that is safe on its disk, and of which version of the job it is."""
        folder = self._folder / job_id
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = folder / f"{self._ids.new()}.part"
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w+b") as out:
                found = audit.write_archive(self._database, heads, job_id, out, sealed=True)
                out.flush()
                os.fsync(out.fileno())
                size = out.tell()
                out.seek(0)
                sha256 = hashlib.file_digest(out, "sha256").hexdigest()
            name = f"{job_id}/{sha256[:DIGITS]}{SEALED if found.sealed else CLEAR}"
            draft.replace(self._folder / name)
        finally:
            draft.unlink(missing_ok=True)
        for place in (folder, self._folder):
            keep_names(place)
        return ArchiveFile(name=name, sha256=sha256, size=size), found.version

    # -- what is safe ---------------------------------------------------------------------

    async def _clear(self) -> None:
        for job_id in await self._next(Stage.EMPTIED, CLEARED_AT_ONCE):
            file = await self._database.read(partial(_file_of, job_id))
            if file is None or not await asyncio.to_thread(self._is_there, file):
                self._retained.missing += 1
                log.error(
                    "archive_missing",
                    job_id=job_id,
                    file=None if file is None else file.name,
                    folder=str(self._folder),
                    remedy="put it back; nothing of the job is deleted without it",
                )
                continue
            while await self._database.write(partial(_clear_some, job_id)):
                self._failpoints.reach(Failpoint.WITHIN_CLEARING)
            self._retained.cleared += 1

    def _is_there(self, file: ArchiveFile) -> bool:
        place = self._folder / file.name
        try:
            return place.stat().st_size == file.size
        except OSError:
            return False

    async def _next(self, stage: Stage, most: int) -> Sequence[str]:
        found = await self._database.read(
            lambda c: archives.at(c, stage, self._behind[stage], most)
        )
        self._move(stage, found, most)
        return found

    def _move(self, stage: Stage, found: Sequence[str], most: int) -> None:
        """Behind which job the next look goes on: who cannot go must not keep others."""
        self._behind[stage] = found[-1] if len(found) == most else ""


def _is_shredded_first(
    rules: Sequence[KnownRule], registry: Registry, tenant: str, operation: str
) -> bool:
    rule = governing(rules, tenant, *registry.names_of(operation))
    return rule is not None and rule.shred_after is not None


def _without_remains(job: Wanted, folder: Path, connection: Connection) -> bool:
    """Remove what a death has left of a file that is wanted; False when it is not any more."""
    if not archives.still_wanted(connection, job.job_id, job.version):
        return False
    for remains in folder.glob("*"):
        remains.unlink(missing_ok=True)
    return True


def _name(
    job_id: str, version: int, file: ArchiveFile, place: Path, connection: Connection
) -> bool:
    """Have the row name the file, or remove it; the row is held, as by whoever removes remains.

    Another process may write the same file, of the same name, at the same time: to remove it
    without holding the row would be to remove what came to count meanwhile.
    """
    wanted = archives.still_wanted(connection, job_id, version)
    if wanted and place.exists() and archives.say_written(connection, job_id, version, file):
        return True
    counts = archives.held_file_of(connection, job_id)
    if counts is None or counts.name != file.name:
        place.unlink(missing_ok=True)
    return False


def _file_of(job_id: str, connection: Connection) -> ArchiveFile | None:
    return archives.file_of(connection, job_id)


def _clear_some(job_id: str, connection: Connection) -> bool:
    return archives.clear_some(connection, job_id)
