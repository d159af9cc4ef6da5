"""Counts the statements that reach the driver of a database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import Connection

SCOPES = ("savepoint", "release", "rollback", "begin", "commit")


@contextmanager
def statements(connection: Connection) -> Iterator[list[str]]:
    """The statements that are run in the block, but for those of transactions."""
    said: list[str] = []
    driver: Any = connection.connection.driver_connection

    def note(statement: str) -> None:
        if not statement.lower().lstrip().startswith(SCOPES):
            said.append(statement)

    if isinstance(driver, psycopg.Connection):
        with _psycopg(driver, note):
            yield said
    else:
        driver.set_trace_callback(note)
        yield said
        driver.set_trace_callback(None)


@contextmanager
def _psycopg(driver: Any, note: Any) -> Iterator[None]:
    class Noting(psycopg.Cursor[Any]):
        def execute(self, query: Any, *args: Any, **options: Any) -> Any:
            note(str(query))
            return super().execute(query, *args, **options)

    class NotingServer(psycopg.ServerCursor[Any]):
        def execute(self, query: Any, *args: Any, **options: Any) -> Any:
            note(str(query))
            return super().execute(query, *args, **options)

    driver.cursor_factory, driver.server_cursor_factory = Noting, NotingServer
    yield
    driver.cursor_factory, driver.server_cursor_factory = psycopg.Cursor, psycopg.ServerCursor
