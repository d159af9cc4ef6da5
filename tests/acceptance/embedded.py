"""Embedded: all in one process, ``countermand serve`` on a data directory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.stores.database import sqlite_url
from tests.acceptance.commands import PATIENCE, Service, wait_ready
from tests.acceptance.stack import Stack
from tests.nursery import Child


class Server(Stack):
    """A running ``countermand serve``."""

    kind = "embedded"

    def __init__(self, data_dir: Path, **variables: str) -> None:
        super().__init__(data_dir, sqlite_url(data_dir / "countermand.db"))
        self.data_dir = data_dir
        self.service = Service(
            data_dir / "server.log", "serve", "--data-dir", str(data_dir), **variables
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.service.url

    @property
    def log(self) -> str:
        """What supervisor and engines have said so far."""
        return self.service.log.read_text()

    @property
    def place(self) -> tuple[str, ...]:
        """The data directory."""
        return ("--data-dir", str(self.data_dir))

    @property
    def file(self) -> Path:
        """The SQLite database."""
        return self.data_dir / "countermand.db"

    @property
    def process(self) -> Child:
        """The supervisor."""
        return self.service.process

    @property
    def supervisors(self) -> list[Child]:
        """The only one."""
        return [self.process]

    def messages(self) -> list[str]:
        """None: its topics are within its process."""
        return []

    @property
    def is_running(self) -> bool:
        """Whether the supervisor runs."""
        return self.service.is_running

    def start(self) -> None:
        """Start it; it says its address when it is ready."""
        self.service.start()
        assert self.url

    def wait_ready(self) -> None:
        """Return when the engine takes work."""
        wait_ready(self.service, time.monotonic() + PATIENCE)

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        return self.service.stop()

    def kill_engine(self) -> None:
        """SIGKILL for the engine; the supervisor starts another."""
        self.service.engine.kill()

    def kill_edge(self) -> None:
        """SIGKILL for the engine, which does everything."""
        self.kill_engine()

    def kill_owner(self, owned: str) -> None:
        """SIGKILL for the engine, which does everything."""
        self.kill_engine()


@contextmanager
def serving(data_dir: Path, **variables: str) -> Iterator[Server]:
    """A server on a free port, ended on the way out."""
    server = Server(data_dir, **variables)
    try:
        server.start()
        yield server
    finally:
        server.stop()
