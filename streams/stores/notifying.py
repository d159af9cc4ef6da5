"""Notifying: have PostgreSQL tell other processes of a commit; :mod:`.listening` hears it."""

from __future__ import annotations

from sqlalchemy import Connection

from streams.stores.statements import send_sql

_NOTIFY = {"postgresql": "SELECT pg_notify(%s, %s)"}


def notify(connection: Connection, channel: str, payload: str) -> None:
    """Once this transaction is committed; with SQLite there is no other process to tell."""
    statement = _NOTIFY.get(connection.dialect.name)
    if statement is not None:
        send_sql(connection, statement, (channel, payload))
