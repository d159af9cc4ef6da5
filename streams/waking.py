"""Waking: a job that waits for a moment is looked at when it has come.

The timer is a row, written in the transaction that changes what the job waits for, so no
restart loses it. It is sent again and again until the job has taken it back.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from domain.job import Job
from streams.envelope import look_at
from streams.stores.decisions import drop_timer, set_timer


def keep_timer(connection: Connection, job: Job, before: datetime | None) -> None:
    """Have the job's timer say when its next attempt is due; ``before`` is what it said."""
    due = job.next_due
    if due == before:
        return
    timer_id = f"{job.id}.due"
    drop_timer(connection, timer_id)
    if due is not None:
        set_timer(connection, timer_id, due.timestamp(), look_at(job.id, timer_id).value)
