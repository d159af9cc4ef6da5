"""Outbox: the event store's notification log, in order, to the events topic.

The only writer of that topic; what all who read it have already is passed over. What is new
goes in few requests, and the position is stored after the broker has acknowledged: readers may
see events twice, in their order, and know them by job and version. A damaged event goes to the
dead-letter topic in its turn; one of a later release is waited for, with all behind it:
after the upgrade it can be published, and in its order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

import structlog
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import Mapper, Recording, StoredEvent
from sqlalchemy import Connection

from domain.errors import MessageUnreadable, Unavailable, UnsupportedVersion, VersionConflict
from domain.events import JobEvent
from domain.jobs import stored_event
from streams import topics
from streams.deadletters import MAX_CAUSE, Burial, bury
from streams.envelope import Outgoing, encode_event
from streams.failpoints import Failpoint, Failpoints
from streams.stores import read_model
from streams.stores.database import Database
from streams.stores.events import EventRecorder

log = structlog.get_logger(__name__)

BATCH = 500
TOGETHER = 50
"""So many events are encoded at once, between two of which nothing else of the process runs."""
KEPT = 1000
READER = "outbox"

SendAll = Callable[[Sequence[Outgoing]], Awaitable[None]]
"""Messages with one key arrive in their order, also when some fail and all are sent again."""
Known = Callable[[str, int], bool]
"""Whether all readers have the event with that version of a job; it need say so only once."""
Numbered = tuple[int, DomainEventProtocol[str] | StoredEvent]
"""An event, or its stored bytes, with its place in the log."""


Settled = Callable[[], Awaitable[None]]
"""Comes back when what this process has committed by now was offered to all whom it tells."""


async def at_once() -> None:
    """Nobody is told of a commit who must be waited for."""


def known_to_nobody(_job_id: str, _version: int) -> bool:
    """Anybody may read the topic, so nothing is known to all who do."""
    return False


class Outbox:
    """Publishes what was stored; one at a time in the whole installation."""

    def __init__(
        self,
        *,
        database: Database,
        recorder: EventRecorder,
        mapper: Mapper[str],
        send: SendAll,
        failpoints: Failpoints,
        known: Known = known_to_nobody,
        settled: Settled = at_once,
    ) -> None:
        """``known`` says of an event that all who read the topic have it: it is not sent.

        When sending fails it is asked again, and what it has forgotten meanwhile is sent. It is
        asked of what was read from the log only when that is ``settled``: the log may have an
        event before its own process has told of it.
        """
        self._known = known
        self._settled = settled
        self._database = database
        self._recorder = recorder
        self._mapper = mapper
        self._send = send
        self._failpoints = failpoints
        self._position: int | None = None
        self._saved = 0
        self._fresh: deque[Numbered] = deque(maxlen=KEPT)

    def offer(self, recordings: Iterable[Recording[str]]) -> None:
        """Take what this process has just committed: it need not be read again."""
        for recording in recordings:
            self._fresh.append((recording.notification.id, recording.domain_event))

    def start_over(self) -> None:
        """Go on from the stored position: another process may have published meanwhile."""
        self._position = None
        self._fresh.clear()

    async def publish(self) -> bool:
        """Send what is new, at most ``BATCH`` events; returns whether there may be more."""
        if self._position is None:
            self._position = self._saved = await self._database.read(
                lambda connection: read_model.position(connection, READER)
            )
        found = self._offered_after(self._position)
        if not found:
            found = await self._database.read(
                partial(self._stored_after, self._position), single=True
            )
            if found:
                await self._settled()
        for first in range(0, len(found), TOGETHER):
            await self._publish(found[first : first + TOGETHER])
        return len(found) == BATCH or bool(self._fresh)

    async def _publish(self, found: Sequence[Numbered]) -> None:
        """Send events up to one that has to wait; raises Unavailable at that."""
        messages: list[Outgoing] = []
        told: list[int] = []
        waits: Unavailable | None = None
        for number, event in found:
            try:
                if not self._known(str(event.originator_id), event.originator_version):
                    messages.append(self._message(number, event))
            except Unavailable as later:
                waits = later
                break
            told.append(number)
        for _ in told:
            self._failpoints.reach(Failpoint.BEFORE_OUTBOX_SEND)
        if messages:
            await self._send(messages)
        if told:
            self._position = told[-1]
        for _ in told:
            self._failpoints.reach(Failpoint.AFTER_OUTBOX_SEND)
        if waits is not None:
            raise waits

    async def save(self) -> None:
        """Store how far the log was published; VersionConflict when another outbox moved it."""
        if self._position is None or self._position == self._saved:
            return
        was, now = self._saved, self._position
        try:
            await self._database.write(
                lambda connection: read_model.advance(connection, READER, seen=was, to=now),
                lasting=False,
            )
        except VersionConflict:
            # Go on from where the other one is.
            self._position = None
            raise
        self._saved = now
        self._failpoints.reach(Failpoint.AFTER_OUTBOX_SAVE)

    def _offered_after(self, position: int) -> list[Numbered]:
        """The offered events that follow without a gap: in a gap may be another process's."""
        while self._fresh and self._fresh[0][0] <= position:
            self._fresh.popleft()
        found: list[Numbered] = []
        while self._fresh and self._fresh[0][0] == position + 1 and len(found) < BATCH:
            found.append(self._fresh.popleft())
            position += 1
        return found

    def _stored_after(self, position: int, connection: Connection) -> list[Numbered]:
        notifications = self._recorder.select_notifications(
            position, BATCH, inclusive_of_start=False, connection=connection
        )
        return [(found.id, found) for found in notifications]

    def _message(self, number: int, event: DomainEventProtocol[str] | StoredEvent) -> Outgoing:
        if not isinstance(event, StoredEvent):
            return _published(number, event)
        try:
            return _published(number, stored_event(self._mapper, event))
        except MessageUnreadable as damage:
            return _letter(number, event, damage)
        except UnsupportedVersion as later:
            raise Unavailable(f"event {number} is not published yet: {later.message}") from later


def _published(number: int, event: DomainEventProtocol[str]) -> Outgoing:
    if not isinstance(event, JobEvent):
        raise TypeError(f"notification {number} is no event of a job")
    return Outgoing(
        topic=topics.EVENTS, key=event.originator_id.encode(), value=encode_event(number, event)
    )


def _letter(number: int, stored: StoredEvent, damage: MessageUnreadable) -> Outgoing:
    """The dead letter of an event that nobody can read: its stored bytes."""
    job_id = str(stored.originator_id)
    burial = Burial(
        topic=topics.EVENTS,
        partition=0,
        offset=number,
        size=len(stored.state),
        code=damage.code,
        reason=damage.message[:MAX_CAUSE],
    )
    place = {"job_id": job_id, "version": stored.originator_version, "position": number}
    log.critical("event_buried", reason=damage.message, **place)
    headers = tuple((name, str(value).encode()) for name, value in place.items())
    return bury(burial, job_id.encode(), stored.state, headers)
