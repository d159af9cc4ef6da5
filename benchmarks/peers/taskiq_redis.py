"""taskiq on a Redis stream, which acknowledges: two processes of one thread.

taskiq finds tasks by importing a module, so that the settings are read at import here.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence

from taskiq_redis import RedisStreamBroker

from benchmarks.peers import batch

# By default a worker takes a hundred tasks at once, and its neighbour may get none.
broker = RedisStreamBroker(os.environ[batch.BROKER], xread_count=2)
work = broker.task(task_name="work")(batch.work)


def send(batches: Iterable[tuple[int, Sequence[str]]]) -> None:
    """Put them into the queue, a task each."""
    asyncio.run(_send(batches))


async def _send(batches: Iterable[tuple[int, Sequence[str]]]) -> None:
    await broker.startup()
    try:
        for first, lines in batches:
            await work.kiq(first, lines)
    finally:
        await broker.shutdown()
