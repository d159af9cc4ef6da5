"""Scaled: an API, two coordinators and two workers over a Kafka and a PostgreSQL of its own."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from streams import broker_address
from tests.acceptance.commands import Service, countermand, wait_ready
from tests.acceptance.stack import Stack
from tests.nursery import Child
from tests.services.kafka import running_kafka
from tests.services.postgres import PostgresServer

PARTITIONS = 4
COORDINATORS = ("coordinator-1", "coordinator-2")
WORKERS = ("worker-1", "worker-2")
START_SECONDS = 100.0
"""Five processes that start at once, on a machine that may have more to do."""
READ_SECONDS = 30.0


class Scaled(Stack):
    """Processes over a broker and a database that outlive them."""

    kind = "scaled"

    def __init__(self, folder: Path, database: str, broker: str, **variables: str) -> None:
        super().__init__(folder, database)
        self._variables = {
            "COUNTERMAND_DATABASE": database,
            "COUNTERMAND_BROKER": broker,
            "COUNTERMAND_DATA_DIR": str(folder),
            **variables,
        }
        self.api = self._service("api", "api")
        self.coordinators = [self._instance("coordinator", name) for name in COORDINATORS]
        self.workers = [self._instance("worker", name) for name in WORKERS]
        self._turns = itertools.cycle(self.coordinators)

    def _instance(self, role: str, name: str) -> Service:
        return self._service(name, role, "--instance", name)

    def _service(self, name: str, *verb: str) -> Service:
        return Service(self.folder / f"{name}.log", *verb, **self._variables)

    @property
    def services(self) -> list[Service]:
        """All of them; each is a supervisor and its process."""
        return [self.api, *self.coordinators, *self.workers]

    @property
    def url(self) -> str:
        """Where the API listens."""
        return self.api.url

    @property
    def log(self) -> str:
        """What all processes have said so far."""
        return "".join(f"{one.log.name}:\n{one.log.read_text()}" for one in self.services)

    @property
    def place(self) -> tuple[str, ...]:
        """The database, and the directory of what belongs to it."""
        return ("--database", self.database, "--data-dir", str(self.folder))

    @property
    def supervisors(self) -> list[Child]:
        """One for each service."""
        return [one.process for one in self.services]

    def messages(self) -> list[str]:
        """All that the broker has."""
        return asyncio.run(_messages(self._variables["COUNTERMAND_BROKER"]))

    @property
    def is_running(self) -> bool:
        """Whether all of it runs."""
        return all(one.is_running for one in self.services)

    def start(self) -> None:
        """Start all at once, and return when all are ready."""
        for one in self.services:
            one.start()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Return when all processes take work."""
        until = time.monotonic() + START_SECONDS
        for one in self.services:
            wait_ready(one, until)

    def stop(self) -> int:
        """Ask all to end at once; returns the worst exit code."""
        for one in self.services:
            one.ask_to_stop()
        return max(one.wait() for one in self.services)

    def kill_engine(self) -> None:
        """SIGKILL for the process of the API, of a coordinator in turn, and of who works."""
        for one in (self.api, next(self._turns), self._working):
            one.engine.kill()

    def kill_edge(self) -> None:
        """SIGKILL for the process of the API."""
        self.api.engine.kill()

    def kill_owner(self, owned: str) -> None:
        """SIGKILL for the process of the coordinator that holds the lease."""
        ((holder,),) = self.rows("SELECT holder FROM owners WHERE name = :name", name=owned)
        names = [f"{name}-coordinator" for name in COORDINATORS]
        self.coordinators[names.index(holder)].engine.kill()

    @property
    def _working(self) -> Service:
        """A worker that has claimed something; the work of a job is all with one of them."""
        claims = self.rows("SELECT worker FROM chunks WHERE open AND worker IS NOT NULL")
        busy = [
            service
            for name, service in zip(WORKERS, self.workers, strict=True)
            if any(claim.worker.startswith(f"{name}-") for claim in claims)
        ]
        return busy[0] if busy else self.workers[0]


@contextmanager
def scaled(folder: Path, postgres: PostgresServer, **variables: str) -> Iterator[Scaled]:
    """An installation with a database and a broker of its own, ended on the way out."""
    name = folder.name.replace("-", "_")
    with postgres.connect() as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    with running_kafka() as kafka:
        create = ("topics", "create", "--partitions", str(PARTITIONS), "--broker", kafka.url)
        # In a process of its own, which finds the plug-ins that the variables name.
        assert countermand(*create, **variables).returncode == 0
        stack = Scaled(folder, postgres.url(name), kafka.url, **variables)
        try:
            stack.start()
            yield stack
        finally:
            stack.stop()


async def _messages(address: str) -> list[str]:
    bootstrap = broker_address.parse(address).bootstrap
    partitions = await _partitions(bootstrap)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(partitions)
        found: list[str] = []
        async with asyncio.timeout(READ_SECONDS):
            while any([await consumer.position(one) < ends[one] for one in partitions]):
                for messages in (await consumer.getmany(timeout_ms=500)).values():
                    found += map(str, messages)
        return found
    finally:
        await consumer.stop()


async def _partitions(bootstrap: list[str]) -> list[TopicPartition]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        topics = await admin.describe_topics()
    finally:
        await admin.close()
    return [
        TopicPartition(topic["topic"], partition["partition"])
        for topic in topics
        for partition in topic["partitions"]
    ]
