"""Places: the database of a run, opened past the engine. SQLite files or a PostgreSQL server."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.services.postgres import PostgresServer

Opened = AbstractContextManager[Any]
"""A connection of the driver's own: ``execute`` takes SQL and gives rows."""


class Place(Protocol):
    """One database; ``environment`` has an engine use it."""

    @property
    def environment(self) -> Mapping[str, str]: ...

    def opened(self, *, write: bool = False) -> Opened: ...

    def copied(self, data_dir: Path) -> Place:
        """As it is now, for a copy of the data directory. Nobody else may have it open."""
        ...

    def remove(self) -> None: ...


@dataclass(frozen=True)
class SqliteFile:
    """The file in the data directory, which goes where that goes."""

    data_dir: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """None is needed: it is the default."""
        return {}

    def opened(self, *, write: bool = False) -> Opened:
        """A connection to the file."""
        mode = "rw" if write else "ro"
        address = f"file:{self.data_dir / 'countermand.db'}?mode={mode}"
        return closing(sqlite3.connect(address, uri=True, timeout=10))

    def copied(self, data_dir: Path) -> SqliteFile:
        """The file was copied with the directory."""
        return SqliteFile(data_dir)

    def remove(self) -> None:
        """It is removed with the directory."""


@dataclass(frozen=True)
class PostgresDatabase:
    """A database of a server of ours."""

    server: PostgresServer
    name: str
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def environment(self) -> Mapping[str, str]:
        """Its address."""
        return {"COUNTERMAND_DATABASE": self.server.url(self.name)}

    @contextmanager
    def opened(self, *, write: bool = False) -> Iterator[Any]:
        """A connection outside of any transaction."""
        with self.server.connect(self.name) as connection:
            connection.read_only = not write
            yield connection

    def copied(self, data_dir: Path) -> PostgresDatabase:
        """A copy that the server makes."""
        made = PostgresDatabase(self.server, f"{self.name}_{next(self._numbers)}")
        self._tell(f"CREATE DATABASE {made.name} TEMPLATE {self.name}")
        return made

    def create(self) -> None:
        """An empty one."""
        self._tell(f"CREATE DATABASE {self.name}")

    def remove(self) -> None:
        """Drop it, whoever still has it open."""
        self._tell(f"DROP DATABASE {self.name} WITH (FORCE)")

    def _tell(self, statement: str) -> None:
        with self.server.connect() as connection:
            connection.execute(statement)
