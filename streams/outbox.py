"""Outbox: the event store's notification log, in order, to the events topic.

The only writer of that topic. The position is stored after the broker has acknowledged:
readers may see an event twice and know it by job and version.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from eventsourcing.persistence import Mapper, Notification
from sqlalchemy import Connection

from domain.events import JobEvent
from streams import topics
from streams.envelope import Outgoing, encode_event
from streams.failpoints import Failpoint, Failpoints
from streams.stores import read_model
from streams.stores.database import Database
from streams.stores.events import EventRecorder

BATCH = 500
READER = "outbox"

Send = Callable[[Outgoing], Awaitable[None]]


class Outbox:
    """Publishes what was stored; one at a time in the whole installation."""

    def __init__(
        self,
        *,
        database: Database,
        recorder: EventRecorder,
        mapper: Mapper[str],
        send: Send,
        failpoints: Failpoints,
    ) -> None:
        self._database = database
        self._recorder = recorder
        self._mapper = mapper
        self._send = send
        self._failpoints = failpoints
        self._position: int | None = None
        self._saved = 0

    async def publish(self) -> int:
        """Send what is new, at most ``BATCH`` events; returns how many."""
        if self._position is None:
            self._position = self._saved = await self._database.read(
                lambda connection: read_model.position(connection, READER)
            )
        found = await self._database.read(self._after(self._position))
        for notification in found:
            self._failpoints.reach(Failpoint.BEFORE_OUTBOX_SEND)
            await self._send(self._message(notification))
            self._failpoints.reach(Failpoint.AFTER_OUTBOX_SEND)
            self._position = notification.id
        return len(found)

    async def save(self) -> None:
        """Store how far the log was published; VersionConflict when another outbox moved it."""
        if self._position is None or self._position == self._saved:
            return
        was, now = self._saved, self._position
        await self._database.write(
            lambda connection: read_model.advance(connection, READER, seen=was, to=now)
        )
        self._saved = now
        self._failpoints.reach(Failpoint.AFTER_OUTBOX_SAVE)

    def _after(self, position: int) -> Callable[[Connection], Sequence[Notification]]:
        return lambda connection: self._recorder.select_notifications(
            position, BATCH, inclusive_of_start=False, connection=connection
        )

    def _message(self, notification: Notification) -> Outgoing:
        event = self._mapper.to_domain_event(notification)
        if not isinstance(event, JobEvent):
            raise TypeError(f"notification {notification.id} is no event of a job")
        return Outgoing(
            topic=topics.EVENTS,
            key=event.originator_id.encode(),
            value=encode_event(notification.id, event),
        )
