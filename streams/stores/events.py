"""Events: the recorders of the ``eventsourcing`` library over the caller's connection.

Written by :class:`domain.jobs.Jobs`, inside the transaction that also writes chunk rows
and the decision; read by replay, by the outbox and by the projector. Each row carries
the hash chain of its job (:mod:`streams.stores.chain`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn, Self
from uuid import UUID

import orjson
from eventsourcing.persistence import (
    AggregateRecorder,
    IntegrityError,
    Notification,
    Recording,
    StoredEvent,
)
from sqlalchemy import Connection, Integer, Table, bindparam, exc, func, select, text, union_all

from domain.jobs import JobRecorder
from streams.stores.chain import GENESIS, EventRow, Head, event_hash
from streams.stores.database import Database
from streams.stores.event_order import CHANNEL, ORDERS, Announced, EventOrder
from streams.stores.schema import events, snapshots
from streams.stores.statements import (
    Row,
    Statement,
    among,
    fixed,
    listed,
    run_sql_ahead,
)

KEPT_SNAPSHOTS = 2
"""The latest of each job, and the one before it for who reads a slightly older version."""

_LARGEST = 2**31 - 1
_LAST_ID = 2**63 - 1
_NOTIFICATIONS = (
    select(events.c.job_id, events.c.version, events.c.alias, events.c.state, events.c.id)
    .where(events.c.id >= bindparam("first"), events.c.id <= bindparam("last"))
    .order_by(events.c.id)
    .limit(bindparam("most", type_=Integer))
)
_NOTIFIED = fixed(_NOTIFICATIONS)
_LAST = fixed(select(func.max(events.c.id)))


def _versions(table: Table, *, desc: bool) -> Statement:
    version = table.c.version
    return fixed(
        select(table.c.job_id, version, table.c.alias, table.c.state)
        .where(
            table.c.job_id == bindparam("job"),
            version > bindparam("above"),
            version <= bindparam("last"),
        )
        .order_by(version.desc() if desc else version)
        .limit(bindparam("most", type_=Integer))
    )


_SOME = Statement(
    lambda dialect: (
        select(events.c.job_id, events.c.version, events.c.alias, events.c.state)
        .where(events.c.job_id == bindparam("job"), among(events.c.version, dialect))
        .order_by(events.c.version)
    )
)
_EVENTS = {desc: _versions(events, desc=desc) for desc in (False, True)}
_SNAPSHOTS = {desc: _versions(snapshots, desc=desc) for desc in (False, True)}


def _latest() -> Statement:
    kept, event = snapshots.c, events.c
    covers = (kept.job_id == bindparam("job"), kept.version <= bindparam("last"))
    columns = select(kept.job_id, kept.version, kept.alias, kept.state)
    snapshot = columns.where(*covers).order_by(kept.version.desc()).limit(1).subquery()
    covered = select(func.max(kept.version)).where(*covers).scalar_subquery()
    since = select(event.job_id, event.version, event.alias, event.state).where(
        event.job_id == bindparam("job"),
        event.version > func.coalesce(covered, 0),
        event.version <= bindparam("last"),
    )
    return fixed(union_all(select(snapshot), since).order_by("version"))


_LATEST = _latest()

# Two processes may take the snapshot of the same version, which says the same.
_INSERT_SNAPSHOT = text(
    "INSERT INTO snapshots (job_id, version, alias, state) "
    "VALUES (:job_id, :version, :alias, :state) ON CONFLICT (job_id, version) DO NOTHING"
)


class EventRecorder(JobRecorder):
    """Table ``events``. Ids rise in the order of the commits, so a reader misses none."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert_events(
        self,
        stored_events: Sequence[StoredEvent],
        *,
        connection: Connection | None = None,
        **_kwargs: Any,
    ) -> Sequence[int]:
        """Append on the caller's connection; returns the ids (:class:`EventId`), rising.

        Raises the library's IntegrityError when a version is taken or its predecessor
        is not there: the caller must then roll back.
        """
        if connection is None:
            raise TypeError("events are written with what they caused: save(job, connection=...)")
        if not stored_events:
            return ()
        order = ORDERS[connection.dialect.name]
        job_id, after = _place(stored_events[0])
        numbers, last = order.take(connection, len(stored_events), job_id=job_id, after=after)
        known = {} if last is None else {(job_id, after): bytes(last)}
        chain = list(_chained(connection, order, stored_events, numbers, known))
        rows = [(*row, previous, found) for row, previous, found in chain]
        try:
            order.append(connection, rows)
        except exc.IntegrityError as error:
            raise IntegrityError(f"somebody else appended first ({error.orig})") from error
        order.announce(connection, Announced.of(numbers[-1], stored_events))
        return [EventId(Head(row.job_id, row.version, row.id, found)) for row, _, found in chain]

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
        connection: Connection | None = None,
    ) -> Sequence[StoredEvent]:
        """The events of a job with ``gt < version <= lte``."""
        span = _Span(str(originator_id), gt, lte, limit)
        return _stored(_rows(self._database, connection, partial(span.read, _EVENTS[desc])))

    def select_latest(self, originator_id: str, *, lte: int | None = None) -> Sequence[StoredEvent]:
        """The latest snapshot of a job up to that version, if any, and the events after it."""
        last = _LARGEST if lte is None else lte
        answer = self._database.read_now(
            lambda connection: _LATEST.run(connection, job=originator_id, last=last), single=True
        )
        return _stored(answer.rows)

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
        connection: Connection | None = None,
    ) -> Sequence[Notification]:
        """Events of all jobs in the order of their commits; ids may have gaps."""
        first = 0 if start is None else start if inclusive_of_start else start + 1
        last = _LAST_ID if stop is None else stop

        def read(connection: Connection) -> Sequence[Row]:
            if topics:
                wanted = _NOTIFICATIONS.where(events.c.alias.in_(topics))
                given = {"first": first, "last": last, "most": limit}
                return [tuple(row) for row in connection.execute(wanted, given)]
            return _NOTIFIED.run(connection, first=first, last=last, most=limit).rows

        return [Notification(*row) for row in _rows(self._database, connection, read)]

    def max_notification_id(self, *, connection: Connection | None = None) -> int | None:
        """The id of the last committed event; None when there is none."""
        (row,) = _rows(self._database, connection, lambda connection: _LAST.run(connection).rows)
        return None if row[0] is None else int(row[0])

    @staticmethod
    def heads_of(recordings: Iterable[Recording[str]]) -> list[Head]:
        """The last of the stored events of each job; for who signs them after the commit."""
        last: dict[str, Head] = {}
        for recording in recordings:
            if isinstance(recording.notification.id, EventId):
                head = recording.notification.id.head
                last[head.job_id] = head
        return list(last.values())

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> NoReturn:
        """Not offered: a blocking iterator would hold a thread and a connection for ever."""
        raise TypeError(
            f"no subscription after {gt} to {list(topics)}: read select_notifications, and "
            f"wait on the event bus or LISTEN {CHANNEL}"
        )


