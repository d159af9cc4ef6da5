"""Stack: an installation that runs, and what tests do with it, however many processes it has.

The same tests hold for :mod:`tests.acceptance.embedded` and :mod:`tests.acceptance.scaled`.
Tests share one, so none may expect it to be empty, and each names its own jobs and keys.
"""

from __future__ import annotations

import json
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import psutil
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.pool import NullPool

from tests.acceptance.commands import asked
from tests.nursery import Child
from tests.proof.figures import tell


class Stack(ABC):
    """A running installation; ``database`` is its address as SQLAlchemy takes it."""

    kind: ClassVar[str]
    """What reports call it; no test asks."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        self.database = database

    # -- what each kind does in its own way -------------------------------------------

    @property
    @abstractmethod
    def url(self) -> str:
        """Where the API listens."""

    @property
    @abstractmethod
    def log(self) -> str:
        """What all its processes have said so far."""

    @property
    @abstractmethod
    def place(self) -> tuple[str, ...]:
        """The options by which a verb that opens the database finds it."""

    @property
    @abstractmethod
    def is_running(self) -> bool:
        """Whether it was started and not stopped."""

    @abstractmethod
    def start(self) -> None:
        """Start it, and return when it takes work."""

    @abstractmethod
    def wait_ready(self) -> None:
        """Return when it takes work, also after a process of it was killed."""

    @abstractmethod
    def stop(self) -> int:
        """Ask it to end, and return the exit code: 0 if all of it ended well."""

    @abstractmethod
    def kill_engine(self) -> None:
        """SIGKILL for a process that decides, one that works and one that answers.

        They may be one and the same. The supervisors are left, and start others.
        """

    @abstractmethod
    def kill_edge(self) -> None:
        """SIGKILL for the process that answers; its supervisor starts another."""

    @abstractmethod
    def kill_owner(self, owned: str) -> None:
        """SIGKILL for the process that does what one at a time does, as ``webhooks``."""

    @property
    @abstractmethod
    def supervisors(self) -> list[Child]:
        """The processes that were started; each has another as its child."""

    @abstractmethod
    def messages(self) -> list[str]:
        """All that is on its topics, outside of its processes."""

    # -- what all tests ask of it -------------------------------------------------------

    def ask(
        self, *arguments: str, given: str = "", **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a verb that speaks to it; ``more`` are variables beside the server's address."""
        return asked(*arguments, given=given, COUNTERMAND_URL=self.url, **more)

    def json(self, *arguments: str) -> Any:
        """The one JSON document that a verb prints; it must succeed."""
        ended = self.ask(*arguments, "--json")
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    def lines(self, *arguments: str) -> list[Any]:
        """The lines of JSON that a verb prints."""
        return [json.loads(line) for line in self.ask(*arguments, "--json").stdout.splitlines()]

    def rows(self, sql: str, **parameters: Any) -> list[Any]:
        """What the database says to a query, past the engine."""
        engine = create_engine(self.database, poolclass=NullPool)
        with engine.connect() as connection:
            return list(connection.execute(text(sql), parameters))

    def written(self) -> list[str]:
        """Its logs, files, tables and messages, and what its processes were started with."""
        files = [file for file in self.folder.rglob("*") if file.is_file()]
        texts = [file.read_bytes().decode("latin-1") for file in files]
        engine = create_engine(self.database, poolclass=NullPool)
        for table in inspect(engine).get_table_names():
            texts += map(str, self.rows(f'SELECT * FROM "{table}"'))
        family = [psutil.Process(one.pid) for one in self.supervisors]
        family += [child for one in family for child in one.children(recursive=True)]
        texts += [f"{one.cmdline()} {one.environ()}" for one in family]
        return texts + self.messages()

    def tell(self, name: str, value: object, **terms: object) -> None:
        """A figure for the report, which holds for this kind of stack."""
        tell(name, value, stack=self.kind, **terms)

    def check_audit(self) -> None:
        """Nobody has changed what is stored."""
        report = self.json("audit", "verify", *self.place)
        assert report["sound"], report
