"""Installation: the roles as processes of their own, over a Kafka that others speak to as well."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from streams.topology import all_topics
from streams.transport.kafka import admin
from tests.acceptance.commands import PATIENCE, Service
from tests.acceptance.scaled import START_SECONDS, wait_ready
from tests.services.kafka import KafkaCluster

PARTITIONS = 4
SYSTEMS = ("annotations", "texts")
ROLES: Mapping[str, Sequence[str]] = {
    "api": ("api",),
    "coordinator-1": ("coordinator", "--instance", "coordinator-1"),
    "worker-1": ("worker", "--instance", "worker-1", "--slots", "2"),
}
"""What runs, by its name: the command of each."""


@dataclass(frozen=True, slots=True)
class Installation:
    """What runs, and where it is found."""

    kafka: KafkaCluster
    database: str
    """As SQLAlchemy takes it."""
    folder: Path
    services: Mapping[str, Service] = field(default_factory=dict)
    """Its processes by name."""

    @property
    def url(self) -> str:
        """Where the API listens."""
        return self.services["api"].url

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
        return int(self._found(sql, parameters))

    def text(self, sql: str) -> str:
        """What a query for one text finds there; empty for none."""
        return str(self._found(sql, {}) or "")

    def notify(self, channel: str, payload: str) -> None:
        """Say something to whoever listens at the database."""
        engine = create_engine(self.database, poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(
                text("SELECT pg_notify(:channel, :payload)"),
                {"channel": channel, "payload": payload},
            )

    def _found(self, sql: str, parameters: Mapping[str, str]) -> Any:
        engine = create_engine(self.database, poolclass=NullPool)
        with engine.connect() as connection:
            return connection.execute(text(sql), parameters).scalar_one()

    async def get(self, path: str) -> Any:
        """What the API answers."""
        return await asyncio.to_thread(_get, self.url + path)


@contextlib.contextmanager
def installed(
    kafka: KafkaCluster,
    database: str,
    folder: Path,
    roles: Mapping[str, Sequence[str]] = ROLES,
    **variables: str,
) -> Iterator[Installation]:
    """Start every role once, and end them on the way out."""
    topics = all_topics(SYSTEMS)
    asyncio.run(admin.create(kafka.url, topics, partitions=PARTITIONS))
    known = {**Installation(kafka, database, folder).environment, **variables}
    services = {
        name: Service(folder / f"{name}.log", *command, **known) for name, command in roles.items()
    }
    try:
        for service in services.values():
            service.start()
        until = time.monotonic() + START_SECONDS
        for service in services.values():
            wait_ready(service, until)
        yield Installation(kafka, database, folder, services)
    finally:
        started = [service for service in services.values() if service.is_running]
        for service in started:
            service.ask_to_stop()
        codes = [service.wait() for service in started]
    assert codes == [0] * len(roles), "a role has ended by itself, or not in order"


def _get(url: str) -> Any:
    request = urllib.request.Request(url, headers={"Accept": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)
