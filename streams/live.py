"""Live: one bounded fan-out of what happens to jobs, to readers of one job and of a tenant's.

A reader that is slower than the events loses its subscription, not the events: they are
in the event store, from which it goes on. However many readers there are, and by whichever
protocol, the document of an event is made and encoded once.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import orjson

from domain.events import JobEvent, JobStatus
from domain.progress import of_event
from streams.beginnings import Beginnings

QUEUED = 256
TOGETHER = 15
"""Events that a reader is handed beside the one for which it waited."""
KEPT = 1024
"""Documents of the latest events, for readers who come to them one after the other."""

T = TypeVar("T")


@dataclass(frozen=True)
class LiveEvent:
    """Something that just happened to a job.

    ``version`` is None for progress between two stored events; ``data`` is the document
    that a reader of the stored event would be sent as well.
    """

    job_id: str
    version: int | None
    name: str
    data: dict[str, Any]

    @cached_property
    def text(self) -> bytes:
        """The document as JSON, the same bytes for everybody."""
        return orjson.dumps(self.data)

    @cached_property
    def at_rest(self) -> bool:
        """Whether the job does nothing more by itself after it."""
        return JobStatus(self.data["status"]).terminal


@dataclass(frozen=True, slots=True)
class Placed:
    """An event among all of its tenant; ``position`` is its place in the log of all events.

    Progress between two stored events has none. ``tags`` are those of its job.
    """

    event: LiveEvent
    position: int | None
    tags: tuple[str, ...]

    @property
    def to_all(self) -> bool:
        """Whether it is of no job, but said to everybody."""
        return not self.event.job_id


Wants = Callable[[Placed], bool]
"""Whether a reader of a tenant's events is to be handed one."""


class Overflow(Exception):
    """The reader was slower than the events; what it missed is in the event store."""


class Subscription(Generic[T]):
    """A bounded queue of live events."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[T] = asyncio.Queue(QUEUED)
        self._overflown = False

    def offer(self, event: T) -> None:
        """Add an event; when there is no room the reader has lost."""
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self._overflown = True

    async def next(self, timeout: float) -> T | None:  # noqa: ASYNC109 - a look, not a limit
        """The next event, or None after ``timeout`` seconds; raises Overflow."""
        if self._overflown:
            raise Overflow("the reader was slower than the events")
        try:
            async with asyncio.timeout(timeout):
                return await self._queue.get()
        except TimeoutError:
            return None

    def also(self) -> list[T]:
        """What waits beside the one that came, up to so many that one write can take them."""
        return [self._queue.get_nowait() for _ in range(min(self._queue.qsize(), TOGETHER))]


class LiveHub:
    """Subscriptions by job, and by tenant."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, set[Subscription[LiveEvent]]] = {}
        self._followers: dict[str, dict[Subscription[Placed], Wants]] = {}
        self._shown: OrderedDict[tuple[str, int], LiveEvent] = OrderedDict()
        self.beginnings = Beginnings()

    @contextmanager
    def subscribe(self, job_id: str) -> Iterator[Subscription[LiveEvent]]:
        """A job's live events from now on."""
        subscription = Subscription[LiveEvent]()
        self._subscriptions.setdefault(job_id, set()).add(subscription)
        try:
            yield subscription
        finally:
            readers = self._subscriptions[job_id]
            readers.discard(subscription)
            if not readers:
                del self._subscriptions[job_id]

    @contextmanager
    def follow(self, tenant: str, wants: Wants) -> Iterator[Subscription[Placed]]:
        """From now on, those of a tenant's live events that the reader wants."""
        subscription = Subscription[Placed]()
        self._followers.setdefault(tenant, {})[subscription] = wants
        try:
            yield subscription
        finally:
            readers = self._followers[tenant]
            del readers[subscription]
            if not readers:
                del self._followers[tenant]

    def wanted(self, job_id: str) -> bool:
        """Whether anybody reads a job's events now."""
        return job_id in self._subscriptions

    def followed(self, tenant: str | None = None) -> bool:
        """Whether anybody reads all of a tenant's events now; without a tenant, of any."""
        return bool(self._followers) if tenant is None else tenant in self._followers

    def shown(self, event: JobEvent) -> LiveEvent:
        """A stored event as it is shown, the same object to all who come to it soon."""
        key = (event.originator_id, event.originator_version)
        found = self._shown.get(key)
        if found is None:
            found = LiveEvent(*key, event.alias, of_event(event))
            self._shown[key] = found
            if len(self._shown) > KEPT:
                self._shown.popitem(last=False)
        return found

    def beginning(self, tenant: str, job_id: str) -> Sequence[JobEvent]:
        """All events so far of a job that has just begun; none of any other."""
        return self.beginnings.of(tenant, job_id)

    def publish(self, event: LiveEvent) -> None:
        """Hand an event to all readers of its job."""
        for subscription in self._subscriptions.get(event.job_id, ()):
            subscription.offer(event)

    def place(self, tenant: str, placed: Placed) -> None:
        """Hand an event to those who follow its tenant and want it."""
        for subscription, wants in self._followers.get(tenant, {}).items():
            if wants(placed):
                subscription.offer(placed)

    @property
    def readers(self) -> int:
        """How many subscriptions there are."""
        by_job, by_tenant = self._subscriptions.values(), self._followers.values()
        return sum(map(len, by_job)) + sum(map(len, by_tenant))
