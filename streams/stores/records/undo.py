"""Undo: put records back as they were before a chunk wrote to them.

Called by :mod:`streams.worker` for each chunk of an undo, in the transaction that stores
its outcome. Set-based: the records are read, compared and written together; only where a
constraint refuses, halves are tried until the item at fault is alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby

from domain.errors import RecordRefused
from domain.outcomes import Conflicted, Failed, Restored, UndoResult
from domain.records import Writer
from domain.reversal import PLAIN, Terms
from streams.stores.records import images as before
from streams.stores.records.ahead import Ahead
from streams.stores.records.goals import Goal, Group, groups_of
from streams.stores.records.history import Journal
from streams.stores.records.images import Images
from streams.stores.records.obstacles import obstructed
from streams.stores.records.rebuild import Rebuild, Task, Way
from streams.stores.records.refusals import refusals
from streams.stores.records.scope import savepoint
from streams.stores.records.standing import Fate, LaterWrite, conflict_of
from streams.stores.records.together import Together


@dataclass(frozen=True, slots=True)
class Restoration:
    """What became of each item that had written, and what the undo itself has overwritten.

    ``images`` undo the undo; ``None`` when nothing was put back.
    """

    results: dict[int, UndoResult]
    images: bytes | None


def restore(
    ahead: Ahead,
    images: bytes,
    writer: Writer,
    now: float,
    *,
    target: Writer,
    only: Collection[int] | None = None,
    terms: Terms = PLAIN,
) -> Restoration:
    """Put back what ``target`` has overwritten, as new versions written by ``writer``.

    ``images`` are those that the target's writes left, ``now`` seconds since the epoch. A
    record is put back if nobody but the target's job wrote to it since; an item is put back
    whole or not at all. ``only``, when given, are the positions to put back: others were
    settled by an earlier undo. ``terms`` say what may be overwritten.
    """
    plan, goals = ahead.decoded(images)
    undo = _Undo(ahead, (writer, now), (target, terms), goals)
    ready: list[Group] = []
    for group in groups_of(goals, plan.together):
        if only is not None and not any(position in only for position in group.positions):
            continue
        fault = undo.fault_of(group)
        if fault is None:
            ready.append(group)
        else:
            undo.settle(group, fault)
    undo.put_back(ready)
    results = undo.results
    if only is not None:
        results = {position: found for position, found in results.items() if position in only}
    ahead.unsettled.note(target.job_id, target.chunk, results.values())
    return Restoration(results, before.encode(undo.images))


class _Undo:
    """The state of one undo: what was read, what was settled, what was overwritten."""

    def __init__(
        self,
        ahead: Ahead,
        by: tuple[Writer, float],
        of: tuple[Writer, Terms],
        goals: Sequence[Goal],
    ) -> None:
        writer, now = by
        self.results: dict[int, UndoResult] = {}
        self.images = Images()
        self._connection = ahead.connection
        self._unsettled = ahead.unsettled
        self._writer = writer
        self._target, self._terms = of
        self._tables = ahead.tables
        self._shapes = ahead.shapes
        self._known = ahead.take(goals)
        self._journal = Journal(
            ahead.connection, writer, now, Together(ahead.connection, tables=ahead.table_ids)
        )
        self._rebuild = Rebuild(ahead.connection, self._journal, self.images, writer.tenant)

    def fault_of(self, group: Group) -> UndoResult | None:
        """Why a group must be left alone; ``None`` when all of its records stand."""
        for goal in group.goals:
            if goal.table not in self._shapes:
                return table_unknown(goal.table)
            known = self._known[goal.table]
            later = known.later.get(goal.id, ())
            present = known.present
            conflict = conflict_of(goal, later, present, self._target, self._terms, self._fate)
            if conflict is not None:
                return conflict
        return None

    def _fate(self, write: LaterWrite) -> Fate:
        """What becomes of a later write of the job, which was not put back."""
        job_id, chunk = write.writer.job_id, write.writer.chunk
        waits = self._unsettled.has(self._connection, job_id, chunk)
        return Fate.WAITS if waits else Fate.STAYS

    def settle(self, group: Group, result: UndoResult) -> None:
        """The result of all items of a group."""
        for position in group.positions:
            self.results[position] = result

    def put_back(self, groups: Sequence[Group]) -> None:
        """Put groups back, all at once if the constraints let us."""
        waiting = [groups] if groups else []
        while waiting:
            part = waiting.pop()
            try:
                with self._scope():
                    self._write(part)
            except RecordRefused as refused:
                if len(part) > 1:
                    middle = len(part) // 2
                    waiting += [part[middle:], part[:middle]]
                else:
                    self.settle(part[0], self._obstructed(part[0], refused))
            else:
                for group in part:
                    self.settle(group, _RESTORED)
                    if len(group.positions) > 1 or not self._wrote(group):
                        self.images.together.append(group.positions)

    @contextmanager
    def _scope(self) -> Iterator[None]:
        images, journal = self.images.mark(), self._journal.mark()
        try:
            with savepoint(self._connection):
                yield
        except BaseException:
            self.images.rewind(images)
            self._journal.rewind(journal)
            raise

    def _write(self, groups: Iterable[Group]) -> None:
        """In the reverse order of the writes, neighbours of one kind together."""
        tasks = [self._task(goal) for group in groups for goal in group.goals]
        tasks.sort(key=_last_first)
        for (table, way, _), run in groupby(tasks, key=_kind):
            with refusals(table):
                self._rebuild.run(way, self._shapes[table], list(run))

    def _task(self, goal: Goal) -> Task:
        known = self._known[goal.table]
        found = known.present.get(goal.id)
        later = known.later.get(goal.id)
        latest = later[-1].version if later else goal.left
        if found is not None:
            # What was changed past the port has a version that no history tells.
            latest = max(latest, found[0])
        return Task(goal, None if found is None else found[1], latest + 1)

    def _obstructed(self, group: Group, refused: RecordRefused) -> Conflicted:
        """The conflict of a group that a constraint refuses."""
        found = obstructed(self._connection, group.goals, self._writer.tenant, self._tables)
        if found is not None:
            return found
        reason = f"constraint {refused.constraint}: {refused.message}"
        return Conflicted(group.goals[0].name, "", reason)

    def _wrote(self, group: Group) -> bool:
        return any(
            goal.cells is not None or goal.id in self._known[goal.table].present
            for goal in group.goals
        )


_RESTORED = Restored()


def table_unknown(name: str) -> Failed:
    """Why nothing of a table can be put back that no operation declares any more."""
    return Failed(
        "table_unknown",
        f"no operation declares the table {name}; install its plug-in again",
        retryable=True,
    )


def _last_first(task: Task) -> tuple[int, str, Way]:
    return -task.goal.order, task.goal.table, task.way


def _kind(task: Task) -> tuple[str, Way, tuple[str, ...]]:
    return task.goal.table, task.way, task.goal.columns
