"""Apache Kafka (KRaft) of the test run's own: brokers that are started, killed and taken away.

Each test process (so each xdist worker) has its own cluster, in a temporary folder and on free
ports of the loopback address. The kernel kills the brokers when the test process dies, however
it dies. Outside of pytest: `with running_kafka() as kafka: ...`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.services import kafka_classes
from tests.services.kafka_jars import fetch, find_java
from tests.services.switch import need

_PREFIX: Final = "countermand-kafka-"
_START_SECONDS: Final = 90.0
_STOP_SECONDS: Final = 20.0
_PORT_TRIES: Final = 5
_LAUNCHER: Final = Path(__file__).with_name("launch.py")
_STARTED: Final = b"Kafka Server started"
_CHECKPOINT: Final = "bootstrap.checkpoint"
# Small and quick to start rather than fast; 340 MB resident.
_JVM: Final = (
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
    # The one line that says that the broker takes requests.
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
)
_SETTINGS: Final = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,WAY:PLAINTEXT,CONTROLLER:PLAINTEXT",
    # Whoever forgets to create a topic shall notice.
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "offsets.topic.num.partitions": "2",
    "transaction.state.log.num.partitions": "1",
    # A killed broker may come back once the controllers have noticed that it was gone.
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",
    # The default buffer is a third of our heap.
    "log.cleaner.dedupe.buffer.size": "2097152",
    "num.io.threads": "2",
    "num.network.threads": "1",
    "num.recovery.threads.per.data.dir": "1",
    "background.threads": "1",
}

# The kernel ties a process to the thread that started it. This one lives as long as we do.
_spawner: Final = ThreadPoolExecutor(1, thread_name_prefix="kafka-spawner")


class KafkaFailed(RuntimeError):
    """A broker did not come up; the message ends with what it wrote."""


@dataclass(frozen=True, slots=True)
class Way:
    """Another way to a broker: ``entry`` is where clients go, ``port`` where it takes them.

    A client that comes by it is told of no other.
    """

    port: int
    entry: int


@dataclass(frozen=True, slots=True)
class Guard:
    """Further doors of the first broker, by name: what is spoken there, and what that takes.

    ``users`` are who may sign in there, as Kafka's own tool takes them.
    """

    doors: Mapping[str, str]
    properties: Mapping[str, str]
    users: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """What a broker keeps over all its starts."""

    number: int
    port: int
    controller_port: int
    folder: Path
    way: Way | None = None
    guard: Guard | None = None
    doors: Mapping[str, int] = field(default_factory=dict)
    """Ports of the guard's doors."""


class KafkaBroker:
    """One broker, which is its own controller too: the same port and data at every start.

    All methods block; call them by `asyncio.to_thread` where an event loop runs.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self._process: subprocess.Popen[bytes] | None = None
        self._said_before = 0

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.node.port}"

    @property
    def pid(self) -> int:
        """The process id of the running broker."""
        if not self.is_running:
            raise KafkaFailed(f"the broker at {self.address} is not running")
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives; a frozen one does."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start, and return when the broker takes requests."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start, and do not wait; brokers of a cluster become ready together."""
        if self.is_running:
            raise KafkaFailed(f"the broker at {self.address} is running already")
        self._said_before = self._log.stat().st_size
        self._process = _spawn(["kafka.Kafka", str(self._properties)], self.node.folder, self._log)

    def wait_ready(self) -> None:
        """Return when the broker takes requests."""
        deadline = time.monotonic() + _START_SECONDS
        while _STARTED not in self._log.read_bytes()[self._said_before :]:
            if not self.is_running:
                raise KafkaFailed(f"the broker ended at its start:\n{_tail(self._log)}")
            if time.monotonic() > deadline:
                raise KafkaFailed(
                    f"the broker was not ready in {_START_SECONDS:.0f} s:\n{_tail(self._log)}"
                )
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """SIGTERM, for an orderly shutdown; SIGKILL if that takes too long."""
        if self._process is None or not self.is_running:
            return
        self.thaw()
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=_STOP_SECONDS)
        self.kill()

    def restart(self) -> None:
        """Stop in order, and start again."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers, from when this returns.

        The signal is taken by one thread, and on a busy machine others go on for a while.
        """
        os.kill(self.pid, signal.SIGSTOP)
        ends = time.monotonic() + _STOP_SECONDS
        while not _is_stopped(self.pid):
            if time.monotonic() > ends:
                raise KafkaFailed(f"broker {self.pid} goes on in spite of SIGSTOP")
            time.sleep(0.005)

    def thaw(self) -> None:
        """SIGCONT, the end of `freeze`."""
        os.kill(self.pid, signal.SIGCONT)

    def format(self, cluster_id: str, nodes: Sequence[Node]) -> None:
        """Write the properties and an empty data folder."""
        self.node.folder.mkdir()
        self._properties.write_text(_lines(_properties(self.node, nodes)))
        data = _data(self.node)
        data.mkdir()
        users = () if self.node.guard is None else self.node.guard.users
        (data / _CHECKPOINT).write_bytes(_checkpoint(users))
        about = {
            "version": "1",
            "cluster.id": cluster_id,
            "node.id": str(self.node.number),
            "directory.id": _uuid(),
        }
        (data / "meta.properties").write_text(_lines(about))
        self._log.touch()

    @property
    def _log(self) -> Path:
        return self.node.folder / "log"

    @property
    def _properties(self) -> Path:
        return self.node.folder / "server.properties"