class SnapshotRecorder(AggregateRecorder):
    """Table ``snapshots``: the latest few of each job. Never the truth, only a shortcut."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert_events(
        self,
        stored_events: Sequence[StoredEvent],
        *,
        connection: Connection | None = None,
        **_kwargs: Any,
    ) -> Sequence[int]:
        """Keep snapshots and drop older ones; without a connection, in an own transaction."""

        def keep(connection: Connection) -> None:
            for stored in stored_events:
                _keep(connection, stored)

        if connection is None:
            self._database.write_now(keep)
        else:
            keep(connection)
        return ()

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
        connection: Connection | None = None,
    ) -> Sequence[StoredEvent]:
        """The kept snapshots of a job with ``gt < version <= lte``."""
        span = _Span(str(originator_id), gt, lte, limit)
        return _stored(_rows(self._database, connection, partial(span.read, _SNAPSHOTS[desc])))


class EventId(int):
    """The id of an event just stored, which remembers the head that the event became."""

    head: Head

    def __new__(cls, head: Head) -> Self:
        """The head's id."""
        number = super().__new__(cls, head.id)
        number.head = head
        return number


@dataclass(frozen=True, slots=True)
class _Span:
    """Which versions of a job, and how many of them at most."""

    job_id: str
    gt: int | None
    lte: int | None
    limit: int | None

    def read(self, statement: Statement, connection: Connection) -> Sequence[Row]:
        return statement.run(
            connection,
            job=self.job_id,
            above=0 if self.gt is None else self.gt,
            last=_LARGEST if self.lte is None else self.lte,
            most=_LARGEST if self.limit is None else self.limit,
        ).rows


def some_events(connection: Connection, job_id: str, versions: Sequence[int]) -> list[StoredEvent]:
    """Those events of a job, in order."""
    return _stored(_SOME.run(connection, job=job_id, numbers=listed(versions)).rows)


def _rows(
    database: Database, connection: Connection | None, read: Callable[[Connection], Sequence[Row]]
) -> Sequence[Row]:
    """On the caller's connection, or by itself."""
    return database.read_now(read, single=True) if connection is None else read(connection)


def _stored(rows: Sequence[Row]) -> list[StoredEvent]:
    return [StoredEvent(*row) for row in rows]


def _chained(
    connection: Connection,
    order: EventOrder,
    stored_events: Sequence[StoredEvent],
    numbers: Sequence[int],
    known: Mapping[tuple[str, int], bytes],
) -> Iterator[tuple[EventRow, bytes, bytes]]:
    """Each row to insert, with the hash before it and its own, which takes that one in."""
    hashes = dict(known)
    for number, stored in zip(numbers, stored_events, strict=True):
        job_id, before = _place(stored)
        previous = hashes.get((job_id, before)) or _last_hash(connection, order, job_id, before)
        state = orjson.loads(stored.state)
        row = EventRow(
            id=number,
            job_id=job_id,
            version=before + 1,
            alias=stored.topic,
            tenant=state["tenant"],
            actor=state["actor"],
            command_id=state["command_id"],
            state=stored.state,
        )
        found = hashes[job_id, row.version] = event_hash(previous, row)
        yield row, previous, found


def _place(stored: StoredEvent) -> tuple[str, int]:
    """The job of an event, and the version that it comes after."""
    return str(stored.originator_id), stored.originator_version - 1


def _last_hash(connection: Connection, order: EventOrder, job_id: str, version: int) -> bytes:
    if version == 0:
        return GENESIS
    found = run_sql_ahead(connection, order.last_hash, (job_id, version)).scalar()
    if found is None:
        raise IntegrityError(f"job {job_id} has no version {version} to append to")
    return bytes(found)


def _keep(connection: Connection, stored: StoredEvent) -> None:
    table = snapshots.c
    job_id, version = str(stored.originator_id), stored.originator_version
    values = {"job_id": job_id, "version": version, "alias": stored.topic, "state": stored.state}
    connection.execute(_INSERT_SNAPSHOT, values)
    newest = (
        select(table.version)
        .where(table.job_id == job_id)
        .order_by(table.version.desc())
        .limit(KEPT_SNAPSHOTS)
    )
    old = snapshots.delete().where(table.job_id == job_id, table.version.not_in(newest))
    connection.execute(old)
