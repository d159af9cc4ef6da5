"""Which backend speaks which dialect."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from sqlalchemy import Dialect

from streams.stores.records.backend import Backend
from streams.stores.records.sqlite import SqliteBackend


def _postgresql() -> Backend:
    # The driver is an extra, so that a machine with SQLite alone need not have it.
    from streams.stores.records.postgresql import PostgresBackend

    return PostgresBackend()


_BACKENDS: dict[str, Callable[[], Backend]] = {
    "sqlite": SqliteBackend,
    "postgresql": _postgresql,
}


@lru_cache(maxsize=16)
def backend_of(dialect: Dialect) -> Backend:
    """The backend of a connection's dialect."""
    return _BACKENDS[dialect.name]()