@dataclass(frozen=True, slots=True)
class KafkaCluster:
    """Running brokers; with three, a topic has three replicas of which two must be in sync."""

    brokers: tuple[KafkaBroker, ...]
    folder: Path

    @property
    def bootstrap(self) -> str:
        """The addresses as Kafka's own clients take them."""
        return ",".join(broker.address for broker in self.brokers)

    @property
    def url(self) -> str:
        """The addresses as our setting `broker` takes them."""
        return f"kafka://{self.bootstrap}"

    def behind(self, door: str) -> str:
        """Host and port of a door of the guard."""
        return f"127.0.0.1:{self.brokers[0].node.doors[door]}"

    @property
    def replication(self) -> int:
        """How many replicas a topic can have."""
        return len(self.brokers)

    def start(self) -> None:
        """Start all brokers that do not run."""
        launched = [broker for broker in self.brokers if not broker.is_running]
        for broker in launched:
            broker.launch()
        for broker in launched:
            broker.wait_ready()

    def kill(self) -> None:
        """SIGKILL all brokers."""
        for broker in self.brokers:
            broker.kill()

    def stop(self) -> None:
        """Stop all brokers in order.

        All at once: the last ones would wait for a majority of controllers that is gone.
        """
        with ThreadPoolExecutor(len(self.brokers)) as pool:
            list(pool.map(KafkaBroker.stop, self.brokers))

    def restart(self) -> None:
        """Stop all brokers in order, and start them again."""
        self.stop()
        self.start()


@contextlib.contextmanager
def running_kafka(
    brokers: int = 1, *, way: Way | None = None, guard: Guard | None = None
) -> Iterator[KafkaCluster]:
    """Start an empty cluster; kill it and remove its folder at the end.

    ``way``: another way to the first broker. ``guard``: who is let in there by doors of its own.
    """
    _remove_leftovers()
    # The process id in the name tells a later run whose folder it may remove.
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    cluster = None
    try:
        cluster = _start(folder, brokers, way, guard)
        yield cluster
    finally:
        if cluster is not None:
            # The folder goes as well, so there is nothing to put in order.
            cluster.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path, brokers: int, way: Way | None, guard: Guard | None) -> KafkaCluster:
    """Start on free ports. Another process may take one first, so a few are tried."""
    for attempt in range(1, _PORT_TRIES + 1):
        home = folder / str(attempt)
        home.mkdir()
        cluster = _make_cluster(home, brokers, way, guard)
        try:
            cluster.start()
        except BaseException as error:
            cluster.kill()
            is_taken = "Address already in use" in str(error)
            if not is_taken or attempt == _PORT_TRIES:
                raise
        else:
            return cluster
    raise AssertionError("unreachable: the last try returns or raises")


def _make_cluster(home: Path, count: int, way: Way | None, guard: Guard | None) -> KafkaCluster:
    names = () if guard is None else tuple(guard.doors)
    ports = free_ports(2 * count + len(names))
    doors = {name: ports.pop() for name in names}
    first = Node(1, ports.pop(), ports.pop(), home / "1", way, guard, doors)
    others = [
        Node(number, ports.pop(), ports.pop(), home / str(number)) for number in range(2, count + 1)
    ]
    nodes = [first, *others]
    cluster_id = _uuid()
    brokers = tuple(map(KafkaBroker, nodes))
    for broker in brokers:
        broker.format(cluster_id, nodes)
    return KafkaCluster(brokers, home)


