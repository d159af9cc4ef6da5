"""Worker use: what workers have used of processor and memory, kept as sums over time.

Each worker adds its own to the rows of all that serve the same systems: to one of ten seconds,
of which a day is kept, and to one of an hour, of which a little more than a year is. So their
number is bounded by time alone, however many workers come and go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, and_, case, delete, or_, select, tuple_

from streams.stores.schema_reports import worker_use
from streams.stores.statements import INSERTS
from streams.stores.workers import WorkerRow

STEP: Final = 10
HOUR: Final = 3600
KEPT: Final = {STEP: 24 * HOUR, HOUR: 400 * 24 * HOUR}
"""For how many seconds rows of a width are kept."""
UNSEEN: Final = 600.0
"""Of a process that stood still for longer than this nobody knows what it used when."""

_SUMS: Final = ("worker_seconds", "cpu_seconds", "memory_seconds")


@dataclass(frozen=True, slots=True)
class Used:
    """What workers used in ``width`` seconds from ``start`` on; memory is in bytes."""

    width: int
    start: int
    worker_seconds: float = 0.0
    cpu_seconds: float = 0.0
    memory_seconds: float = 0.0
    memory_peak: int = 0

    def and_also(self, other: Used) -> Used:
        """Both together; the time is that of the first."""
        return Used(
            self.width,
            self.start,
            self.worker_seconds + other.worker_seconds,
            self.cpu_seconds + other.cpu_seconds,
            self.memory_seconds + other.memory_seconds,
            max(self.memory_peak, other.memory_peak),
        )

    def workers(self, seconds: float) -> float:
        """How many there were on the average of so many seconds."""
        return self.worker_seconds / seconds

    def cpu_percent(self, seconds: float) -> float:
        """What they used of processors, all together; 100 is one processor."""
        return 100.0 * self.cpu_seconds / seconds

    def memory(self, seconds: float) -> int:
        """What they had of memory on the average, all together."""
        return round(self.memory_seconds / seconds)


def used_between(before: WorkerRow, after: WorkerRow) -> Iterator[Used]:
    """What a worker used between two looks, in pieces that lie in one step and one hour each."""
    since, until = before.seen_at, after.seen_at
    whole = until - since
    if not 0.0 < whole <= UNSEEN:
        return
    cpu = max(0.0, after.cpu_seconds - before.cpu_seconds)
    for width in KEPT:
        for start in range(int(since // width) * width, int(-(-until // width)) * width, width):
            seconds = min(until, start + width) - max(since, start)
            yield Used(
                width,
                start,
                worker_seconds=seconds,
                cpu_seconds=cpu * seconds / whole,
                memory_seconds=after.rss * seconds,
                memory_peak=after.rss,
            )


def add(connection: Connection, systems: Sequence[str], used: Iterable[Used]) -> None:
    """Add what a worker of these systems used to what the others did."""
    rows = [
        {
            "width": each.width,
            "start": each.start,
            "systems": " ".join(sorted(systems)),
            "worker_seconds": each.worker_seconds,
            "cpu_seconds": each.cpu_seconds,
            "memory_seconds": each.memory_seconds,
            "memory_peak": each.memory_peak,
        }
        # Everybody takes the locks in the same order.
        for each in sorted(used, key=lambda one: (one.width, one.start))
    ]
    if not rows:
        return
    statement = INSERTS[connection.dialect.name](worker_use)
    new, old = statement.excluded, worker_use.c
    sums = {name: old[name] + new[name] for name in _SUMS}
    peak = case((new.memory_peak > old.memory_peak, new.memory_peak), else_=old.memory_peak)
    changed = statement.on_conflict_do_update(
        index_elements=[*worker_use.primary_key.columns], set_={**sums, "memory_peak": peak}
    )
    connection.execute(changed, rows)


def by_hour(connection: Connection, system: str, first: int, end: int) -> dict[int, Used]:
    """What the workers of a system used, by the second with which an hour begins."""
    columns = worker_use.c
    where = and_(columns.width == HOUR, columns.start >= first, columns.start < end)
    return {start: used for (_, start), used in _found(connection, system, where).items()}


def at_times(
    connection: Connection, system: str, times: Iterable[float], now: float
) -> dict[float, Used]:
    """What the workers of a system used at each of some times: in ten seconds, or in the hour.

    A time of which nothing is kept, or not yet, is left out.
    """
    wanted = {time: list(_over(time, now)) for time in times}
    rows = sorted({row for rows in wanted.values() for row in rows})
    key = tuple_(worker_use.c.width, worker_use.c.start)
    found = _found(connection, system, key.in_(rows)) if rows else {}
    told = {
        time: next((row for row in rows if row in found), None) for time, rows in wanted.items()
    }
    return {time: found[row] for time, row in told.items() if row is not None}


def _over(time: float, now: float) -> Iterator[tuple[int, int]]:
    """The step and the hour of a time, as far as they are over."""
    for width in KEPT:
        start = int(time // width) * width
        if start + width <= now:
            yield width, start


def remove_old(connection: Connection, now: float) -> int:
    """Forget what is older than it is kept for; returns how many rows that were."""
    columns = worker_use.c
    old = [and_(columns.width == w, columns.start < now - kept) for w, kept in KEPT.items()]
    return connection.execute(delete(worker_use).where(or_(*old))).rowcount


def _found(connection: Connection, system: str, where: object) -> dict[tuple[int, int], Used]:
    columns = worker_use.c
    wanted = (columns.width, columns.start, *(columns[n] for n in (*_SUMS, "memory_peak")))
    found: dict[tuple[int, int], Used] = {}
    for systems, *row in connection.execute(select(columns.systems, *wanted).where(where)):  # type: ignore[arg-type]
        if system in systems.split():
            used = Used(*row)
            before = found.get((used.width, used.start))
            found[used.width, used.start] = used if before is None else before.and_also(used)
    return found
