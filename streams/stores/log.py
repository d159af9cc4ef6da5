"""Log: the notification log as it is read by those who follow all jobs of a tenant.

An event's position there is the same for every process, and rises in the order of the
commits, so that a reader who has seen one goes on behind it at any of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

import orjson
import structlog
from eventsourcing.persistence import Mapper, Notification
from sqlalchemy import Connection, Integer, bindparam, func, select

from domain.errors import MessageUnreadable, Unavailable, UnsupportedVersion
from domain.events import JobEvent
from domain.jobs import stored_event
from streams.stores.schema import events
from streams.stores.statements import fixed

log = structlog.get_logger(__name__)

WINDOW = 5_000
"""Places of the log, of all tenants, that one read looks at."""
JOBS_KEPT = 5_000
"""Jobs whose tags are remembered."""
EVENTS_KEPT = 1_024
"""Events that were read last: who comes back, comes back with many others."""

K = TypeVar("K")
V = TypeVar("V")

_COLUMNS = (events.c.job_id, events.c.version, events.c.alias, events.c.state, events.c.id)
_LAST = fixed(select(func.max(events.c.id)))
_SPAN = select(*_COLUMNS).where(events.c.id > bindparam("after"))
_MOST = bindparam("most", type_=Integer)
_NEXT = fixed(select(func.min(events.c.id)).where(events.c.id > bindparam("after")))
_BEHIND = fixed(_SPAN.order_by(events.c.id).limit(_MOST))
_OF_TENANT = fixed(
    _SPAN.where(events.c.id <= bindparam("last"), events.c.tenant == bindparam("tenant"))
    .order_by(events.c.id)
    .limit(_MOST)
)
_FIRST = fixed(
    select(events.c.state).where(events.c.job_id == bindparam("job_id"), events.c.version == 1)
)


@dataclass(frozen=True, slots=True)
class Logged:
    """An event with its place in the log and the tags of its job."""

    position: int
    event: JobEvent
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LogPage:
    """Some of a tenant's events; the next page is behind ``position``.

    ``last`` is the log's end, of all tenants: there is more while it lies behind ``position``.
    """

    events: list[Logged]
    position: int
    last: int

    @property
    def more(self) -> bool:
        """Whether the log goes on behind this page."""
        return self.position < self.last


Tagged = Sequence[frozenset[str]]
"""Sets of tags, of each of which a job must have one; an empty set asks for none."""


def is_tagged(wanted: Tagged, tags: Collection[str]) -> bool:
    """Whether a job with these tags is one of those."""
    return all(not some or not some.isdisjoint(tags) for some in wanted)


class _Latest(Generic[K, V]):
    """The values that were wanted last, so many of them; for any thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        with self._lock:
            found = self._values.get(key)
            if found is not None:
                self._values.move_to_end(key)
            return found

    def keep(self, key: K, value: V) -> None:
        with self._lock:
            self._values[key] = value
            if len(self._values) > self._most:
                self._values.popitem(last=False)


class JobLog:
    """Reads the log; each method on the connection that it is given, in any thread."""

    def __init__(self, mapper: Mapper[str]) -> None:
        self._mapper = mapper
        self._tags: _Latest[str, tuple[str, ...]] = _Latest(JOBS_KEPT)
        self._read: _Latest[tuple[int, str, int], Logged] = _Latest(EVENTS_KEPT)

    def behind(self, connection: Connection, position: int, most: int) -> list[Logged]:
        """The next events of all, before one of a later release; raises Unavailable at that."""
        rows = [Notification(*row) for row in _BEHIND.run(connection, after=position, most=most)]
        found: list[Logged] = []
        for row in rows:
            try:
                found += self._logged(connection, [row])
            except Unavailable:
                if not found:
                    raise
                break
        return found

    def page(
        self, connection: Connection, tenant: str, after: int, most: int, wanted: Tagged
    ) -> LogPage:
        """Those of a tenant's events that one read finds, of jobs that are tagged so."""
        last = last_position(connection)
        end = min(after + WINDOW, last)
        rows = _OF_TENANT.run(connection, after=after, last=end, tenant=tenant, most=most).rows
        found = [Notification(*row) for row in rows]
        if wanted:
            # Before they are read, which costs more.
            found = [
                row
                for row in found
                if is_tagged(wanted, self._tags_of(connection, str(row.originator_id)))
            ]
        full = len(rows) == most
        reached = int(rows[-1][-1]) if full else _reached(connection, after, end, last)
        return LogPage(self._logged(connection, found), reached, last)

    def _logged(self, connection: Connection, rows: Iterable[Notification]) -> list[Logged]:
        found = []
        for row in rows:
            try:
                found.append(self._one(connection, row))
            except UnsupportedVersion as later:
                raise Unavailable(f"the log is not followed: {later.message}") from later
            except MessageUnreadable as damage:
                log.error("event_not_shown", position=row.id, reason=damage.message)
        return found

    def _one(self, connection: Connection, row: Notification) -> Logged:
        """An event as it is known, or read; reading it costs more than to fetch its row."""
        key = row.id, str(row.originator_id), row.originator_version
        found = self._read.get(key)
        if found is None:
            event = stored_event(self._mapper, row)
            found = Logged(row.id, event, self._tags_of(connection, event.originator_id))
            self._read.keep(key, found)
        return found

    def _tags_of(self, connection: Connection, job_id: str) -> tuple[str, ...]:
        known = self._tags.get(job_id)
        if known is not None:
            return known
        state = _FIRST.run(connection, job_id=job_id).scalar()
        found = () if state is None else _readable_tags(job_id, state)
        self._tags.keep(job_id, found)
        return found


def _reached(connection: Connection, after: int, end: int, last: int) -> int:
    """How far one has read who has looked up to ``end``: places that nobody has count as read.

    A log that was restored goes on far behind its end, so that no place is given twice.
    """
    if end >= last:
        return max(end, after)
    following = _NEXT.run(connection, after=end).scalar()
    return end if following is None else int(following) - 1


def last_position(connection: Connection) -> int:
    """The end of the log; 0 when it is empty."""
    return int(_LAST.run(connection).scalar() or 0)


def _readable_tags(job_id: str, state: bytes) -> tuple[str, ...]:
    """The tags of a job, from its first event; none where that is damaged.

    It keeps nobody from the events of others, nor from those of the job that can be read.
    """
    try:
        return _tags_in(state)
    except (ValueError, TypeError, AttributeError) as error:
        log.error(
            "tags_not_known",
            job_id=job_id,
            reason=f"its first event is damaged ({type(error).__name__}: {error})",
            remedy="run `countermand audit verify`",
        )
        return ()


def _tags_in(state: bytes) -> tuple[str, ...]:
    spec = orjson.loads(state).get("spec")
    named = spec.get("tags", ()) if isinstance(spec, Mapping) else ()
    return tuple(str(tag) for tag in named)
