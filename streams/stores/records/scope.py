"""Savepoints on the connection's transaction, by plain statements: an item may need one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, exc

from streams.stores.infrastructure import is_own
from streams.stores.pipeline import take_kept
from streams.stores.records.together import Together
from streams.stores.statements import run_journey, run_sql

# One name for all: the innermost savepoint of a name is the one that is meant.
_SAVEPOINT = "SAVEPOINT record_scope"
_RELEASE = "RELEASE SAVEPOINT record_scope"
_ROLL_BACK = "ROLLBACK TO SAVEPOINT record_scope"


class Discarded(Exception):
    """Ends a savepoint without an error, so that its writes vanish."""


@contextmanager
def savepoint(
    connection: Connection, together: Together | None = None, *, standing: bool = False
) -> Iterator[None]:
    """A scope whose writes vanish when it raises.

    ``standing`` says that nothing was written since the last savepoint, which is not
    released yet: then that one will do.
    """
    if not standing:
        _set(connection, together)
    try:
        yield
    except BaseException as error:
        _roll_back(connection, together, error, release=not standing)
        raise
    if not standing:
        _release(connection, together)


def _set(connection: Connection, together: Together | None) -> None:
    if together is not None and together.unreleased:
        run_journey(connection, _RELEASE, _SAVEPOINT)
        together.unreleased = False
    else:
        run_sql(connection, _SAVEPOINT, ())


def _release(connection: Connection, together: Together | None) -> None:
    """At once, or when the next one is set; the end of the transaction releases all."""
    if together is None or not together.lingers:
        run_sql(connection, _RELEASE, ())
        return
    if together.unreleased:
        run_sql(connection, _RELEASE, ())
    together.unreleased = True


def _roll_back(
    connection: Connection, together: Together | None, error: BaseException, *, release: bool
) -> None:
    # Forgotten: setting the savepoint has run all that was sent before it.
    take_kept(connection)
    try:
        if together is not None and together.unreleased:
            # One within this one; after an error nothing but this way out of it is left.
            together.unreleased = False
            run_sql(connection, _ROLL_BACK, ())
            run_sql(connection, _RELEASE, ())
        run_sql(connection, _ROLL_BACK, ())
        if release:
            run_sql(connection, _RELEASE, ())
    except (exc.DBAPIError, exc.PendingRollbackError):
        # A full disk or a lost server ends the transaction itself; that fault, not the
        # missing savepoint, is what the caller must see. Another database's fault says nothing of
        # it, and must not hide it: what was written before is gone.
        if not is_own(error):
            raise
