"""Tail: the end of the notification log, as it grows, to those who follow whole tenants.

Followers of one job are told of it sooner, by whoever commits; who follows many needs their
events in one order that is the same everywhere, and that is the log's. It is read only while
somebody follows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from streams.live import LiveHub, Placed, Subscription, Wants
from streams.loops import at_news
from streams.stores.database import Database
from streams.stores.log import JobLog, Logged, last_position

BATCH = 500
PAUSE = 0.02
"""Seconds in which the events of a busy time gather, so that one read finds them."""


class LogTail:
    """Told by ``heard``; ``run`` does the reading."""

    def __init__(self, *, database: Database, log: JobLog, hub: LiveHub) -> None:
        self._database = database
        self._log = log
        self._hub = hub
        self._position: int | None = None
        self._news = asyncio.Event()

    def heard(self, _payload: str | None = None) -> None:
        """Events were stored, or may have been."""
        self._news.set()

    @asynccontextmanager
    async def follow(
        self, tenant: str, wants: Wants
    ) -> AsyncIterator[tuple[Subscription[Placed], int]]:
        """A tenant's events behind the position that comes with it: what is before was stored."""
        with self._hub.follow(tenant, wants) as subscription:
            if self._position is None:
                self._begin(await self._database.read(last_position))
            yield subscription, self.position

    @property
    def position(self) -> int:
        """What lies behind it will be handed out, to whoever follows by now."""
        return self._position or 0

    async def run(self) -> None:
        """Read on at each news, for as long as the process lives."""
        await at_news(self._news, self._read_on, pause=PAUSE)

    def _begin(self, position: int) -> None:
        """Another follower may have been faster; what that one passes over was stored before."""
        if self._position is None:
            self._position = position

    async def _read_on(self) -> None:
        while self._position is not None:
            if not self._hub.followed():
                self._position = None
                return
            behind = partial(self._log.behind, position=self._position, most=BATCH)
            found = await self._database.read(behind)
            for logged in found:
                self._hand_out(logged)
            if len(found) < BATCH:
                return

    def _hand_out(self, logged: Logged) -> None:
        self._position, tenant = logged.position, logged.event.tenant
        if self._hub.followed(tenant):
            shown = self._hub.shown(logged.event)
            self._hub.place(tenant, Placed(shown, logged.position, logged.tags))
