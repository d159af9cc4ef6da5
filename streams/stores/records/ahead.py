"""What undos need to know of their records, read at once for all that share a transaction.

Small chunks would else spend more time on asking for a record each than on putting it
back. What is read ahead is good for the first who asks for a record: an undo that comes
after it in the transaction may find it changed, and reads it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from sqlalchemy import Connection, Table

from streams.stores.records import images as before
from streams.stores.records.goals import Goal, goals_of
from streams.stores.records.history import record_table_id
from streams.stores.records.images import Images
from streams.stores.records.rows import Loaded, load
from streams.stores.records.shape import Shape, shape_of
from streams.stores.records.standing import LaterWrite, later_writes
from streams.stores.records.unsettled import Unsettled


@dataclass(slots=True)
class Known:
    """Records of one table: as they are, and who wrote to them since they were left."""

    present: Loaded = field(default_factory=dict)
    later: dict[int, list[LaterWrite]] = field(default_factory=dict)

    def add(self, other: Known) -> None:
        """Take in what else is known."""
        self.present |= other.present
        self.later |= other.later

    def of(self, ids: Iterable[int]) -> Known:
        """What is known of some of the records."""
        chosen = set(ids)
        return Known(
            {key: found for key, found in self.present.items() if key in chosen},
            {key: found for key, found in self.later.items() if key in chosen},
        )


class Ahead:
    """Reads records for undos; ``tables`` are all record tables by name.

    They are locked as they are read, unless nothing is going to be put back.
    """

    def __init__(
        self,
        connection: Connection,
        tables: Mapping[str, Table],
        tenant: str,
        *,
        locked: bool = True,
    ) -> None:
        self.connection = connection
        self._locked = locked
        self.tables = tables
        self.table_ids: dict[str, int] = {}
        self.unsettled = Unsettled()
        self._tenant = tenant
        self._decoded: dict[bytes, tuple[Images, list[Goal]]] = {}
        self._known: dict[str, Known] = {}
        self._unasked: dict[str, dict[int, int]] = {}

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """The shapes of the tables, by name."""
        dialect = self.connection.dialect
        return {name: shape_of(table, dialect) for name, table in self.tables.items()}

    def read(self, images: Iterable[bytes]) -> None:
        """Read what undos of these images will ask for, in the order in which they come."""
        wanted: dict[str, dict[int, Goal]] = {}
        for some in images:
            for goal in self.decoded(some)[1]:
                shape = self.shapes.get(goal.table)
                if shape is not None and _is_steady(shape):
                    wanted.setdefault(goal.table, {}).setdefault(goal.id, goal)
        for table, goals in wanted.items():
            self._known[table] = self._ask(table, list(goals.values()))
            self._unasked[table] = {goal.id: goal.left for goal in goals.values()}

    def decoded(self, images: bytes) -> tuple[Images, list[Goal]]:
        """The images, and the goal of each of their records."""
        found = self._decoded.get(images)
        if found is None:
            plan = before.decode(images)
            found = self._decoded[images] = plan, goals_of(plan)
        return found

    def take(self, goals: Iterable[Goal]) -> dict[str, Known]:
        """By table, what is known of the records of one undo, which are locked from then on.

        Nobody can write to them after that; a table that nobody declares is left out.
        """
        by_table: dict[str, list[Goal]] = {}
        for goal in goals:
            if goal.table in self.shapes:
                by_table.setdefault(goal.table, []).append(goal)
        return {table: self._take(table, wanted) for table, wanted in by_table.items()}

    def _take(self, table: str, goals: Sequence[Goal]) -> Known:
        unasked = self._unasked.get(table, {})
        missing = [goal for goal in goals if unasked.pop(goal.id, None) != goal.left]
        if len(missing) == len(goals):
            return self._ask(table, missing)
        known = self._known[table].of(goal.id for goal in goals)
        if missing:
            known = known.of({goal.id for goal in goals} - {goal.id for goal in missing})
            known.add(self._ask(table, missing))
        return known

    def _ask(self, table: str, goals: Sequence[Goal]) -> Known:
        ids = [goal.id for goal in goals]
        shape = self.shapes[table]
        present = load(self.connection, shape, self._tenant, ids, locked=self._locked)
        number = self.table_ids.get(table)
        if number is None:
            number = self.table_ids[table] = record_table_id(self.connection, table)
        return Known(present, later_writes(self.connection, number, goals))


def _is_steady(shape: Shape) -> bool:
    """Whether the rows stay as they are when those of other tables change."""
    return not any(key.ondelete or key.onupdate for key in shape.table.foreign_keys)
