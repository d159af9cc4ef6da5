"""What is in the way of an undo that a constraint refuses, and who put it there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    ForeignKeyConstraint,
    Table,
    UniqueConstraint,
    bindparam,
    select,
)
from sqlalchemy.sql.elements import ColumnElement

from domain.outcomes import Conflicted
from streams.stores.records.dialects import backend_of
from streams.stores.records.goals import Goal, RecordKey
from streams.stores.records.history import record_history
from streams.stores.records.shape import shape_of
from streams.stores.statements import prepare


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A constraint, with the record that is in the way or missing, and what it does there."""

    constraint: str
    table: Table
    id: int
    role: str

    @property
    def key(self) -> RecordKey:
        """The record in the way."""
        return self.table.name, self.id


def obstructed(
    connection: Connection, goals: Sequence[Goal], tenant: str, tables: Mapping[str, Table]
) -> Conflicted | None:
    """The conflict that keeps an item's records from being put back; ``None``: not found.

    Records of the item itself are in nobody's way: they would be put back along with it.
    """
    own = {(goal.table, goal.id) for goal in goals}
    for goal in goals:
        for obstacle in _obstacles(connection, goal, tenant, tables):
            if obstacle.key not in own:
                return conflict_with(connection, goal, obstacle)
    return None


def conflict_with(connection: Connection, goal: Goal, obstacle: Obstacle) -> Conflicted:
    """The conflict of a record with what is in its way, and who wrote that last."""
    history = record_history(connection, obstacle.table, obstacle.id)
    return Conflicted(
        record=goal.name,
        by=history[-1].writer.name if history else "",
        reason=f"constraint {obstacle.constraint}: "
        f"{obstacle.table.name}/{obstacle.id} {obstacle.role}",
    )


def _obstacles(
    connection: Connection, goal: Goal, tenant: str, tables: Mapping[str, Table]
) -> Iterator[Obstacle]:
    table = tables[goal.table]
    if goal.cells is None:
        yield from _referrers(connection, table, goal, tenant, tables)
    else:
        cells = dict(zip(goal.columns, goal.cells, strict=True)) | {"tenant": tenant}
        yield from _twins(connection, table, goal, cells)
        yield from _missing(connection, table, cells)


def _twins(
    connection: Connection, table: Table, goal: Goal, cells: Mapping[str, Any]
) -> Iterator[Obstacle]:
    """Records of the tenant that have the values which must be unique."""
    for name, columns in unique_keys(table):
        keys = [column.key for column in columns]
        if all(cells.get(key) is not None for key in keys):
            other = table.c.id != bindparam("own")
            found = _first(connection, table, {"tenant", *keys}, cells, other, own=goal.id)
            if found is not None:
                yield Obstacle(name, table, found, "has the same values")


def _missing(connection: Connection, table: Table, cells: Mapping[str, Any]) -> Iterator[Obstacle]:
    """Records that a column refers to and that are gone."""
    for constraint, column, target in references(table):
        cell = cells.get(column.key)
        if cell is not None:
            found = connection.scalar(select(target.c.id).where(target.c.id == int(cell)))
            if found is None:
                yield Obstacle(constraint, target, int(cell), "is gone")


def _referrers(
    connection: Connection, table: Table, goal: Goal, tenant: str, tables: Mapping[str, Table]
) -> Iterator[Obstacle]:
    """Records of the tenant that refer to one which would have to go."""
    for source in tables.values():
        for constraint, column, target in references(source):
            if target is table:
                query = select(source.c.id).where(column == goal.id, source.c.tenant == tenant)
                found = connection.scalar(query.order_by(source.c.id).limit(1))
                if found is not None:
                    yield Obstacle(constraint, source, found, "refers to it")


def _first(
    connection: Connection,
    table: Table,
    keys: set[str],
    cells: Mapping[str, Any],
    condition: ColumnElement[bool],
    **values: Any,
) -> int | None:
    shape = shape_of(table, connection.dialect)
    backend = backend_of(connection.dialect)
    same = [table.c[key] == backend.value(shape, key, f"cell_{key}") for key in sorted(keys)]
    statement = select(table.c.id).where(*same, condition).order_by(table.c.id).limit(1)
    given = {f"cell_{key}": cells[key] for key in keys}
    found = prepare(statement, connection.dialect).run(connection, **given, **values).scalar()
    return None if found is None else int(found)


def unique_keys(table: Table) -> Iterator[tuple[str, list[Column[Any]]]]:
    """What must be unique in a table: the constraint's name, and its columns."""
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            yield str(constraint.name), list(constraint.columns)
    for index in table.indexes:
        if index.unique:
            yield str(index.name), list(index.columns)


def references(table: Table) -> Iterator[tuple[str, Column[Any], Table]]:
    """Foreign keys that refer to another table's id: name, column, that table."""
    for constraint in table.constraints:
        if isinstance(constraint, ForeignKeyConstraint) and len(constraint.elements) == 1:
            target = constraint.elements[0].column
            if target.key == "id":
                yield str(constraint.name), next(iter(constraint.columns)), target.table
