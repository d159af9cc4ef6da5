"""Dramatiq on Redis: two processes of one thread.

Dramatiq finds actors by importing a module, so that the settings are read at import here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers import batch

dramatiq.set_broker(RedisBroker(url=os.environ[batch.BROKER]))
work = dramatiq.actor(batch.work, actor_name="work")


def send(batches: Iterable[tuple[int, Sequence[str]]]) -> None:
    """Put them into the queue, a message each."""
    for first, lines in batches:
        work.send(first, lines)
