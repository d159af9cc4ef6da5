"""Pipeline: statements that nobody waits for, sent to PostgreSQL along with the COMMIT.

The transaction of a decision ends in a dozen statements of which nobody needs an answer, and
to wait for each is a journey to the server and back. They are kept until the commit, and then
travel with it in one journey, in the mode of
https://www.postgresql.org/docs/current/libpq-pipeline-mode.html. When something is asked before
that may depend on them, they are run first, one by one: the server takes no notice of a client
that is frozen between two statements of that mode or after it, and would keep its locks. To
SQLite, which is in the process, they are run at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

FEW = 8
"""Rows of one statement that are kept; more are run at once."""
MOST_KEPT = 100
"""Statements; those of a transaction that sends more are run one by one before its end."""
_OPTION = "countermand_pipeline"

Sent = tuple[str, Any]
"""SQL text in the driver's parameter style, and its parameters."""


def open_pipeline(connection: Connection) -> None:
    """Keep what is sent on this connection; whoever calls this empties it before the commit."""
    connection.execution_options(**{_OPTION: []})


def pipeline_of(connection: Connection) -> list[Sent] | None:
    """What a connection keeps; None where all is run at once."""
    found: list[Sent] | None = connection.get_execution_options().get(_OPTION)
    return found


def take_kept(connection: Connection) -> list[Sent]:
    """What a connection keeps, which it then keeps no more: to run it, or to have it forgotten."""
    kept = pipeline_of(connection)
    if not kept:
        return []
    taken = [*kept]
    kept.clear()
    return taken


def commit_with(driver: Any, kept: Sequence[Sent]) -> None:
    """Run statements and commit, in one journey; raises the first error that there was.

    ``driver`` is psycopg's connection, which then has no transaction any more.
    """
    with driver.pipeline():
        for sql, given in kept:
            driver.cursor().execute(sql, given)
        driver.cursor().execute("COMMIT", prepare=False)
