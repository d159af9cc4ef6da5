"""Probes: one query that asks the records of a table about each of many rows of values.

A subquery for each row, which looks into an index and stops at the first record: joined, one
row could bring a million records, and a planner that knows nothing of the rows might read the
whole table.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, func, select

from domain.records import Probe, Values
from streams.stores.records.backend import GIVEN
from streams.stores.records.dialects import backend_of
from streams.stores.records.rows import numbers
from streams.stores.records.shape import Shape
from streams.stores.statements import Prepared, prepare


def answers(
    connection: Connection,
    shape: Shape,
    tenant: str,
    probe: Probe,
    rows: Sequence[Values],
    without: Collection[int],
) -> dict[int, Any]:
    """The answer of one record to each row that has one; see the port."""
    if not rows:
        return {}
    given = {GIVEN: orjson.dumps(rows).decode(), "tenant": tenant}
    if without:
        given |= numbers(sorted(without))
    found = _prepared(shape, probe, bool(without)).run(connection, **given)
    return dict(found.rows)


@lru_cache(maxsize=128)
def _prepared(shape: Shape, probe: Probe, excluding: bool) -> Prepared:
    backend = backend_of(shape.dialect)
    given, table = backend.given(probe.kinds), shape.table
    general = [table.c.tenant == bindparam("tenant")]
    if excluding:
        general.append(table.c.id.not_in(select(backend.numbers(1).c.n0)))
    looks = [
        select(probe.value(table.c))
        .where(*general, *where(given.c, table.c))
        .limit(1)
        .correlate(given)
        .scalar_subquery()
        for where in (probe.where, probe.otherwise)
        if where is not None
    ]
    answer = func.coalesce(*looks) if len(looks) > 1 else looks[0]
    told = select(given.c.place, answer.label("answer"))
    asked = told.subquery()
    statement: Any = select(asked.c.place, asked.c.answer).where(asked.c.answer.is_not(None))
    return prepare(statement, shape.dialect)
