"""Celery on Redis: two processes; a task is acknowledged once it is done.

Celery finds tasks by importing a module, so that the settings are read at import here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from celery import Celery

from benchmarks.peers import batch

app = Celery("peer", broker=os.environ[batch.BROKER], set_as_current=False)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
)
work = app.task(name="work")(batch.work)


def send(batches: Iterable[tuple[int, Sequence[str]]]) -> None:
    """Put them into the queue, a task each."""
    for first, lines in batches:
        work.delay(first, lines)
