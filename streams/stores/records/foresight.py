"""Foresight: what an undo of a job would find, chunk by chunk, with nothing written or locked.

Goes through the chunks as the undo would, the last one first, and decides by the same
rules. An undo sees what the one before it has written; here it is remembered which records
would stay as they are, and who asks for them later is told.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial

from sqlalchemy import Connection, Table

from domain.outcomes import Restored, UndoResult
from domain.records import Writer
from domain.reversal import PLAIN, Terms
from streams.stores.records.ahead import Ahead, Known
from streams.stores.records.foreseen import Scene, obstacles_of
from streams.stores.records.goals import Goal, Group, RecordKey, groups_of
from streams.stores.records.obstacles import Obstacle, conflict_with
from streams.stores.records.standing import Fate, LaterWrite, conflict_of
from streams.stores.records.undo import table_unknown
from streams.stores.records.unsettled import Unsettled

_RESTORED = Restored()


class Foresight:
    """Foresees the undo of one job; ``tables`` are all record tables by name."""

    def __init__(self, tables: Mapping[str, Table], tenant: str, terms: Terms = PLAIN) -> None:
        self._terms = terms
        self._tables = tables
        self._tenant = tenant
        self._seen: set[int] = set()
        self._unsettled = Unsettled()
        self._staying: dict[tuple[int, str], array[int]] = {}
        """By chunk and table, the sorted ids of records that would not be put back."""

    def foresee(
        self, connection: Connection, images: bytes, target: Writer, only: Collection[int]
    ) -> dict[int, UndoResult]:
        """What would become of the items of a chunk, by position, as of now.

        The next call must be for the chunk that is undone after it.
        """
        ahead = Ahead(connection, self._tables, self._tenant, locked=False)
        plan, goals = ahead.decoded(images)
        known = ahead.take(goals)
        ready: list[Group] = []
        staying: list[Goal] = []
        results: dict[int, UndoResult] = {}
        for group in groups_of(goals, plan.together):
            if not any(position in only for position in group.positions):
                staying += group.goals
                continue
            fault = self._fault_of(connection, group, known, target)
            if fault is None:
                ready.append(group)
            else:
                results |= dict.fromkeys(group.positions, fault)
                staying += group.goals
        self._stay(target.chunk, staying)
        obstructed = self._obstructed(connection, ready, known, target)
        for group in ready:
            fault = obstructed.get(id(group))
            results |= dict.fromkeys(group.positions, fault or _RESTORED)
            staying += group.goals if fault else ()
        self._stay(target.chunk, staying)
        self._seen.add(target.chunk)
        results = {position: found for position, found in results.items() if position in only}
        self._unsettled.note(target.job_id, target.chunk, results.values())
        return results

    def _fault_of(
        self, connection: Connection, group: Group, known: Mapping[str, Known], target: Writer
    ) -> UndoResult | None:
        for goal in group.goals:
            if goal.table not in known:
                return table_unknown(goal.table)
            of_table = known[goal.table]
            later = of_table.later.get(goal.id, ())
            fate = partial(self._fate, connection, goal)
            present = of_table.present
            conflict = conflict_of(goal, later, present, target, self._terms, fate)
            if conflict is not None:
                return conflict
        return None

    def _fate(self, connection: Connection, goal: Goal, write: LaterWrite) -> Fate:
        """What would become of a later write of the job until its turn comes."""
        job_id, chunk = write.writer.job_id, write.writer.chunk
        if chunk in self._seen and not self._stays(chunk, goal.table, goal.id):
            return Fate.GOES
        waits = self._unsettled.has(connection, job_id, chunk)
        return Fate.WAITS if waits else Fate.STAYS

    def _stays(self, chunk: int, table: str, record: int) -> bool:
        ids = self._staying.get((chunk, table), array("q"))
        place = bisect_left(ids, record)
        return place < len(ids) and ids[place] == record

    def _stay(self, chunk: int, goals: Iterable[Goal]) -> None:
        by_table: dict[str, set[int]] = {}
        for goal in goals:
            by_table.setdefault(goal.table, set()).add(goal.id)
        for table, ids in by_table.items():
            self._staying[chunk, table] = array("q", sorted(ids))

    def _obstructed(
        self,
        connection: Connection,
        ready: Sequence[Group],
        known: Mapping[str, Known],
        target: Writer,
    ) -> dict[int, UndoResult]:
        """Conflicts with constraints, by the identity of the group."""
        groups = {(goal.table, goal.id): group for group in ready for goal in group.goals}
        by_table: dict[str, list[Goal]] = {}
        for group in ready:
            for goal in group.goals:
                by_table.setdefault(goal.table, []).append(goal)
        scene = Scene(connection, self._tables, self._tenant, target.job_id, self._stays_anywhere)
        found: dict[int, UndoResult] = {}
        for table, goals in by_table.items():
            for goal, obstacle in obstacles_of(scene, self._tables[table], goals, known[table]):
                group = groups[goal.table, goal.id]
                if id(group) not in found and not _is_of(group, obstacle):
                    found[id(group)] = conflict_with(connection, goal, obstacle)
        return found

    def _stays_anywhere(self, table: Table, record: int) -> bool:
        return any(
            self._stays(chunk, name, record) for chunk, name in self._staying if name == table.name
        )


def _is_of(group: Group, obstacle: Obstacle) -> bool:
    own: set[RecordKey] = {(goal.table, goal.id) for goal in group.goals}
    return obstacle.key in own
