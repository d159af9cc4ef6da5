"""Where a contest is held: a fresh copy of the same database for every contestant."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Protocol

from sqlalchemy import text

from benchmarks import material, scripts
from streams.settings import DATABASE_FILE
from streams.stores.database import Database


@dataclass(frozen=True, slots=True)
class Site:
    """One contestant's own: a folder that goes away, and the address of its database."""

    folder: Path
    url: str


class Place(Protocol):
    """One kind of database."""

    @property
    def key(self) -> str:
        """Its name on the command line."""
        ...

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def embedded(self) -> bool:
        """Whether it needs no server."""
        ...

    def fresh(self) -> AbstractContextManager[Site]: ...


class SqlitePlace:
    """Copies a file. ``folder`` must be on the disk that is to be measured."""

    key = "sqlite"
    name = "SQLite"
    version = (
        f"SQLite {sqlite3.sqlite_version}, WAL, synchronous=FULL; commits of Countermand's chunks "
        "do not wait for the disk (NORMAL), those of their events do"
    )
    embedded = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._original = folder / "original.db"
        _create(f"sqlite:///{self._original}")
        with sqlite3.connect(self._original) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()

    @contextmanager
    def fresh(self) -> Iterator[Site]:
        """A copy in a folder of its own."""
        with tempfile.TemporaryDirectory(dir=self._folder, ignore_cleanup_errors=True) as name:
            copy = Path(name) / DATABASE_FILE
            shutil.copyfile(self._original, copy)
            yield Site(Path(name), f"sqlite:///{copy}")


class PostgresPlace:
    """Clones a database of a throw-away server, the one that the tests use."""

    key = "postgresql"
    name = "PostgreSQL"
    embedded = False

    def __init__(self, folder: Path, server: object) -> None:
        from tests.services.postgres import PostgresServer

        assert isinstance(server, PostgresServer)
        self._folder = folder
        self._server = server
        self._numbers = count(1)
        with server.connect() as connection:
            connection.execute("CREATE DATABASE original TEMPLATE template0")
            shown = connection.execute("SHOW server_version").fetchone()
        self.version = (
            f"PostgreSQL {shown[0] if shown else '?'}, fsync on, shared_buffers 32 MB; commits of "
            "chunks of embedded Countermand do not wait for the disk (synchronous_commit=off), "
            "those of their events do"
        )
        _create(server.url("original"))

    @contextmanager
    def fresh(self) -> Iterator[Site]:
        """A clone, dropped afterwards."""
        name = f"copy_{next(self._numbers)}"
        with self._server.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE original")
        with tempfile.TemporaryDirectory(dir=self._folder, ignore_cleanup_errors=True) as folder:
            yield Site(Path(folder), self._server.url(name))
        with self._server.connect() as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def places(
    folder: Path, wanted: Collection[str], say: Callable[[str], None]
) -> Iterator[list[Place]]:
    """Those of the wanted databases, ``sqlite`` and ``postgresql``, that this machine has."""
    found: list[Place] = [SqlitePlace(folder)] if "sqlite" in wanted else []
    if "postgresql" not in wanted:
        yield found
        return
    from tests.services.catalogue import find_postgres
    from tests.services.postgres import running_server

    if find_postgres() is None:
        say("PostgreSQL is left out: no server on this machine; get it: apt-get install postgresql")
        yield found
        return
    with running_server() as server:
        yield [*found, PostgresPlace(folder, server)]


def _create(url: str) -> None:
    with Database(url) as database:
        material.create(database)
        database.write_now(lambda connection: connection.execute(text(scripts.RESULTS)))


def kept(url: str, table: str = "annotations") -> int:
    """How many rows a table of a site has; for the proof that the work was done."""
    with Database(url) as database:
        return database.read_now(
            lambda connection: int(
                connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
            )
        )
