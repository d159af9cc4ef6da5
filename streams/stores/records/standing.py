"""Whether a record still stands as a job left it, and who changed it since."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import Connection, Dialect, bindparam, func, select

from domain.outcomes import Conflicted
from domain.records import Writer
from streams.stores.records.dialects import backend_of
from streams.stores.records.goals import Goal
from streams.stores.records.rows import Loaded, numbers
from streams.stores.schema import history, writers
from streams.stores.statements import Prepared, Row, prepare


@dataclass(frozen=True, slots=True)
class LaterWrite:
    """A write to a record after those that are to be undone."""

    version: int
    deleted: bool
    writer: Writer


def later_writes(
    connection: Connection, table: int, goals: Sequence[Goal]
) -> dict[int, list[LaterWrite]]:
    """By record, its writes after the version that the job left, first to last.

    ``table`` is its number in the history.
    """
    found = _later(connection.dialect).run(
        connection,
        table=table,
        **numbers([(goal.id, goal.left) for goal in goals]),
    )
    later: dict[int, list[LaterWrite]] = {}
    for row in found:
        later.setdefault(row[0], []).append(_write(row))
    return later


def _never(_: LaterWrite) -> bool:
    return False


def conflict_of(
    goal: Goal,
    later: Sequence[LaterWrite],
    present: Loaded,
    target: Writer,
    undone: Callable[[LaterWrite], bool] = _never,
) -> Conflicted | None:
    """Why a record must be left alone; ``None`` when it stands as the target left it.

    Writes of the target's own job do not count if a later generation of it, which is an
    undo, wrote last: undo goes from the last chunk to the first. Who only foresees that
    undo says which of the writes it will have ``undone`` until then.
    """
    others = [write for write in later if not _own(write.writer, target)]
    if others:
        return _conflict(goal, others[-1], "after the job")
    if later and later[-1].writer.generation <= target.generation:
        if any(undone(write) for write in later):
            return None
        return _conflict(goal, later[-1], f"by chunk {later[-1].writer.chunk} of the same job")
    expected, gone = (later[-1].version, later[-1].deleted) if later else (goal.left, goal.gone)
    found = present.get(goal.id)
    if (None if found is None else found[0]) != (None if gone else expected):
        return Conflicted(goal.name, "", "changed outside of the records port")
    return None


def _own(writer: Writer, target: Writer) -> bool:
    return bool(target.job_id) and writer.job_id == target.job_id


def _conflict(goal: Goal, write: LaterWrite, when: str) -> Conflicted:
    what = "deleted" if write.deleted else "changed"
    reason = f"{what} {when}, at version {write.version}"
    return Conflicted(goal.name, write.writer.name, reason)


def _write(row: Row) -> LaterWrite:
    _, version, deleted, *writer = row
    return LaterWrite(version, bool(deleted), Writer(*writer))


@lru_cache(maxsize=16)
def _later(dialect: Dialect) -> Prepared:
    left = backend_of(dialect).numbers(2)
    statement = (
        select(
            history.c.record_id,
            history.c.version,
            history.c.deleted,
            writers.c.tenant,
            writers.c.actor,
            writers.c.job_id,
            writers.c.generation,
            writers.c.chunk,
        )
        # Outer joins, and a condition that does not tell SQLite that they could be inner ones:
        # else it walks the whole history once for each goal.
        .select_from(left)
        .outerjoin(
            history,
            (history.c.table_id == bindparam("table"))
            & (history.c.record_id == left.c.n0)
            & (history.c.version > left.c.n1),
        )
        .outerjoin(writers, writers.c.writer == history.c.writer)
        .where(func.coalesce(history.c.version, 0) > 0)
        .order_by(history.c.record_id, history.c.version)
    )
    return prepare(statement, dialect)
