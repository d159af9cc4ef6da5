"""Databases for tests that must hold on SQLite and on PostgreSQL; each test has its own.

They are copies of one that was migrated once: the migrations themselves are what
``tests/contracts/test_migrate.py`` and the first starts of real servers are about.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Executable, text
from sqlalchemy.engine import URL, make_url

from streams.stores import migrate, privileges
from streams.stores.database import Database, sqlite_url
from tests.services.postgres import OWNER, PostgresServer

BACKENDS = ("sqlite", pytest.param("postgresql", marks=pytest.mark.service("postgresql")))
ENGINE_ROLE = "engine_of_tests"
"""As whom tests sign in to migrated PostgreSQL databases, as processes of ours should."""
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied."""
    path = tmp_path_factory.mktemp("template") / "countermand.db"
    with Database(sqlite_url(path)) as database:
        migrate.upgrade(database)
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_process: PostgresServer) -> Iterator[str]:
    """The name of a migrated PostgreSQL database, to be copied."""
    name = "template_migrated"
    with postgres_process.database(name) as url:
        with Database(url) as database:
            migrate.upgrade(database)
            privileges.permit(database, ENGINE_ROLE, password="not asked for here")
            # Tests bring tables along that no migration has made.
            create = text(f"GRANT CREATE ON SCHEMA public TO {ENGINE_ROLE}")
            database.write_now(lambda connection: connection.execute(create))
        yield name


@pytest.fixture
def migrated_postgres(postgres_process: PostgresServer, postgres_template: str) -> Iterator[str]:
    """The URL of a migrated PostgreSQL database of the test's own, as the engine signs in."""
    name = f"migrated_{next(_numbers)}"
    with postgres_process.database(name, postgres_template) as url:
        yield as_engine(url)


def as_engine(url: str) -> str:
    """The same database for who may run the engine, and alter or remove no event."""
    return str(make_url(url).set(username=ENGINE_ROLE))


def as_owner(url: str | URL) -> URL:
    """The same database for who may do anything to it, as a test that damages events must."""
    place = make_url(url)
    return place if place.get_backend_name() == "sqlite" else place.set(username=OWNER)


def damage(database: Database, statement: str | Executable) -> None:
    """Change what is stored as nobody may who runs the engine."""
    change = text(statement) if isinstance(statement, str) else statement
    with Database(as_owner(database.url)) as owned:
        owned.write_now(lambda connection: connection.execute(change))


def analyze(database: Database, table: str) -> None:
    """What autovacuum does in a while: without it PostgreSQL plans for a handful of rows.

    By whom the table belongs to: PostgreSQL passes over what others ask for, with a warning.
    """
    with Database(as_owner(database.url)) as owned:
        owned.write_now(lambda connection: connection.execute(text(f"ANALYZE {table}")))


@pytest.fixture(params=BACKENDS)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once for each backend."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "countermand.db")
    url: str = request.getfixturevalue("postgres_database")
    return url


@pytest.fixture(params=BACKENDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a migrated database, once for each backend."""
    if request.param == "sqlite":
        return _copied(request.getfixturevalue("sqlite_template"), tmp_path)
    url: str = request.getfixturevalue("migrated_postgres")
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database, once for each backend."""
    with Database(database_url) as database:
        yield database


@pytest.fixture
def data_dir(sqlite_template: Path, tmp_path: Path) -> Path:
    """A data directory whose database was migrated; nobody has it open."""
    _copied(sqlite_template, tmp_path)
    return tmp_path


@pytest.fixture
def sqlite_database(sqlite_template: Path, tmp_path: Path) -> Iterator[Database]:
    """A migrated SQLite file, for what depends on no backend."""
    with Database(_copied(sqlite_template, tmp_path)) as database:
        yield database


@pytest.fixture(scope="module", params=BACKENDS)
def shared_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """A migrated database that the tests of a module share, once for each backend."""
    with contextlib.ExitStack() as stack:
        if request.param == "sqlite":
            template: Path = request.getfixturevalue("sqlite_template")
            url = _copied(template, tmp_path_factory.mktemp("shared"))
        else:
            server: PostgresServer = request.getfixturevalue("postgres_process")
            name = f"shared_{request.module.__name__.rpartition('.')[2]}"
            made = server.database(name, request.getfixturevalue("postgres_template"))
            url = as_engine(stack.enter_context(made))
        yield stack.enter_context(Database(url))


def _copied(template: Path, folder: Path) -> str:
    """The URL of a copy of a SQLite file that nobody has open."""
    return sqlite_url(Path(shutil.copyfile(template, folder / "countermand.db")))
