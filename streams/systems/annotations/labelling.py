"""Labelling: labels that a file names and its project does not have yet."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, func, select

from domain.errors import RecordRefused
from domain.ports import Clock
from domain.records import Writer
from domain.systems.annotations import tables
from domain.systems.annotations.importing import ids_by_name
from domain.systems.annotations.tables import NAME_LENGTH
from streams.callers import Caller
from streams.stores.database import Database
from streams.stores.records import SqlRecords

TRIES = 3
_OUTSIDE = -1
_COLUMNS = ("project_id", "name", "order", "created_by", "created_at")


async def add_labels(
    database: Database, clock: Clock, caller: Caller, project_id: int, names: Collection[str]
) -> int:
    """Create those that the project lacks, behind the others, in order; returns how many.

    Two files that name the same new label at once get one: who comes second looks again.
    """
    now = clock.now().timestamp()
    wanted = [name for name in names if 0 < len(name) <= NAME_LENGTH]

    def add(connection: Connection) -> int:
        records = SqlRecords(connection, Writer(caller.tenant, caller.actor), now)
        known = ids_by_name(records, project_id, wanted)
        missing = [name for name in wanted if name not in known]
        first = _behind_all(connection, caller, project_id)
        rows = [
            (project_id, name, first + place, caller.actor, now)
            for place, name in enumerate(missing)
        ]
        return len(records.insert(tables.labels, _COLUMNS, rows, [_OUTSIDE] * len(rows)))

    for left in reversed(range(TRIES)):
        try:
            return await database.write(add)
        except RecordRefused:
            if not left:
                raise
    raise AssertionError("the last try returns or raises")


def _behind_all(connection: Connection, caller: Caller, project_id: int) -> int:
    labels = tables.labels.c
    mine = (labels.tenant == caller.tenant, labels.project_id == project_id)
    last = connection.scalar(select(func.max(labels.order)).where(*mine))
    return 0 if last is None else last + 1
