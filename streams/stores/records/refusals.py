"""Driver errors that are the record's fault, as RecordRefused with the constraint's name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc

from domain.errors import RecordRefused

_SQLITE_CONSTRAINT = re.compile(r"(?P<kind>[A-Z ]+) constraint failed(: (?P<what>.+))?")
_UNBINDABLE = "binding parameter"


@contextmanager
def refusals(table: str) -> Iterator[None]:
    """Raise RecordRefused for what the database says against the values of a write."""
    try:
        yield
    except (exc.IntegrityError, exc.DataError) as error:
        raise _refused(table, error) from error
    except (exc.InterfaceError, exc.ProgrammingError) as error:
        if _UNBINDABLE in str(error.orig):
            raise _refused(table, error) from error
        raise
    except (OverflowError, UnicodeEncodeError) as error:
        raise RecordRefused(f"{table}: {error}; correct the value") from error


def _refused(table: str, error: exc.DBAPIError) -> RecordRefused:
    said = str(error.orig).splitlines()[0] if str(error.orig) else type(error.orig).__name__
    details = str(getattr(getattr(error.orig, "diag", None), "message_detail", None))
    # PostgreSQL's detail is the key, or else the whole row, which would be too much.
    message = f"{table}: {said}{f' ({details})' if details.startswith('Key ') else ''}"
    return RecordRefused(
        f"{message}; change the value, or the record that is in the way",
        constraint=_constraint(error, said),
    )


def _constraint(error: exc.DBAPIError, said: str) -> str:
    """PostgreSQL names the constraint; SQLite its kind and, mostly, its columns."""
    named = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    if named:
        return str(named)
    match = _SQLITE_CONSTRAINT.search(said)
    if match is None:
        return ""
    kind = match["kind"].strip()
    return f"{kind} {match['what']}" if match["what"] else kind
