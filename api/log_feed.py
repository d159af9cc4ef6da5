"""Log feed: what a client is sent of all jobs of its tenant, in which order. No HTTP in here.

As in :mod:`api.feed`: follow first, replay from the log, then go on with what happens. The
place of an event in the log is its id, which is the same at every process.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

import orjson

from api import sse
from api.limits import Limits
from api.live_ports import Hub, Subscription, Tail, TenantLog
from api.problems import RequestRefused, refused
from streams.live import Overflow, Placed
from streams.stores.log import Tagged, is_tagged

OPENED = "stream.opened"
"""The first event of each stream: where it begins, so that whoever is cut before the first
event of a job comes back to that place."""


class LogFeed:
    """One client's way through the events of a tenant's jobs, or of those with some tags."""

    def __init__(
        self,
        log: TenantLog,
        tail: Tail,
        hub: Hub,
        limits: Limits,
        *,
        tenant: str,
        wanted: Tagged,
        after: int | None,
    ) -> None:
        """Behind position ``after``; None is from now on."""
        self._log = log
        self._tail = tail
        self._hub = hub
        self._limits = limits
        self._tenant = tenant
        self._wanted = wanted
        self._last = after
        self._opened = False

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """Bytes to send, for ever; raises RequestRefused first for a place the log has not."""
        while True:
            async with self._tail.follow(self._tenant, self.wants) as (subscription, position):
                try:
                    async for frames in self._follow(subscription, position):
                        yield frames
                except Overflow:
                    # What the queue could not hold is in the log, where we begin again.
                    continue

    def wants(self, placed: Placed) -> bool:
        """Whether it is of one of the jobs that the client follows, or said to everybody."""
        return placed.to_all or is_tagged(self._wanted, placed.tags)

    async def _follow(
        self, subscription: Subscription[Placed], position: int
    ) -> AsyncGenerator[bytes, None]:
        last = position if self._last is None else self._last
        if not self._opened:
            yield await self._opening(last)
        async for frames in self._stored(last):
            yield frames
        while True:
            placed = await subscription.next(self._limits.heartbeat)
            if placed is None:
                yield sse.HEARTBEAT
            elif placed.position is None:
                yield sse.frame(placed.event.name, placed.event.text, None)
            elif placed.position > (self._last or 0):
                self._last = placed.position
                yield sse.frame(placed.event.name, placed.event.text, placed.position)

    async def _opening(self, last: int) -> bytes:
        if last > (await self._log.log(self._tenant, last, 1)).last:
            raise no_such_place("Last-Event-ID", last)
        self._opened = True
        said = sse.frame(OPENED, orjson.dumps({"position": last}), last)
        return sse.retry(self._limits.reconnect_ms) + said

    async def _stored(self, after: int) -> AsyncGenerator[bytes, None]:
        """Everything behind a position, page by page."""
        more = True
        while more:
            frames, after, more = await self._page(after)
            self._last = after
            if frames:
                yield frames

    async def _page(self, after: int) -> tuple[bytes, int, bool]:
        """Frames, where the next page begins, and whether there is one.

        No more than that: a client that reads slowly must not keep a page of events in memory.
        """
        size = self._limits.replay_page
        page = await self._log.log(self._tenant, after, size, self._wanted)
        shown = [(self._hub.shown(logged.event), logged.position) for logged in page.events]
        frames = b"".join(sse.frame(each.name, each.text, place) for each, place in shown)
        return frames, page.position, page.more


def no_such_place(said: str, position: int) -> RequestRefused:
    """The refusal of a place behind the log's end, which was ``said`` there."""
    return refused(
        400,
        "bad_last_event_id",
        f"{said}: no event has the id {position} yet; leave it out, which begins now, or say 0, "
        "which begins with the first one",
    )
