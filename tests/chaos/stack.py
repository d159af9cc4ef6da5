"""Stack: the scaled installation of the chaos tests, on servers that may be killed.

One API, two coordinators and two workers as they are shipped; PostgreSQL behind a proxy, with
the oracle's triggers; a Kafka, behind another proxy if that is asked for.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aiokafka.partitioner import murmur2  # type: ignore[import-untyped] # ships none

from streams.topics import COMMANDS
from streams.topology import StageName, all_topics
from streams.transport.kafka import admin
from tests.chaos.processes import Process
from tests.chaos.proxy import Proxy
from tests.chaos.wire import Deaf
from tests.crash import oracle
from tests.crash.client import Client
from tests.crash.keeper import installed
from tests.kafka import groups
from tests.services.kafka import KafkaCluster, Way, free_ports, running_kafka
from tests.services.postgres import PostgresCluster, running_cluster
from tests.services.receiver import ALLOWED

CHECKOUT: Final = Path(__file__).parents[2]
DATABASE: Final = "chaos"
PARTITIONS: Final = 4
SYSTEMS: Final = ("annotations", "chaos", "crash", "texts")
ARCHIVES: Final = "archives"
COORDINATORS: Final = ("coordinator-1", "coordinator-2")
WORKERS: Final = ("worker-1", "worker-2")
_START_SECONDS: Final = 90.0


@dataclass
class Stack:
    """A running installation; ``processes`` are its members by name, ``guests`` come and go."""

    folder: Path
    kafka: KafkaCluster
    postgres: PostgresCluster
    proxy: Proxy
    environment: Mapping[str, str]
    make: Callable[..., Process] = Process
    """What a member is: role, name, folder, environment and port."""
    way: Proxy | None = None
    """The proxy that the members reach Kafka by."""
    processes: dict[str, Process] = field(default_factory=dict)
    guests: dict[str, Process] = field(default_factory=dict)

    # -- its members --------------------------------------------------------------------

    @property
    def api(self) -> Process:
        """The one that answers."""
        return self.processes["api"]

    @property
    def coordinators(self) -> list[Process]:
        """Those that decide."""
        return [self.processes[name] for name in COORDINATORS]

    @property
    def archives(self) -> Path:
        """Where the files of archived jobs are."""
        return self.folder / ARCHIVES

    @property
    def workers(self) -> list[Process]:
        """Those that work."""
        return [self.processes[name] for name in WORKERS]

    def add(self, role: str, name: str, *, port: int = 0) -> Process:
        """Another member, not started."""
        made = self.make(role, name, self.folder, self.environment, port=port)
        self.processes[name] = made
        return made

    def guest(self, role: str, name: str) -> Process:
        """A member that nobody counts on, not started unless it was here before.

        An API keeps its address over restarts.
        """
        if name not in self.guests:
            port = _free_port() if role == "api" else 0
            self.guests[name] = self.make(role, name, self.folder, self.environment, port=port)
        return self.guests[name]

    def start(self, *chosen: Process) -> None:
        """Start these, or all, that do not run; return when all of them take work."""
        those = chosen or tuple(self.processes.values())
        for process in those:
            if not process.is_running:
                process.start()
        for process in those:
            process.thaw()
            process.wait_ready(_START_SECONDS)

    def stop(self, *chosen: Process) -> list[int]:
        """Stop these, or all, at once; returns their exit codes."""
        those = chosen or (*self.processes.values(), *self.guests.values())
        for process in those:
            process.thaw()
            process.ask_to_stop()
        return [process.wait() for process in those]

    def coordinator_of(self, job_id: str) -> Process:
        """The one that decides on a job: its commands are on a partition of that one's."""
        members = {f"{name}-coordinator": self.processes[name] for name in COORDINATORS}
        partitions = {(COMMANDS, number) for number in range(PARTITIONS)}
        group = StageName.COORDINATOR.value
        shares = groups.settled(self.kafka.bootstrap, group, members.keys(), partitions)
        of_job = COMMANDS, (murmur2(job_id.encode()) & 0x7FFFFFFF) % PARTITIONS
        return next(members[name] for name, share in shares.items() if of_job in share)

    def unready(self, word: str, seconds: float) -> None:
        """Return once every member says that it takes no work, and why."""
        until = time.monotonic() + seconds
        for process in self.processes.values():
            while word not in (said := process.not_ready() or ""):
                assert time.monotonic() < until, f"{process.name} says {said!r}, nothing of {word}"
                time.sleep(0.1)

    def owner_of(self, pid: int) -> Process:
        """The member whose engine has this process id."""
        return next(one for one in self.processes.values() if one.engine() == pid)

    # -- what tests ask of it -----------------------------------------------------------

    def client(self, patience: float = 90.0) -> Client:
        """A stubborn caller of the API, which keeps its address over restarts."""
        return Client(self.api.url, patience)

    @contextmanager
    def opened(self, *, write: bool = False) -> Iterator[Any]:
        """A connection past engine and proxy."""
        with self.postgres.server.connect(DATABASE) as connection:
            connection.read_only = not write
            yield connection

    @property
    def logs(self) -> dict[str, str]:
        """What all members have said in all their lives, by name."""
        return {
            name: process.log.read_text(errors="replace")
            for name, process in {**self.processes, **self.guests}.items()
            if process.log.exists()
        }