@functools.cache
def _checkpoint(users: tuple[str, ...]) -> bytes:
    """What an empty data folder has beside its ids, as Kafka's own tool makes it: users, if any.

    It is the same for all nodes, and the tool takes a second of the processor each time.
    """
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-") as name:
        folder = Path(name)
        node, log = Node(1, *free_ports(2), folder), folder / "log"
        properties = folder / "server.properties"
        properties.write_text(_lines(_properties(node, [node])))
        # An id that begins with a dash would be taken for an option if it stood by itself.
        options = [f"--cluster-id={_uuid()}", f"--config={properties}"]
        options += [f"--add-scram={user}" for user in users]
        with _spawn(["kafka.tools.StorageTool", "format", *options], folder, log) as process:
            try:
                code = process.wait(timeout=_START_SECONDS)
            finally:
                process.kill()
        if code != 0:
            raise KafkaFailed(f"the data folder could not be made:\n{_tail(log)}")
        return (_data(node) / _CHECKPOINT).read_bytes()


def _data(node: Node) -> Path:
    return node.folder / "data"


def _uuid() -> str:
    """An id as Kafka writes it."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def _lines(properties: Mapping[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in properties.items())


def _properties(node: Node, nodes: Sequence[Node]) -> dict[str, str]:
    replicas, in_sync = str(len(nodes)), str(len(nodes) // 2 + 1)
    own = f"PLAINTEXT://127.0.0.1:{node.port},CONTROLLER://127.0.0.1:{node.controller_port}"
    listeners = advertised = own
    if node.way is not None:
        listeners += f",WAY://127.0.0.1:{node.way.port}"
        advertised += f",WAY://127.0.0.1:{node.way.entry}"
    for door, port in node.doors.items():
        listeners += f",{door}://127.0.0.1:{port}"
        advertised += f",{door}://127.0.0.1:{port}"
    return {
        **_SETTINGS,
        **_guarded(node.guard),
        "node.id": str(node.number),
        "controller.quorum.voters": ",".join(
            f"{each.number}@127.0.0.1:{each.controller_port}" for each in nodes
        ),
        "listeners": listeners,
        "advertised.listeners": advertised,
        # Which of the two it is by which brokers speak with one another.
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(_data(node)),
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
    }


def _guarded(guard: Guard | None) -> dict[str, str]:
    if guard is None:
        return {}
    spoken = [f"{door}:{protocol}" for door, protocol in guard.doors.items()]
    protocols = ",".join([_SETTINGS["listener.security.protocol.map"], *spoken])
    return {**guard.properties, "listener.security.protocol.map": protocols}


def _spawn(arguments: list[str], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Run a Java program of Kafka that dies with us.

    A session of its own keeps an interrupt typed at the terminal from it, which would bring the
    broker down before the tests that use it have ended.
    """
    java = find_java()
    if java is None:
        raise KafkaFailed("no Java on this machine that is recent enough")
    numbers = map(str, (os.getpid(), int(signal.SIGKILL), os.geteuid(), os.getegid()))
    launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), *numbers]
    options = [*_JVM, *kafka_classes.options(), "-cp", f"{fetch()}/*"]
    command = [*launcher, str(java), *options, *arguments]

    def run() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    return _spawner.submit(run).result()


def free_ports(count: int) -> list[int]:
    """Ports that are free, below those the kernel gives to outgoing connections.

    A broker comes back on its port. Meanwhile no client must get that port for its own end of a
    connection, least of all a client that tries to reach this very port.
    """
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            port = random.randrange(max(1024, lowest - 20_000), lowest)
            with contextlib.suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
                ports.append(port)
        return ports


def _is_stopped(pid: int) -> bool:
    """Whether no thread of a process goes on; the state follows the name, in parentheses."""
    states = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            states.append((thread / "stat").read_text().rpartition(")")[2].split()[0])
    return bool(states) and set(states) <= {"T", "t"}


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


def _remove_leftovers() -> None:
    """Remove folders of test processes that were killed before they could tidy up."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)


async def create_topic(
    cluster: KafkaCluster, topic: str, partitions: int = 1, **configs: str
) -> None:
    """Create a topic; a broker that has just come back refuses for a moment."""
    new = NewTopic(topic, partitions, cluster.replication, topic_configs=configs)
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    await admin.start()
    try:
        async with asyncio.timeout(_START_SECONDS):
            while any(code for _, code, *_ in (await admin.create_topics([new])).topic_errors):  # noqa: ASYNC110 - a broker tells nobody
                await asyncio.sleep(0.1)
    finally:
        await admin.close()


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaCluster]:
    """The broker of this test process; who stops it must start it again."""
    need("kafka")
    with running_kafka() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def kafka_of_three() -> Iterator[KafkaCluster]:
    """Three brokers, for the tests of a module; who stops one must start it again."""
    need("kafka")
    with running_kafka(brokers=3) as cluster:
        yield cluster
