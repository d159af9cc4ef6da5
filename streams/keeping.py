"""Keeping: what is decided about a job at rest, and what is destroyed with that.

None of it needs the job's operation, which may be installed no more.
"""

from __future__ import annotations

from sqlalchemy import Connection

from domain.commands import ArchiveJob, HoldJob, ReleaseJob, ShredJob
from domain.job import Job, Stamp
from streams.stores import archives, sealing

KeepingCommand = HoldJob | ReleaseJob | ShredJob | ArchiveJob


def keep(connection: Connection, job: Job, command: KeepingCommand, stamp: Stamp) -> None:
    """Decide; raises CommandRefused, and then has changed nothing."""
    match command:
        case HoldJob():
            job.hold(stamp, command.reason)
        case ReleaseJob():
            job.lift_hold(stamp, command.reason)
        case ShredJob():
            job.shred(stamp, command.reason)
            sealing.shred(connection, job.id)
        case ArchiveJob():
            job.archive(stamp, command.reason)


def heed_archive(connection: Connection, job: Job, stamp: Stamp) -> None:
    """Give up what an archived job was worked with, once its file is written.

    Asked of the row and not of a message: whoever can send one must not be able to have it gone.
    """
    if not job.awaits_file:
        return
    file = archives.written(connection, job.id, job.version)
    if file is not None:
        job.empty(stamp, file)
