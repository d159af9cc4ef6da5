"""The log of all events in memory, and who follows it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from domain.events import JobEvent
from streams.live import LiveHub, Placed, Subscription, Wants
from streams.stores.log import Logged, LogPage, Tagged, is_tagged


class MemoryTail:
    """Hands out what it is given, at once; positions have gaps, as those of a database may."""

    STRIDE = 3

    def __init__(self, hub: LiveHub) -> None:
        self._hub = hub
        self.logged: list[Logged] = []

    @property
    def position(self) -> int:
        return self.STRIDE * len(self.logged)

    @asynccontextmanager
    async def follow(
        self, tenant: str, wants: Wants
    ) -> AsyncIterator[tuple[Subscription[Placed], int]]:
        with self._hub.follow(tenant, wants) as subscription:
            yield subscription, self.position

    def store(self, event: JobEvent, tags: tuple[str, ...], *, hand_out: bool = True) -> None:
        self.logged.append(Logged(self.position + self.STRIDE, event, tags))
        if hand_out:
            shown = self._hub.shown(event)
            self._hub.place(event.tenant, Placed(shown, self.position, tags))

    def page(self, tenant: str, after: int | None, limit: int, wanted: Tagged) -> LogPage:
        """As a database that looks at a few events at a time."""
        start = self.position if after is None else after
        window = [one for one in self.logged if one.position > start][:limit]
        reached = window[-1].position if window else max(start, self.position)
        found = [
            one for one in window if one.event.tenant == tenant and is_tagged(wanted, one.tags)
        ]
        return LogPage(found, reached, self.position)
