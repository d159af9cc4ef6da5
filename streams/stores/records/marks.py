"""Marks: what items of a job have said of themselves, so that another that says the same is known.

One statement for all items of a chunk. Two transactions that say the same wait for one another:
who commits first was first.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import orjson
from sqlalchemy import Connection, Dialect, bindparam, select

from streams.stores.records.backend import GIVEN
from streams.stores.records.dialects import backend_of
from streams.stores.schema_items import item_marks
from streams.stores.statements import INSERTS, Prepared, prepare


def first_of(connection: Connection, job_id: str, marks: Mapping[str, int]) -> dict[str, int]:
    """The position of the first item of the job with each of the marks, these counted in."""
    if not marks:
        return {}
    # In one order for all, so that no two wait for each other.
    given = {GIVEN: orjson.dumps(sorted(marks.items())).decode(), "job": job_id}
    return dict(_prepared(connection.dialect).run(connection, **given).rows)


@lru_cache(maxsize=8)
def _prepared(dialect: Dialect) -> Prepared:
    given = backend_of(dialect).given((str, int))
    rows = select(bindparam("job", type_=item_marks.c.job_id.type), given.c.v0, given.c.v1)
    made = INSERTS[dialect.name](item_marks).from_select(
        ["job_id", "mark", "position"], rows.order_by(given.c.place)
    )
    kept = made.on_conflict_do_update(
        index_elements=["job_id", "mark"], set_={"position": item_marks.c.position}
    )
    return prepare(kept.returning(item_marks.c.mark, item_marks.c.position), dialect)
