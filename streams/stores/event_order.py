"""Event order: each database's way to give out event ids in the order of the commits.

A reader of the notification log remembers the last id that it saw. It misses no event
only if no smaller id is committed later, so ids are taken by one transaction at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from eventsourcing.persistence import StoredEvent
from sqlalchemy import Connection

from domain.events import ChunksClosed, ChunksPlanned, JobFinished
from streams.stores.chain import EventRow
from streams.stores.notifying import notify
from streams.stores.pipeline import FEW
from streams.stores.statements import run_sql, run_sql_ahead, run_sql_many

CHANNEL = "countermand_events"
_NO_VERSION = 2**31
"""What the column of versions does not hold, nor anything above it."""
"""What PostgreSQL notifies when events were committed; the payload is an :class:`Announced`."""

TOLD = frozenset(kind.alias for kind in (ChunksPlanned, ChunksClosed, JobFinished))
"""Events that hold nothing that a caller has said: numbers, digests, codes of errors, and who did
it in which tenant. Whoever may connect to the database could listen.
"""
MOST_TOLD = 4000
"""Bytes; PostgreSQL takes just below 8,000."""

_LOCK = 0x636F756E746573
_FROZEN_SECONDS = 3
NOT_FROZEN = f"SELECT set_config('idle_in_transaction_session_timeout', '{_FROZEN_SECONDS}s', true)"
"""For a transaction that holds up all others: so long and no longer may its process stand still."""

COLUMNS = (*EventRow._fields, "previous_hash", "hash")
_INSERT = f"INSERT INTO events ({', '.join(COLUMNS)}) VALUES"

# One round trip. No id is taken before the turn has come: each is computed for a joined row.
_NEXT_IN_TURN = (
    f"WITH turn AS MATERIALIZED ({NOT_FROZEN}, pg_advisory_xact_lock({_LOCK})) "  # noqa: S608
    "SELECT nextval(pg_get_serial_sequence('events', 'id')), "
    "(SELECT hash FROM events WHERE job_id = %s AND version = %s) "
    "FROM turn, generate_series(1, %s) ORDER BY 1"
)
_NEXT_ALONE = (
    "SELECT (SELECT seq FROM sqlite_sequence WHERE name = 'events'), "
    "(SELECT hash FROM events WHERE job_id = ? AND version = ?)"
)


def _marks(mark: str) -> str:
    return ", ".join([mark] * len(COLUMNS))


@dataclass(frozen=True, slots=True)
class Announced:
    """The last of the events that a transaction stored.

    ``told`` are all that it stored, in their order, where they are short and say nothing but how
    the work goes (:data:`TOLD`): who hears of them need not read them.
    """

    id: int
    job_id: str
    version: int
    told: tuple[StoredEvent, ...] = ()

    @classmethod
    def of(cls, number: int, stored: Sequence[StoredEvent]) -> Announced:
        """What a transaction has stored; the last has that id."""
        last = stored[-1]
        job_id = str(last.originator_id)
        plain = all(one.topic in TOLD and one.originator_id == job_id for one in stored)
        return cls(number, job_id, last.originator_version, tuple(stored) if plain else ())

    def payload(self) -> str:
        """As it is sent: a line, and one for each event unless that is too much."""
        head = f"{self.id} {self.job_id} {self.version}"
        lines = [f"{one.originator_version} {one.topic} {one.state.decode()}" for one in self.told]
        whole = "\n".join([head, *lines])
        return whole if len(whole.encode()) <= MOST_TOLD else head

    @classmethod
    def parse(cls, payload: str) -> Announced:
        """From what was sent; raises ValueError for what ``payload`` does not write."""
        head, *lines = payload.split("\n")
        number, job_id, version = head.split(" ")
        if not 0 < int(version) < _NO_VERSION:
            raise ValueError(f"no job has a version {version}")
        told = tuple(_told(job_id, line) for line in lines)
        return cls(int(number), job_id, int(version), told)


def _told(job_id: str, line: str) -> StoredEvent:
    version, alias, state = line.split(" ", 2)
    return StoredEvent(job_id, int(version), alias, state.encode())


class EventOrder(Protocol):
    """What the recorder asks of a database."""

    last_hash: str
    """Takes job id and version."""

    def take(
        self, connection: Connection, count: int, *, job_id: str, after: int
    ) -> tuple[Sequence[int], bytes | None]:
        """The next ids, rising, and the hash of the job's event before, if there is one.

        Nobody else gets an id before this transaction ends. Whoever appends has locked the job,
        so that event is committed before this asks.
        """
        ...

    def append(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Store events, each a tuple in the order of :data:`COLUMNS`, before what was sent."""
        ...

    def announce(self, connection: Connection, last: Announced) -> None:
        """Wake readers once the transaction is committed."""
        ...


class SqliteOrder:
    """One writer at a time by nature; readers of the process are woken by its own bus."""

    last_hash = "SELECT hash FROM events WHERE job_id = ? AND version = ?"

    def take(
        self, connection: Connection, count: int, *, job_id: str, after: int
    ) -> tuple[Sequence[int], bytes | None]:
        """After the largest id ever given out, even if that event is gone (AUTOINCREMENT)."""
        last, found = run_sql(connection, _NEXT_ALONE, (job_id, after)).rows[0]
        first = int(last or 0) + 1
        return range(first, first + count), found

    def append(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Row by row."""
        run_sql_many(connection, f"{_INSERT} ({_marks('?')})", rows)

    def announce(self, connection: Connection, last: Announced) -> None:
        """Nothing: no other process reads an embedded database."""


class PostgresOrder:
    """An advisory lock held until the commit; unlike a table lock it leaves vacuum alone.

    The server ends the session of a process that is frozen while it holds the lock.
    """

    last_hash = "SELECT hash FROM events WHERE job_id = %s AND version = %s"

    def take(
        self, connection: Connection, count: int, *, job_id: str, after: int
    ) -> tuple[Sequence[int], bytes | None]:
        """From the sequence; a rolled back transaction leaves a gap, which harms nobody."""
        found = run_sql_ahead(connection, _NEXT_IN_TURN, (job_id, after, count)).rows
        return [number for number, _ in found], found[0][1]

    def append(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """A few a statement, which is prepared for each number of them.

        After the driver's mode for many the server would not notice that this process is frozen.
        """
        row = f"({_marks('%s')})"
        for first in range(0, len(rows), FEW):
            few = rows[first : first + FEW]
            values = [value for each in few for value in each]
            run_sql_ahead(connection, f"{_INSERT} {', '.join([row] * len(few))}", values)

    def announce(self, connection: Connection, last: Announced) -> None:
        """PostgreSQL sends it at the commit, and folds equal ones of a transaction."""
        notify(connection, CHANNEL, last.payload())


ORDERS: dict[str, EventOrder] = {"sqlite": SqliteOrder(), "postgresql": PostgresOrder()}
"""By the name of SQLAlchemy's dialect."""
