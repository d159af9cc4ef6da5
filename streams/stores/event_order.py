"""Event order: each database's way to give out event ids in the order of the commits.

A reader of the notification log remembers the last id that it saw. It misses no event
only if no smaller id is committed later, so ids are taken by one transaction at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection

from streams.stores.chain import EventRow
from streams.stores.notifying import notify
from streams.stores.pipeline import FEW
from streams.stores.statements import run_sql, run_sql_ahead, run_sql_many

CHANNEL = "countermand_events"
"""What PostgreSQL notifies when events were committed; the payload is an :class:`Announced`."""

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
    """The last of the events that a transaction stored."""

    id: int
    job_id: str
    version: int

    def payload(self) -> str:
        """As it is sent."""
        return f"{self.id} {self.job_id} {self.version}"

    @classmethod
    def parse(cls, payload: str) -> Announced:
        """From what was sent."""
        number, job_id, version = payload.split(" ")
        return cls(int(number), job_id, int(version))


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
