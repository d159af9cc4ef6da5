"""Savepoints on the connection's transaction, by plain statements: an item may need one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, exc

from streams.stores.statements import run_sql

_NAME = "record_scope"
"""One name for all: the innermost savepoint of a name is the one that is meant."""


@contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """A scope whose writes vanish when it raises."""
    run_sql(connection, f"SAVEPOINT {_NAME}", ())
    try:
        yield
    except BaseException as error:
        _roll_back(connection, error)
        raise
    run_sql(connection, f"RELEASE SAVEPOINT {_NAME}", ())


def _roll_back(connection: Connection, error: BaseException) -> None:
    try:
        run_sql(connection, f"ROLLBACK TO SAVEPOINT {_NAME}", ())
        run_sql(connection, f"RELEASE SAVEPOINT {_NAME}", ())
    except (exc.DBAPIError, exc.PendingRollbackError):
        # A full disk or a lost server ends the transaction itself; that fault, not the
        # missing savepoint, is what the caller must see.
        if not isinstance(error, exc.DBAPIError):
            raise
