"""Live: one bounded fan-out of what happens to jobs, fed by the events topic.

A reader that is slower than the events loses its subscription, not the events: they are
in the event store, from which it goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

QUEUED = 256


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """Something that just happened to a job.

    ``version`` is None for progress between two stored events; ``data`` is the document
    that a reader of the stored event would be sent as well.
    """

    job_id: str
    version: int | None
    name: str
    data: dict[str, Any]


class Overflow(Exception):
    """The reader was slower than the events; what it missed is in the event store."""


class Subscription:
    """A bounded queue of one job's live events."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[LiveEvent] = asyncio.Queue(QUEUED)
        self._overflown = False

    def offer(self, event: LiveEvent) -> None:
        """Add an event; when there is no room the reader has lost."""
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self._overflown = True

    async def next(self, timeout: float) -> LiveEvent | None:  # noqa: ASYNC109 - a look, not a limit
        """The next event, or None after ``timeout`` seconds; raises Overflow."""
        if self._overflown:
            raise Overflow("the reader was slower than the events")
        try:
            async with asyncio.timeout(timeout):
                return await self._queue.get()
        except TimeoutError:
            return None


class LiveHub:
    """Subscriptions by job."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, set[Subscription]] = {}

    @contextmanager
    def subscribe(self, job_id: str) -> Iterator[Subscription]:
        """A job's live events from now on."""
        subscription = Subscription()
        self._subscriptions.setdefault(job_id, set()).add(subscription)
        try:
            yield subscription
        finally:
            readers = self._subscriptions[job_id]
            readers.discard(subscription)
            if not readers:
                del self._subscriptions[job_id]

    def wanted(self, job_id: str) -> bool:
        """Whether anybody reads a job's events now."""
        return job_id in self._subscriptions

    def publish(self, event: LiveEvent) -> None:
        """Hand an event to all readers of its job."""
        for subscription in self._subscriptions.get(event.job_id, ()):
            subscription.offer(event)

    @property
    def readers(self) -> int:
        """How many subscriptions there are."""
        return sum(len(readers) for readers in self._subscriptions.values())
