"""Live reader: what other processes have just stored, to those who read live in this one.

The database says who stored something as soon as it is committed, and mostly what; the events
topic says it again, some hops later. Only jobs that somebody follows here are read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from functools import partial

import structlog
from eventsourcing.persistence import StoredEvent
from sqlalchemy import Connection

from domain.errors import MessageUnreadable, Unavailable, UnsupportedVersion
from domain.events import JobEvent
from domain.jobs import JobMapper, stored_event
from streams.live import LiveHub
from streams.relay import LiveRelay
from streams.stores.database import Database
from streams.stores.event_order import Announced
from streams.stores.events import EventRecorder

log = structlog.get_logger(__name__)

PAGE = 200
"""Events of a job read at once; who misses some of more reads them from the log itself."""


class LiveReader:
    """Told by ``heard``; ``run`` does the reading."""

    def __init__(
        self,
        *,
        database: Database,
        recorder: EventRecorder,
        mapper: JobMapper,
        hub: LiveHub,
        relay: LiveRelay,
    ) -> None:
        self._database = database
        self._recorder = recorder
        self._mapper = mapper
        self._hub = hub
        self._relay = relay
        self._wanted: dict[str, int] = {}
        self._news = asyncio.Event()

    def heard(self, payload: str | None) -> None:
        """Events were stored; None says that some may have been missed, which the topic says.

        How a job has begun is kept only from one None to the end of the connection (``lost``).
        Raises ValueError for what no process of this release sends; the topic says it as well.
        """
        if payload is None:
            self._hub.beginnings.open()
            return
        announced = Announced.parse(payload)
        self._hub.beginnings.heard(announced.job_id, announced.version)
        if self._hub.wanted(announced.job_id) and not self._shows(announced):
            self._wanted[announced.job_id] = announced.version
            self._news.set()

    def lost(self) -> None:
        """The connection that brings the news is gone."""
        self._hub.beginnings.close()

    def _shows(self, announced: Announced) -> bool:
        """Show what was told, if that is all that there is to show; nothing is shown otherwise.

        Of a job of which none was shown, the first events say more than the last; but for one at
        rest, there is no more to come that would need them.
        """
        events = self._told(announced)
        if not events or announced.job_id in self._wanted:
            return False
        last = self._relay.last_shown(announced.job_id)
        if last is None:
            follows = events[-1].status.terminal
        else:
            follows = last == events[0].originator_version - 1
        if follows:
            for event in events:
                self._relay.show_early(event)
        return follows

    def _told(self, announced: Announced) -> list[JobEvent]:
        try:
            return [stored_event(self._mapper, each) for each in announced.told]
        except (MessageUnreadable, UnsupportedVersion):
            # Whoever reads it from the log says so.
            return []

    async def run(self) -> None:
        """Read and show what was heard of, for as long as the process lives."""
        while True:
            await self._news.wait()
            self._news.clear()
            wanted, self._wanted = self._wanted, {}
            try:
                for event in await self._database.read(partial(self._events, wanted), single=True):
                    self._relay.show_early(event)
            except Unavailable as error:
                # The topic says it all again.
                log.warning("waiting", reason=error.message)

    def _events(self, wanted: dict[str, int], connection: Connection) -> list[JobEvent]:
        found: list[JobEvent] = []
        for job_id, version in wanted.items():
            shown = self._relay.shown(job_id, before=version)
            stored = self._recorder.select_events(
                job_id, gt=shown, lte=version, limit=PAGE, connection=connection
            )
            found += self._readable(stored)
        return found

    def _readable(self, stored: Iterable[StoredEvent]) -> Iterator[JobEvent]:
        """The events up to the first that cannot be read; of those behind it the topic tells."""
        for each in stored:
            try:
                yield stored_event(self._mapper, each)
            except (MessageUnreadable, UnsupportedVersion) as error:
                log.warning("event_not_shown", job_id=each.originator_id, reason=error.message)
                return
