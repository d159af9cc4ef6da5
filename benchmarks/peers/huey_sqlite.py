"""Huey with its tasks in an SQLite file of their own; ``python -m`` runs its consumer.

All settings are Huey's own: one worker, a thread of the consumer's process.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from huey import SqliteHuey
from huey.api import TaskWrapper

from benchmarks.peers import batch


def opened() -> tuple[SqliteHuey, TaskWrapper]:
    """The queue, and the one task that goes through it."""
    queue = SqliteHuey(filename=os.environ[batch.BROKER])
    return queue, queue.task(name="work")(batch.work)


def send(batches: Iterable[tuple[int, Sequence[str]]]) -> None:
    """Put them into the queue, a task each."""
    _, work = opened()
    for first, lines in batches:
        work(first, lines)


if __name__ == "__main__":
    opened()[0].create_consumer().run()
