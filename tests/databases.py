"""Databases for tests that must hold on SQLite and on PostgreSQL; each test has its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.stores import migrate
from streams.stores.database import Database, sqlite_url
from tests.services.postgres import PostgresServer

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


@pytest.fixture(scope="module", params=BACKENDS)
def shared_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """A migrated database that the tests of a module share, once for each backend."""
    with contextlib.ExitStack() as stack:
        if request.param == "sqlite":
            url = sqlite_url(tmp_path_factory.mktemp("shared") / "countermand.db")
        else:
            server: PostgresServer = request.getfixturevalue("postgres_process")
            name = f"shared_{request.module.__name__.rpartition('.')[2]}"
            url = stack.enter_context(_postgres_database(server, name))
        database = stack.enter_context(Database(url))
        migrate.upgrade(database)
        yield database


@contextlib.contextmanager
def _postgres_database(server: PostgresServer, name: str) -> Iterator[str]:
    with server.connect() as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    try:
        yield server.url(name)
    finally:
        with server.connect() as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
