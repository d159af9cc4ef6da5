"""Infrastructure: which faults are of our own database, and for which a handler is to blame.

A handler may ask another database, also by SQLAlchemy, whose faults have the same types. Ours
are marked where they are raised, and nobody is blamed for those.
"""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import Connection, Engine, event, exc
from sqlalchemy.engine import ExceptionContext

E = TypeVar("E", bound=Exception)

FAULTS = (
    exc.OperationalError,
    exc.InterfaceError,
    exc.InternalError,
    # Whatever is asked of a connection after it was lost.
    exc.PendingRollbackError,
)
"""Faults that may be of a database; which one it is they do not say."""

_OWN = "countermand_own"


def own(error: E) -> E:
    """The error, marked as one of our own database."""
    setattr(error, _OWN, True)
    return error


def is_own(error: BaseException) -> bool:
    """Whether it is marked as one of our own database."""
    return bool(getattr(error, _OWN, False))


def mark_faults(engine: Engine) -> None:
    """Mark from now on what is raised by an engine, as one of ours."""
    event.listen(engine, "handle_error", _mark)


def is_fault(connection: Connection, error: BaseException) -> bool:
    """Whether our database is to blame for what a handler has raised that asks this connection."""
    if isinstance(error, exc.PendingRollbackError):
        return connection.invalidated
    return isinstance(error, FAULTS) and is_own(error)


def _mark(context: ExceptionContext) -> None:
    if context.sqlalchemy_exception is not None:
        own(context.sqlalchemy_exception)