@contextmanager
def running_stack(
    folder: Path, seed: int, *, brokers: int = 1, make: Callable[..., Process] = Process
) -> Iterator[Stack]:
    """All of it, ready, with an empty database that the oracle watches."""
    with (
        running_kafka(brokers=brokers) as kafka,
        _running(folder, seed, kafka, kafka.url, make) as stack,
    ):
        yield stack


@contextmanager
def running_behind_proxy(folder: Path, seed: int) -> Iterator[Stack]:
    """As ``running_stack``, with a proxy on the way to Kafka as well."""
    (port,) = free_ports(1)
    with (
        Proxy(lambda: port, random.Random(seed), Deaf) as way,
        running_kafka(way=Way(port, way.port)) as kafka,
        _running(folder, seed, kafka, f"kafka://127.0.0.1:{way.port}") as stack,
    ):
        stack.way = way
        yield stack


@contextmanager
def _running(
    folder: Path,
    seed: int,
    kafka: KafkaCluster,
    broker: str,
    make: Callable[..., Process] = Process,
) -> Iterator[Stack]:
    with (
        running_cluster() as postgres,
        Proxy(lambda: postgres.server.port, random.Random(seed)) as proxy,
    ):
        with postgres.server.connect() as connection:
            connection.execute(f"CREATE DATABASE {DATABASE}")
        asyncio.run(admin.create(kafka.url, all_topics(SYSTEMS), partitions=PARTITIONS))
        stack = Stack(folder, kafka, postgres, proxy, _environment(folder, broker, proxy), make)
        stack.add("api", "api", port=_free_port())
        for name in COORDINATORS:
            stack.add("coordinator", name)
        for name in WORKERS:
            stack.add("worker", name)
        try:
            stack.start()
            with stack.opened(write=True) as connection:
                oracle.install(connection)
            yield stack
        finally:
            stack.stop()


def _environment(folder: Path, broker: str, proxy: Proxy) -> dict[str, str]:
    path = [
        CHECKOUT,
        installed(folder / "crash", "crash-plugin", "tests.crash.plugin:operations"),
        installed(folder / "chaos", "chaos-plugin", "tests.chaos.plugin:operations"),
    ]
    address = f"postgresql://countermand@127.0.0.1:{proxy.port}/{DATABASE}"
    return {
        **{name: value for name, value in os.environ.items() if "COUNTERMAND" not in name},
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        "COUNTERMAND_BROKER": broker,
        "COUNTERMAND_DATABASE": address,
        "COUNTERMAND_DATA_DIR": str(folder),
        "COUNTERMAND_ARCHIVE_DIR": str(folder / ARCHIVES),
        # Who balances looks before each request: a moment is enough.
        "COUNTERMAND_LEAVE": "0.5",
        **ALLOWED,
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
