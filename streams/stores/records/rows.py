"""Read and delete records by id, as cells."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

import orjson
from sqlalchemy import Connection, bindparam, delete, select

from streams.stores.records.backend import NUMBERS
from streams.stores.records.dialects import backend_of
from streams.stores.records.images import Cells, Real
from streams.stores.records.shape import Shape
from streams.stores.statements import Prepared, prepare

Loaded = dict[int, tuple[int, Cells]]
"""By id: the present version, and the cells of all business columns."""

_INFINITE = frozenset({math.inf, -math.inf})


def load(
    connection: Connection, shape: Shape, tenant: str, ids: Iterable[int], *, locked: bool = True
) -> Loaded:
    """The tenant's records of those ids; ``locked`` in the order of their ids."""
    found = _load(shape, locked).run(connection, tenant=tenant, **numbers(sorted(set(ids))))
    loaded: Loaded = {row[0]: (row[1], tuple(row[2:])) for row in found}
    for index in shape.reals:
        if any(cells[index] in _INFINITE for _, cells in loaded.values()):
            return {key: (version, _marked(cells)) for key, (version, cells) in loaded.items()}
    return loaded


def peek(connection: Connection, shape: Shape, tenant: str, key: int) -> tuple[int, Cells] | None:
    """One record of the tenant, not locked: its version, and its cells."""
    row = _peek(shape).run(connection, tenant=tenant, key=key).first()
    return None if row is None else (row[0], tuple(row[1:]))


def remove(connection: Connection, shape: Shape, ids: Sequence[int]) -> None:
    """Delete records that were loaded before."""
    _remove(shape).run(connection, **numbers(ids))


def numbers(values: Sequence[int] | Sequence[tuple[int, ...]]) -> dict[str, str]:
    """The parameter that :meth:`Backend.numbers` reads."""
    return {NUMBERS: orjson.dumps(values).decode()}


def _marked(cells: Cells) -> Cells:
    return tuple(Real(cell) if cell in _INFINITE else cell for cell in cells)


@lru_cache(maxsize=512)
def _load(shape: Shape, locked: bool) -> Prepared:
    table = shape.table
    backend = backend_of(shape.dialect)
    wanted = backend.numbers(1)
    statement = (
        select(table.c.id, table.c.version, *[backend.cell(shape, key) for key in shape.business])
        .where(table.c.tenant == bindparam("tenant"), table.c.id.in_(select(wanted.c.n0)))
        .order_by(table.c.id)
    )
    return prepare(statement.with_for_update() if locked else statement, shape.dialect)


@lru_cache(maxsize=512)
def _peek(shape: Shape) -> Prepared:
    table = shape.table
    cells = [backend_of(shape.dialect).cell(shape, key) for key in shape.business]
    statement = select(table.c.version, *cells).where(
        table.c.tenant == bindparam("tenant"), table.c.id == bindparam("key")
    )
    return prepare(statement, shape.dialect)


@lru_cache(maxsize=512)
def _remove(shape: Shape) -> Prepared:
    wanted = backend_of(shape.dialect).numbers(1)
    statement = delete(shape.table).where(shape.table.c.id.in_(select(wanted.c.n0)))
    return prepare(statement, shape.dialect)
