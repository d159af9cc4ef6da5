"""The audit trail is the same on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, select

from streams.stores.database import Database
from streams.stores.schema import (
    chunk_faults,
    events,
    outcomes,
    payload_keys,
    payloads,
    snapshots,
    uploads,
)
from tests.audit.trail import Trail
from tests.databases import as_owner, database_url, shared_database, sqlite_database
from tests.stored_events import stamp

__all__ = ["database_url", "shared_database", "sqlite_database"]

_TABLES = (events, outcomes, chunk_faults, payload_keys, payloads, snapshots, uploads)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database of its owner, who can damage what others cannot."""
    with Database(as_owner(database_url)) as owned:
        yield owned


@pytest.fixture(scope="module")
def shared_trail(
    shared_database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trail]:
    """A job of 20 events, and a draft in three parts with failures and two undos."""
    with Database(as_owner(shared_database.url)) as owned:
        trail = Trail(owned, tmp_path_factory.mktemp("trail"))
        _fill(trail)
        yield trail


def _fill(trail: Trail) -> None:
    trail.work(trail.submit("job-20", 90), wrong=1)
    draft = trail.draft("job-draft", 15, 10, 5)
    trail.work(draft)
    for _ in range(2):
        draft.undo(stamp("undo", seconds=9), "a mistake")
        trail.work(draft, wrong=1)


@pytest.fixture
def trail(shared_trail: Trail) -> Iterator[Trail]:
    """The shared trail, which is put back as it was when the test has changed it."""
    before = shared_trail.database.read_now(_rows)
    heads = shared_trail.heads.path.read_bytes()
    yield shared_trail
    shared_trail.heads.path.write_bytes(heads)
    shared_trail.signing = True
    shared_trail.database.write_now(lambda connection: _restore(connection, before))


def _rows(connection: Connection) -> list[list[dict[str, Any]]]:
    return [
        [dict(row) for row in connection.execute(select(table)).mappings()] for table in _TABLES
    ]


def _restore(connection: Connection, rows: list[list[dict[str, Any]]]) -> None:
    for table, kept in zip(_TABLES, rows, strict=True):
        connection.execute(table.delete())
        if kept:
            connection.execute(table.insert(), kept)
