"""Feed: what a client of a job's live stream is sent, in which order. No HTTP in here.

Subscribe first, replay from the event log, then follow. The log is the truth: whenever
the hub has skipped a version, lost an event or overflowed, the rest is read from the log,
so that each event is sent once and in order.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from api import sse
from api.limits import Limits
from api.live_ports import Hub, Subscription
from api.ports import EventLog
from api.problems import refused
from domain.events import JobEvent
from streams.live import LiveEvent, Overflow

Worded = Callable[[LiveEvent], Awaitable[bytes]]
"""Makes the frame of an event."""


async def as_all_are_shown(event: LiveEvent) -> bytes:
    """In the words of the engine."""
    return sse.frame(event.name, event.text, event.version)


class Feed:
    """One client's way through the events of one job, behind version ``after``."""

    def __init__(
        self,
        log: EventLog,
        hub: Hub,
        limits: Limits,
        *,
        tenant: str,
        job_id: str,
        after: int,
        worded: Worded = as_all_are_shown,
    ) -> None:
        self._worded = worded
        self._log = log
        self._hub = hub
        self._limits = limits
        self._tenant = tenant
        self._job_id = job_id
        self._last = after
        self._at_rest = False
        self._opened = False

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """Bytes to send, until the job has come to rest and all of its events were sent.

        Yields nothing when the client has seen all; raises JobNotFound, or RequestRefused
        for a version that the job does not have, before anything else.
        """
        over = False
        while not over:
            with self._hub.subscribe(self._job_id) as subscription:
                try:
                    async for frames in self._follow(subscription):
                        yield frames
                    over = True
                except Overflow:
                    # What the queue could not hold is in the log, where we begin again.
                    continue

    async def _follow(self, subscription: Subscription[LiveEvent]) -> AsyncGenerator[bytes, None]:
        begun = self._hub.beginning(self._tenant, self._job_id)[self._last :]
        if begun:
            yield self._opening() + await self._shown(begun)
        else:
            async for frames in self._stored():
                yield self._opening() + frames
        if not self._opened:
            await self._check()
            if not self._at_rest:
                yield self._opening()
        while not self._at_rest:
            event = await subscription.next(self._limits.heartbeat)
            events = [] if event is None else [event, *subscription.also()]
            if frames := await self._told(events):
                yield frames
            if not events or self._settled() or any(map(self._is_ahead, events)):
                async for frames in self._stored():
                    yield frames

    async def _told(self, events: Sequence[LiveEvent]) -> bytes:
        """What came together is one write, as what one transaction stores does; or a heartbeat."""
        if not events:
            return sse.HEARTBEAT
        return b"".join([await self._sent(event) for event in events if self._is_next(event)])

    def _opening(self) -> bytes:
        """What comes before the first event, once."""
        if self._opened:
            return b""
        self._opened = True
        return sse.retry(self._limits.reconnect_ms)

    async def _check(self) -> None:
        """Tell a client that waits for the next event from one that has seen all."""
        job = await self._log.job(self._tenant, self._job_id)
        if self._last > job.version:
            raise refused(
                400,
                "bad_last_event_id",
                f"the job has no event {self._last} yet; connect again without Last-Event-ID",
            )
        self._at_rest = job.status.terminal and self._last == job.version

    def _is_next(self, event: LiveEvent) -> bool:
        """Whether it follows what was sent: the next version, or progress on the last one."""
        if event.version is None:
            return bool(event.data["version"] == self._last)
        return event.version == self._last + 1

    def _is_ahead(self, event: LiveEvent) -> bool:
        """Whether the log has events that the hub did not bring."""
        return bool(event.data["version"] > self._last)

    async def _sent(self, event: LiveEvent) -> bytes:
        if event.version is not None:
            self._last = event.version
            self._at_rest = event.at_rest
        return await self._worded(event)

    def _settled(self) -> bool:
        """Whether the job was at rest after what was sent last."""
        return self._at_rest

    async def _stored(self) -> AsyncGenerator[bytes, None]:
        """Everything behind the last version sent, page by page."""
        more = True
        while more:
            frames, more = await self._page()
            if frames:
                yield frames

    async def _page(self) -> tuple[bytes, bool]:
        """Frames, and whether there may be more of them.

        No more than that: a client that reads slowly must not keep a page of events in memory.
        """
        size = self._limits.replay_page
        page = await self._log.events(self._tenant, self._job_id, self._last, size)
        return await self._shown(page), len(page) == size

    async def _shown(self, page: Sequence[JobEvent]) -> bytes:
        if page:
            self._last = page[-1].originator_version
            self._at_rest = page[-1].status.terminal
        return b"".join([await self._worded(self._hub.shown(event)) for event in page])
