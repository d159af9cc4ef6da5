"""Installation: the roles as processes of their own, over a real Kafka and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from streams.topology import all_topics
from streams.transport.kafka import admin
from tests.acceptance.commands import COMMAND, PATIENCE, environment
from tests.services.kafka import KafkaCluster

PARTITIONS = 4
SYSTEMS = ("annotations",)
ROLES = (
    ("api",),
    ("coordinator", "--instance", "coordinator-1"),
    ("worker", "--instance", "worker-1", "--slots", "2"),
)


@dataclass(frozen=True, slots=True)
class Installation:
    """What runs, and where it is found."""

    kafka: KafkaCluster
    database: str
    """As SQLAlchemy takes it."""
    url: str
    folder: Path

    @property
    def bootstrap(self) -> str:
        """The broker as Kafka's own clients take it."""
        return self.kafka.bootstrap

    @property
    def environment(self) -> dict[str, str]:
        """What its verbs need to find it."""
        return {
            "COUNTERMAND_BROKER": self.kafka.url,
            "COUNTERMAND_DATABASE": self.database,
            "COUNTERMAND_DATA_DIR": str(self.folder),
        }

    def count(self, sql: str, **parameters: str) -> int:
        """What a query for a number finds in the database, past the engine."""
        engine = create_engine(self.database, poolclass=NullPool)
        with engine.connect() as connection:
            found: int = connection.execute(text(sql), parameters).scalar_one()
            return found

    async def get(self, path: str) -> Any:
        """What the API answers."""
        return await asyncio.to_thread(_get, self.url + path)


@contextlib.contextmanager
def installed(kafka: KafkaCluster, database: str, folder: Path) -> Iterator[Installation]:
    """Start every role once, and end them on the way out."""
    topics = all_topics(SYSTEMS)
    asyncio.run(
        admin.create(kafka.url, topics, partitions=PARTITIONS, replication=kafka.replication)
    )
    variables = Installation(kafka, database, "", folder).environment
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(_running(role, folder, variables)) for role in ROLES]
        urls = [_address(process, folder) for process in started]
        until = time.monotonic() + PATIENCE
        for url in urls:
            _wait_ready(url, folder, until)
        yield Installation(kafka, database, urls[0], folder)
        for process in started:
            process.send_signal(signal.SIGTERM)


@contextlib.contextmanager
def _running(
    role: Sequence[str], folder: Path, variables: dict[str, str]
) -> Iterator[subprocess.Popen[str]]:
    # A test run that is killed must not leave servers behind.
    options = ("--json", "--port", "0", "--end-with-input")
    with (
        (folder / f"{role[0]}.log").open("ab") as log,
        subprocess.Popen(
            [*COMMAND, *role, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment(**variables),
        ) as process,
    ):
        try:
            yield process
            assert process.wait(PATIENCE) == 0, _logs(folder)
        finally:
            process.kill()


def _address(process: subprocess.Popen[str], folder: Path) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"a role ended at its start:\n{_logs(folder)}"
    url: str = json.loads(line)["url"]
    return url


def _wait_ready(url: str, folder: Path, until: float) -> None:
    """Return when a process says that it takes work."""
    said: object = ""
    while time.monotonic() < until:
        try:
            _get(f"{url}/health/ready")
        except urllib.error.HTTPError as error:
            with error:
                said = error.read()
        except OSError as error:
            said = error
        else:
            return
        time.sleep(0.1)
    raise AssertionError(f"{url} is not ready: {said!r}\n{_logs(folder)}")


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        return json.load(answer)


def _logs(folder: Path) -> str:
    return "".join(f"{log.name}:\n{log.read_text()[-3000:]}" for log in folder.glob("*.log"))
