"""Compensations: what was taken back outside of the database, item by item, as it happens.

A row outlives the undo that wrote it: what is done is never asked for again, by no later
undo and no other process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Dialect, bindparam, select
from sqlalchemy.sql.expression import ClauseElement

from domain.compensation import Stage, Tried
from domain.outcomes import Conflicted, Failed, Restored, UndoResult
from streams.stores.schema_outside import compensations
from streams.stores.statements import INSERTS, Statement, among, listed

_JOB = bindparam("job", type_=compensations.c.job_id.type)
_COLUMNS = ("job_id", "item", "generation", "attempts", "stage", "result", "at")
_KEY = ("job_id", "item")


def _put(dialect: Dialect) -> ClauseElement:
    row = INSERTS[dialect.name](compensations).values({name: bindparam(name) for name in _COLUMNS})
    changed = {name: row.excluded[name] for name in _COLUMNS if name not in _KEY}
    made: ClauseElement = row.on_conflict_do_update(
        index_elements=[compensations.c[name] for name in _KEY],
        set_=changed,
        where=compensations.c.stage != Stage.DONE.value,
    )
    return made


_PUT = Statement(_put)
_TRIED = Statement(
    lambda dialect: select(
        compensations.c["item"],
        compensations.c.generation,
        compensations.c.attempts,
        compensations.c.stage,
        compensations.c.result,
    ).where(compensations.c.job_id == _JOB, among(compensations.c["item"], dialect))
)


@dataclass(frozen=True, slots=True)
class CompensationView:
    """What has become of an item's compensation, and when; ``at`` in seconds since the epoch."""

    tried: Tried
    at: float


def tried(connection: Connection, job_id: str, positions: Iterable[int]) -> Mapping[int, Tried]:
    """What is known of those of the items whose compensation was begun, by position."""
    rows = _TRIED.run(connection, job=job_id, numbers=listed([*positions]))
    return {row[0]: _tried(*row) for row in rows}


def note(connection: Connection, job_id: str, found: Iterable[Tried], at: float) -> None:
    """Store how far compensations have come; what is done stays as it is."""
    _PUT.run_many(
        connection,
        [
            {
                "job_id": job_id,
                "item": one.position,
                "generation": one.generation,
                "attempts": one.attempts,
                "stage": one.stage.value,
                "result": orjson.dumps(asdict(one.result)),
                "at": at,
            }
            for one in found
        ],
    )


def page(
    connection: Connection, job_id: str, stages: Iterable[Stage], *, after: int, limit: int
) -> list[CompensationView]:
    """Compensations in one of the stages, of the first ``limit`` items behind a position."""
    rows = connection.execute(
        select(*[compensations.c[name] for name in _COLUMNS[1:]])
        .where(compensations.c.job_id == job_id, compensations.c["item"] > after)
        .where(compensations.c.stage.in_([stage.value for stage in stages]))
        .order_by(compensations.c["item"])
        .limit(limit)
    )
    return [CompensationView(_tried(*row[:5]), row[5]) for row in rows]


def _tried(item: int, generation: int, attempts: int, stage: str, result: bytes) -> Tried:
    fields: dict[str, Any] = orjson.loads(bytes(result))
    found: UndoResult
    match Stage(stage):
        case Stage.DONE:
            found = Restored()
        case Stage.CONFLICT:
            found = Conflicted(**fields)
        case _:
            found = Failed(**fields)
    return Tried(item, generation, attempts, found, ended=stage != Stage.TRYING)
