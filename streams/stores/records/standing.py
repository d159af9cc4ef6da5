"""Whether a record still stands as a job left it, and who changed it since."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from sqlalchemy import Connection, Dialect, bindparam, func, select

from domain.outcomes import Conflicted, Failed
from domain.records import Writer
from domain.reversal import PLAIN, Terms
from streams.stores.records.dialects import backend_of
from streams.stores.records.goals import Goal
from streams.stores.records.rows import Loaded, numbers
from streams.stores.schema import chunks, history, writers
from streams.stores.statements import Prepared, Row, prepare


@dataclass(frozen=True, slots=True)
class LaterWrite:
    """A write to a record after those that are to be undone.

    ``target`` is the chunk that it put back, when a chunk of an undo wrote.
    """

    version: int
    deleted: bool
    writer: Writer
    target: int | None = None


class Fate(Enum):
    """What becomes of a later write of the job that is undone.

    It is put back before (``GOES``), stands for good (``STAYS``), or may be put back by
    another undo (``WAITS``): a fault was in the way, or the undo comes to it later.
    """

    GOES = "goes"
    STAYS = "stays"
    WAITS = "waits"


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


def _stays(_: LaterWrite) -> Fate:
    return Fate.STAYS


def conflict_of(
    goal: Goal,
    later: Sequence[LaterWrite],
    present: Loaded,
    target: Writer,
    terms: Terms = PLAIN,
    fate: Callable[[LaterWrite], Fate] = _stays,
) -> Conflicted | Failed | None:
    """Why a record must be left alone; ``None`` when it stands as the target left it.

    Writes that were put back since do not count: of the target's own job, whose undo goes from
    the last chunk to the first but may have left some as they are, and of other jobs, which were
    undone before this one. ``fate`` says what becomes of the job's own writes that stand; who
    only foresees an undo knows which it will have put back until then. By force the writes of
    others are passed over, but never those of another tenant.
    """
    others = _of_others([write for write in later if not _own(write.writer, target)])
    foreign = any(write.writer.tenant != target.tenant for write in others)
    if others and (foreign or not terms.force):
        return _conflict(goal, others[-1], "after the job")
    own = _not_put_back([write for write in later if _own(write.writer, target)])
    left = [(write, told) for write in own if (told := fate(write)) is not Fate.GOES]
    if left:
        return _own_conflict(goal, left, terms)
    if own or terms.force:
        return None
    expected, gone = (later[-1].version, later[-1].deleted) if later else (goal.left, goal.gone)
    found = present.get(goal.id)
    if (None if found is None else found[0]) != (None if gone else expected):
        return Conflicted(goal.name, "", "changed outside of the records port")
    return None


def _not_put_back(writes: Sequence[LaterWrite]) -> list[LaterWrite]:
    """Of a job's writes those that no later one of them has put back; the last of each chunk."""
    standing: dict[int, LaterWrite] = {}
    for write in writes:
        if write.target in standing:
            del standing[write.target]
        else:
            standing.pop(write.writer.chunk, None)
            standing[write.writer.chunk] = write
    return list(standing.values())


def _of_others(writes: Sequence[LaterWrite]) -> list[LaterWrite]:
    """Those that stand, first to last; what is no job's is put back by nobody."""
    by_job: dict[str, list[LaterWrite]] = {}
    for write in writes:
        by_job.setdefault(write.writer.job_id, []).append(write)
    standing = by_job.pop("", [])
    standing += [left for each in by_job.values() for left in _not_put_back(each)]
    return sorted(standing, key=lambda write: write.version)


def _own_conflict(
    goal: Goal, left: Sequence[tuple[LaterWrite, Fate]], terms: Terms
) -> Conflicted | Failed:
    """The job itself wrote later: for good, or what another undo may put back."""
    staying = [write for write, fate in left if fate is Fate.STAYS]
    final = bool(staying) and not terms.partial
    write = staying[-1] if final else left[-1][0]
    found = _conflict(goal, write, f"by chunk {write.writer.chunk} of the same job")
    if final:
        return found
    return Failed(
        "written_later",
        f"{found.record} was {found.reason}; undo that first, or along with it",
        retryable=True,
    )


def _own(writer: Writer, target: Writer) -> bool:
    return bool(target.job_id) and writer.job_id == target.job_id


def _conflict(goal: Goal, write: LaterWrite, when: str) -> Conflicted:
    what = "deleted" if write.deleted else "changed"
    reason = f"{what} {when}, at version {write.version}"
    return Conflicted(goal.name, write.writer.name, reason)


def _write(row: Row) -> LaterWrite:
    _, version, deleted, *writer, target = row
    return LaterWrite(version, bool(deleted), Writer(*writer), target)


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
            chunks.c.target,
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
        .outerjoin(
            chunks, (chunks.c.job_id == writers.c.job_id) & (chunks.c.chunk == writers.c.chunk)
        )
        .where(func.coalesce(history.c.version, 0) > 0)
        .order_by(history.c.record_id, history.c.version)
    )
    return prepare(statement, dialect)
