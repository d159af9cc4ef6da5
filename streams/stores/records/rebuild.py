"""The three ways to put records back: remove what was inserted, set, insert again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection

from streams.stores.records import rows as store
from streams.stores.records.dialects import backend_of
from streams.stores.records.goals import Goal
from streams.stores.records.history import Journal
from streams.stores.records.images import Batch, Cells, Images, Kind
from streams.stores.records.shape import OWN, Shape


class Way(StrEnum):
    """How a record is brought back to what it was."""

    REMOVE = "remove"
    SET = "set"
    INSERT = "insert"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Task:
    """One record to put back: its goal, its present cells, and the version it gets."""

    goal: Goal
    present: Cells | None
    version: int

    @property
    def way(self) -> Way:
        """What is to be done."""
        if self.goal.cells is None:
            return Way.NOTHING if self.present is None else Way.REMOVE
        return Way.INSERT if self.present is None else Way.SET


class Rebuild:
    """Carries out tasks of one kind and one table together, with history and images."""

    def __init__(
        self, connection: Connection, journal: Journal, images: Images, tenant: str
    ) -> None:
        self._connection = connection
        self._backend = backend_of(connection.dialect)
        self._journal = journal
        self._images = images
        self._tenant = tenant

    def run(self, way: Way, shape: Shape, tasks: Sequence[Task]) -> None:
        """Do all of them; every task goes the same way and has the same columns."""
        match way:
            case Way.REMOVE:
                store.remove(self._connection, shape, [task.goal.id for task in tasks])
                self._note(Kind.DELETED, shape, tasks)
            case Way.SET:
                self._set(shape, tasks)
                self._note(Kind.UPDATED, shape, tasks)
            case Way.INSERT:
                self._insert(shape, tasks)
                self._note(Kind.INSERTED, shape, tasks)
            case Way.NOTHING:
                pass

    def _insert(self, shape: Shape, tasks: Sequence[Task]) -> None:
        keys = _common(shape, tasks[0].goal.columns)
        pick = _picker(tasks[0].goal.columns, keys)
        rows = [
            (task.goal.id, task.version, self._tenant, *pick(task.goal.cells or ()))
            for task in tasks
        ]
        self._backend.insert(self._connection, shape, (*OWN, *keys), rows)

    def _set(self, shape: Shape, tasks: Sequence[Task]) -> None:
        """Set only the columns in which a record differs: an index on another one rests."""
        keys = _common(shape, tasks[0].goal.columns)
        pick_old = _picker(tasks[0].goal.columns, keys)
        pick_now = _picker(shape.business, keys)
        old = [pick_old(task.goal.cells or ()) for task in tasks]
        now = [pick_now(task.present or ()) for task in tasks]
        columns = zip(zip(*old, strict=True), zip(*now, strict=True), strict=True)
        differing = [index for index, (was, is_now) in enumerate(columns) if was != is_now]
        rows = [
            (*[cells[index] for index in differing], task.version, task.goal.id)
            for cells, task in zip(old, tasks, strict=True)
        ]
        changed = [keys[index] for index in differing]
        self._backend.update(self._connection, shape, changed, rows)

    def _note(self, kind: Kind, shape: Shape, tasks: Sequence[Task]) -> None:
        ids = [task.goal.id for task in tasks]
        versions = [task.version for task in tasks]
        pairs = list(zip(ids, versions, strict=True))
        self._journal.changed(shape, pairs, deleted=kind is Kind.DELETED)
        fresh = kind is Kind.INSERTED
        self._images.append(
            Batch(
                kind,
                shape.name,
                columns=() if fresh else shape.business,
                ids=ids,
                versions=versions,
                positions=[task.goal.positions[0] for task in tasks],
                rows=[] if fresh else [task.present or () for task in tasks],
            )
        )


def _common(shape: Shape, columns: Sequence[str]) -> list[str]:
    """The columns of an image that the table still has."""
    return [key for key in columns if key in shape.business]


def _picker(columns: Sequence[str], keys: Sequence[str]) -> Callable[[Cells], Cells]:
    """What takes the cells of ``keys`` out of those of ``columns``."""
    if list(columns) == list(keys):
        return lambda cells: cells
    places = [columns.index(key) for key in keys]
    return lambda cells: [cells[place] for place in places]
