"""Foreseen obstacles: constraints that would refuse what an undo puts back, set by set.

An undo meets them when it writes; nothing is written here, so they are looked for. Records
of the same job are in nobody's way unless they stay as they are: they will have been put
back before. What only the database itself can judge (a check, a key of several columns that
refers to another table) is not foreseen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Select, Table, bindparam, exists, select

from streams.stores.records.ahead import Known
from streams.stores.records.dialects import backend_of
from streams.stores.records.goals import Goal
from streams.stores.records.images import Cells
from streams.stores.records.obstacles import Obstacle, references, unique_keys
from streams.stores.records.rows import numbers
from streams.stores.records.shape import Shape, shape_of
from streams.stores.schema import history, record_tables, writers
from streams.stores.statements import prepare

VALUES = 200
"""So many values of a column are looked for at once."""
REFERRERS = 5000
"""So many records that refer to some are looked at, others than the job's own first."""

Stays = Callable[[Table, int], bool]
"""Whether a record that the job has written to will stay as it is."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Where to look, and on whose behalf."""

    connection: Connection
    tables: Mapping[str, Table]
    tenant: str
    job_id: str
    stays: Stays


def obstacles_of(
    scene: Scene, table: Table, goals: Sequence[Goal], known: Known
) -> Iterator[tuple[Goal, Obstacle]]:
    """What is in the way of goals of one table; of a goal the first is the one that counts."""
    gone = [goal for goal in goals if goal.cells is None and goal.id in known.present]
    if gone:
        yield from _referrers(scene, table, gone)
    back = [_Return.of(goal, table, scene.connection, known) for goal in goals if goal.cells]
    for name, columns in unique_keys(table):
        yield from _twins(scene, table, (name, columns), back)
    for constraint, column, target in references(table):
        yield from _missing(scene, (constraint, column, target), back)


@dataclass(frozen=True, slots=True)
class _Return:
    """A record that comes back, with its cells by column, and those it has now."""

    goal: Goal
    cells: Mapping[str, Any]
    now: Mapping[str, Any]

    @classmethod
    def of(cls, goal: Goal, table: Table, connection: Connection, known: Known) -> _Return:
        shape = shape_of(table, connection.dialect)
        cells: Cells = goal.cells or ()
        found = known.present.get(goal.id)
        now = dict(zip(shape.business, found[1], strict=True)) if found else {}
        return cls(goal, dict(zip(goal.columns, cells, strict=True)), now)

    def brings(self, keys: Sequence[str]) -> tuple[Any, ...] | None:
        """Its values of the columns, if they are new to the table and none is missing."""
        cells = tuple(self.cells.get(key) for key in keys)
        if None in cells or (self.now and cells == tuple(self.now[key] for key in keys)):
            return None
        return cells


def _twins(
    scene: Scene, table: Table, unique: tuple[str, Sequence[Column[Any]]], back: Sequence[_Return]
) -> Iterator[tuple[Goal, Obstacle]]:
    """Records of the tenant that have the values which must be unique."""
    name, columns = unique
    keys = [column.key for column in columns if column.key != "tenant"]
    wanted = [(one, cells) for one in back if (cells := one.brings(keys)) is not None]
    shape = shape_of(table, scene.connection.dialect)
    for first in range(0, len(wanted), VALUES):
        some = wanted[first : first + VALUES]
        found = dict(_with_values(scene, shape, keys, [cells for _, cells in some]))
        own = _own(scene, table, found.values())
        for one, cells in some:
            other = found.get(cells)
            if other is None or other == one.goal.id:
                continue
            if other not in own or scene.stays(table, other):
                yield one.goal, Obstacle(name, table, other, "has the same values")


def _with_values(
    scene: Scene, shape: Shape, keys: Sequence[str], wanted: Sequence[tuple[Any, ...]]
) -> Iterator[tuple[tuple[Any, ...], int]]:
    backend = backend_of(scene.connection.dialect)
    table = shape.table
    statement = select(table.c.id, *[backend.cell(shape, key) for key in keys]).where(
        table.c.tenant == bindparam("tenant")
    )
    given: dict[str, Any] = {"tenant": scene.tenant}
    for place, key in enumerate(keys):
        values = sorted({cells[place] for cells in wanted}, key=repr)
        names = [f"v{place}_{number}" for number in range(len(values))]
        statement = statement.where(
            table.c[key].in_([backend.value(shape, key, name) for name in names])
        )
        given |= dict(zip(names, values, strict=True))
    for row in prepare(statement, scene.connection.dialect).run(scene.connection, **given):
        yield tuple(row[1:]), row[0]


def _missing(
    scene: Scene, reference: tuple[str, Column[Any], Table], back: Sequence[_Return]
) -> Iterator[tuple[Goal, Obstacle]]:
    """Records that a column refers to and that are gone."""
    constraint, column, target = reference
    wanted = [(one, int(cells[0])) for one in back if (cells := one.brings([column.key]))]
    if not wanted:
        return
    ids = {key for _, key in wanted}
    lost = ids - {row[0] for row in _run(scene, _there(scene, target), ids)}
    own = _own(scene, target, lost)
    for one, key in wanted:
        if key in lost and (key not in own or scene.stays(target, key)):
            yield one.goal, Obstacle(constraint, target, key, "is gone")


def _there(scene: Scene, target: Table) -> Select[Any]:
    wanted = backend_of(scene.connection.dialect).numbers(1)
    return select(target.c.id).where(target.c.id.in_(select(wanted.c.n0)))


def _referrers(scene: Scene, table: Table, gone: Sequence[Goal]) -> Iterator[tuple[Goal, Obstacle]]:
    """Records of the tenant that refer to some which would have to go."""
    goals = {goal.id: goal for goal in gone}
    wanted = backend_of(scene.connection.dialect).numbers(1)
    for source in scene.tables.values():
        for constraint, column, target in references(source):
            if target is not table:
                continue
            own = _written(source.name, source.c.id, scene.job_id)
            statement = (
                select(source.c.id, column, own)
                .where(column.in_(select(wanted.c.n0)), source.c.tenant == scene.tenant)
                .order_by(own, source.c.id)
                .limit(REFERRERS)
            )
            for other, key, is_own in _run(scene, statement, goals):
                if not is_own or scene.stays(source, other):
                    yield goals[key], Obstacle(constraint, source, other, "refers to it")


def _own(scene: Scene, table: Table, ids: Any) -> set[int]:
    """Those of the records that the job has written to."""
    if not ids:
        return set()
    wanted = backend_of(scene.connection.dialect).numbers(1)
    statement = select(wanted.c.n0).where(_written(table.name, wanted.c.n0, scene.job_id))
    return {row[0] for row in _run(scene, statement, ids)}


def _written(table: str, record: Any, job_id: str) -> Any:
    """Whether a job has written to a record."""
    return exists(
        select(history.c.version)
        .join(record_tables, record_tables.c.table_id == history.c.table_id)
        .join(writers, writers.c.writer == history.c.writer)
        .where(
            record_tables.c.name == table,
            history.c.record_id == record,
            writers.c.job_id == job_id,
        )
    )


def _run(scene: Scene, statement: Select[Any], ids: Any) -> list[tuple[Any, ...]]:
    prepared = prepare(statement, scene.connection.dialect)
    return prepared.run(scene.connection, **numbers(sorted(ids))).rows
