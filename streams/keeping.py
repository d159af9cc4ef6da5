"""Keeping: what is decided about a job at rest, and what is destroyed with that."""

from __future__ import annotations

from sqlalchemy import Connection

from domain.commands import HoldJob, ReleaseJob, ShredJob
from domain.job import Job, Stamp
from streams.stores import sealing

KeepingCommand = HoldJob | ReleaseJob | ShredJob


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
