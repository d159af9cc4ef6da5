"""Databases for tests that must hold on SQLite and on PostgreSQL; each test has its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.stores import migrate
from streams.stores.database import Database, sqlite_url

BACKENDS = ("sqlite", pytest.param("postgresql", marks=pytest.mark.service("postgresql")))


@pytest.fixture(params=BACKENDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once for each backend."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "countermand.db")
    url: str = request.getfixturevalue("postgres_database")
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database, once for each backend."""
    with Database(database_url) as database:
        migrate.upgrade(database)
        yield database


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Iterator[Database]:
    """A migrated SQLite file, for what depends on no backend."""
    with Database(sqlite_url(tmp_path / "countermand.db")) as database:
        migrate.upgrade(database)
        yield database
