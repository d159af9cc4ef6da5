"""Workers: who works for which systems, and how many messages at a time.

A worker says again and again that it is there; one that was silent for a while counts as
dead. Places for work in flight follow from the slots of those that live, and whoever is
silent in the midst of a transaction loses it.
"""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import psutil  # type: ignore[import-untyped]  # it ships no types
from sqlalchemy import Connection, Dialect, bindparam, delete, select
from sqlalchemy.sql.expression import ClauseElement

from domain.ports import Clock
from streams.stores.schema import workers
from streams.stores.statements import INSERTS, Statement, fixed, run_sql

ALIVE_SECONDS = 5.0
"""How long a worker may be silent and still count, whatever leases it is given."""
BEAT_SECONDS = 1.5
"""Between two words of a worker at most: it counts as well when two of them are lost."""
SESSION_LENGTH = 36
"""The end of a worker's name, an id of its own, is what the database calls its connections."""
KEPT_SECONDS = 3600.0
"""How long a worker that died is kept, for whoever wants to know what it was."""


Partitions = Mapping[str, Sequence[int]]
"""Partitions by topic."""


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker; ``name`` ends with an id that no other has, dead or alive. Memory is in bytes.

    ``held_since`` is since when messages wait for it to have less than its budget; ``holds``
    names for each slot the partitions it holds by topic, as far as it has said.
    """

    name: str
    systems: tuple[str, ...]
    slots: int
    process: int
    host: str = ""
    rss: int = 0
    cpu_seconds: float = 0.0
    started_at: float = 0.0
    seen_at: float = 0.0
    memory_budget: int = 0
    held_since: float | None = None
    holds: tuple[Partitions, ...] = ()


SERVES = 0.1
"""Seconds that a measure of memory serves: it is asked for at every message."""


class ResidentMemory:
    """Tells the resident memory of this process in bytes, as it was 0.1 s ago at most."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._process = psutil.Process()
        self._measured_at = 0.0
        self._bytes = 0

    def __call__(self) -> int:
        """Measure, unless that was done just now."""
        now = self._clock.monotonic()
        if now - self._measured_at >= SERVES or not self._bytes:
            self._bytes = int(self._process.memory_info().rss)
            self._measured_at = now
        return self._bytes


def measured(worker: WorkerRow) -> WorkerRow:
    """The worker with what this process, which must be the worker's, uses by now."""
    process = psutil.Process()
    with process.oneshot():
        used = process.cpu_times()
        return dataclasses.replace(
            worker,
            host=socket.gethostname(),
            rss=process.memory_info().rss,
            cpu_seconds=used.user + used.system,
        )


_SAID_AGAIN = ("rss", "cpu_seconds", "seen_at", "memory_budget", "held_since", "holds")
_COLUMNS = [column.name for column in workers.columns]


def _beat(dialect: Dialect) -> ClauseElement:
    row = INSERTS[dialect.name](workers).values({name: bindparam(name) for name in _COLUMNS})
    again = {name: row.excluded[name] for name in _SAID_AGAIN}
    return row.on_conflict_do_update(index_elements=[workers.c.name], set_=again)  # type: ignore[no-any-return]


_BEAT = Statement(_beat)
_LIVE = fixed(
    select(*workers.columns).where(workers.c.seen_at >= bindparam("since")).order_by(workers.c.name)
)
_FORGET = fixed(delete(workers).where(workers.c.name == bindparam("worker")))
_END_FROZEN = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    JOIN workers ON right(workers.name, %(length)s) = application_name
    WHERE datname = current_database() AND state = 'idle in transaction'
    AND state_change < clock_timestamp() - make_interval(secs => %(still)s)
    AND seen_at < %(before)s
"""
_DEAD = select(workers.c.name).where(workers.c.seen_at < bindparam("before"))
_REMOVE = fixed(delete(workers).where(workers.c.name.in_(_DEAD.limit(bindparam("most")))))


def beat_pause(heartbeat: float) -> float:
    """Seconds between two words of a worker whose leases have such a ``heartbeat``."""
    return min(heartbeat, BEAT_SECONDS)


def beat(connection: Connection, worker: WorkerRow, now: float) -> None:
    """The worker is there; its first word makes its row."""
    row = dataclasses.asdict(worker)
    row |= {"systems": " ".join(worker.systems), "started_at": now, "seen_at": now}
    row["holds"] = orjson.dumps(worker.holds).decode()
    _BEAT.run(connection, **row)


def live_workers(connection: Connection, now: float) -> list[WorkerRow]:
    """Those heard of lately, by name."""
    rows = (
        dict(zip(_COLUMNS, row, strict=True))
        for row in _LIVE.run(connection, since=now - ALIVE_SECONDS)
    )
    return [_worker(row) for row in rows]


def _worker(row: dict[str, Any]) -> WorkerRow:
    systems, holds = tuple(row["systems"].split()), tuple(orjson.loads(row["holds"]))
    return WorkerRow(**row | {"systems": systems, "holds": holds})


def end_frozen(connection: Connection, now: float) -> int:
    """End transactions of workers that are silent and do nothing within them; returns how many.

    A process that is stopped or cut off keeps its locks, and no pause or cancel of the job
    could be confirmed. A handler that only takes long does not silence its worker. On
    PostgreSQL only: a file has no other processes.
    """
    given = {"length": SESSION_LENGTH, "before": now - ALIVE_SECONDS, "still": ALIVE_SECONDS}
    return len(run_sql(connection, _END_FROZEN, given).rows)


def slots_of(workers: Iterable[WorkerRow], system: str) -> int:
    """How many messages of a system these workers work at a time."""
    return sum(worker.slots for worker in workers if system in worker.systems)


def slots_holding(workers: Sequence[WorkerRow], topic: str) -> list[Sequence[int]]:
    """The partitions of a topic that each slot of these workers holds.

    None while one of them does not say, as those of the release before: it would get no work.
    """
    if not all(worker.holds for worker in workers):
        return []
    return [slot[topic] for worker in workers for slot in worker.holds if slot.get(topic)]


def forget(connection: Connection, name: str) -> None:
    """A worker has ended in peace."""
    _FORGET.run(connection, worker=name)


def remove_dead(connection: Connection, now: float, *, most: int = 1000) -> int:
    """Forget those that have long been silent, a number at a time; returns how many."""
    return _REMOVE.run(connection, before=now - KEPT_SECONDS, most=most).count
