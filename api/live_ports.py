"""What the edge asks of the streams about what happens live; the rest is in :mod:`api.ports`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Protocol, TypeVar

from domain.events import JobEvent
from streams.callers import Caller
from streams.live import LiveEvent, Placed, Wants
from streams.stores.log import LogPage, Tagged

Happened_co = TypeVar("Happened_co", covariant=True)


class Subscription(Protocol[Happened_co]):
    """A bounded queue of live events."""

    async def next(self, seconds: float, /) -> Happened_co | None:
        """The next one, or None after so many seconds; raises Overflow."""
        ...

    def also(self) -> Sequence[Happened_co]:
        """The few that are there beside it already."""
        ...


class Hub(Protocol):
    """What happens now."""

    def subscribe(self, job_id: str) -> AbstractContextManager[Subscription[LiveEvent]]:
        """A job's live events from now on."""
        ...

    def shown(self, event: JobEvent) -> LiveEvent:
        """A stored event as all are shown it."""
        ...

    def beginning(self, tenant: str, job_id: str) -> Sequence[JobEvent]:
        """All events so far of a job that has just begun, where they are known without the log."""
        ...


class Tail(Protocol):
    """What happens now to all jobs of a tenant, in the order of the log."""

    @property
    def position(self) -> int:
        """What lies behind it is handed to whoever follows by now."""
        ...

    def follow(
        self, tenant: str, wants: Wants
    ) -> AbstractAsyncContextManager[tuple[Subscription[Placed], int]]:
        """The wanted events behind the position that comes with it."""
        ...


class Broadcasts(Protocol):
    """What administrators say to all who follow their tenant live."""

    async def say(self, caller: Caller, text: str) -> None:
        """Tell them, at whatever process they are; raises Unavailable."""
        ...


class TenantLog(Protocol):
    """What happened to all jobs of a tenant."""

    async def log(self, tenant: str, after: int | None, limit: int, wanted: Tagged = ()) -> LogPage:
        """What one look finds behind a position; None is the end of the log."""
        ...
