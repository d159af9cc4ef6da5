"""A PostgreSQL server of the test run's own: made, started and taken away by fixtures.

Each test process (so each xdist worker) has its own server, in a temporary folder and on a free
port of the loopback address. The kernel stops it when the test process dies, however it dies.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
import psycopg
import pytest

from tests.services.catalogue import find_postgres
from tests.services.switch import need

_PREFIX: Final = "countermand-postgres-"
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 20.0
_PORT_TRIES: Final = 5
_LEAVING: Final = 25
"""Looks for sessions that are about to leave."""
_LAUNCHER: Final = Path(__file__).with_name("launch.py")
# Small, since several may run side by side; durable, since crash tests rely on fsync.
_SETTINGS: Final = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "listen_addresses": "127.0.0.1",
    # The default socket folder belongs to a server that the machine may run.
    "unix_socket_directories": "",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "max_connections": "100",
    "autovacuum_naptime": "10min",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


# The kernel ties a process to the thread that started it. This one lives as long as we do.
_spawner: Final = ThreadPoolExecutor(1, thread_name_prefix="postgres-spawner")


OWNER: Final = "countermand"
"""The role that makes the databases: it may do anything."""


class PostgresFailed(RuntimeError):
    """The server did not come up; the message ends with what it wrote."""


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server. Its role `countermand` may do anything; nobody needs a password."""

    port: int
    pid: int
    folder: Path

    def url(self, database: str = "postgres") -> str:
        """The address of a database as SQLAlchemy takes it."""
        return f"postgresql+psycopg://{OWNER}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """A connection outside any transaction, as CREATE DATABASE wants it."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=OWNER,
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    @contextlib.contextmanager
    def database(self, name: str, template: str = "template0") -> Iterator[str]:
        """The URL of a new database, a copy of another, which is gone with the context."""
        with self.connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield self.url(name)
        finally:
            with self.connect() as connection:
                _wait_left(connection, name)
                # FORCE ends sessions that a failed test left open.
                connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _wait_left(connection: psycopg.Connection, database: str) -> None:
    """Return when nobody is signed in to a database, or has not left it for a while.

    A session that was closed a moment ago is still there, and a drop that meets one looks again
    only after a tenth of a second: as long as many a test takes.
    """
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
    for _ in range(_LEAVING):
        found = connection.execute(sessions, (database,)).fetchone()
        if found is None or not found[0]:
            return
        time.sleep(0.002)


class PostgresCluster:
    """One folder of data, with the server that runs on it; a crash is followed by a start."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries = binaries
        self._folder = folder
        self._account = _account()
        self._process: subprocess.Popen[bytes] | None = None
        self._server: PostgresServer | None = None

    @property
    def server(self) -> PostgresServer:
        """The server as it runs now; each start may be on another port."""
        assert self._server is not None, "it was never started"
        return self._server

    def make(self) -> None:
        """An empty cluster."""
        if self._account is not None:
            os.chown(self._folder, self._account.pw_uid, self._account.pw_gid)
        _make_cluster(self._binaries, self._folder, self._account)

    def start(self) -> PostgresServer:
        """Start the server, and return when it takes connections."""
        process, port = _start(self._binaries, self._folder, self._account)
        self._process = process
        self._server = PostgresServer(port=port, pid=process.pid, folder=self._folder)
        return self._server

    def kill(self) -> None:
        """SIGKILL for the server and the processes of its sessions, as a crash of the machine."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        sessions = psutil.Process(process.pid).children(recursive=True)
        for one in (psutil.Process(process.pid), *sessions):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()
        psutil.wait_procs(sessions, timeout=_STOP_SECONDS)

    def stop(self) -> None:
        """An orderly end."""
        if self._process is not None:
            _stop(self._process)


@contextlib.contextmanager
def running_cluster() -> Iterator[PostgresCluster]:
    """Start a server on an empty cluster; stop it and remove its folder at the end."""
    _remove_leftovers()
    binaries = find_postgres()
    if binaries is None:
        raise PostgresFailed("no initdb and postgres on this machine")
    # The process id in the name tells a later run whose folder it may remove.
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    try:
        cluster = PostgresCluster(binaries, folder)
        cluster.make()
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running_server() -> Iterator[PostgresServer]:
    """As `running_cluster`, for those who want no more than a server."""
    with running_cluster() as cluster:
        yield cluster.server


def _account() -> pwd.struct_passwd | None:
    """Whom to run as: PostgreSQL refuses root, so root lends it a system account."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise PostgresFailed("running as root, and neither the account postgres nor nobody exists")


def _make_cluster(binaries: Path, folder: Path, account: pwd.struct_passwd | None) -> None:
    options = [f"--username={OWNER}", "--auth=trust", "--encoding=UTF8", "--locale=C"]
    # The cluster is seconds old: were the machine to crash now, nothing would be lost.
    command = [str(binaries / "initdb"), f"--pgdata={folder / 'data'}", *options, "--no-sync"]
    with (folder / "log").open("wb") as log:
        process = _spawn(command, folder, account, log.fileno())
        if process.wait(timeout=_START_SECONDS) != 0:
            raise PostgresFailed(f"initdb failed:\n{_log_tail(folder)}")


def _start(
    binaries: Path, folder: Path, account: pwd.struct_passwd | None
) -> tuple[subprocess.Popen[bytes], int]:
    """Start on a free port. Another process may take it first, so a few ports are tried."""
    for last in (*itertools.repeat(False, _PORT_TRIES - 1), True):
        port = _free_port()
        process = _launch(binaries, folder, account, port)
        try:
            _wait_ready(process, folder, port)
        except PostgresFailed:
            _stop(process)
            if last:
                raise
        except BaseException:
            _stop(process)
            raise
        else:
            return process, port
    raise AssertionError("unreachable: the last try returns or raises")


def _launch(
    binaries: Path, folder: Path, account: pwd.struct_passwd | None, port: int
) -> subprocess.Popen[bytes]:
    settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
    command = [str(binaries / "postgres"), "-D", str(folder / "data"), "-p", str(port), *settings]
    with (folder / "log").open("ab") as log:
        return _spawn(command, folder, account, log.fileno())


def _spawn(
    command: list[str], folder: Path, account: pwd.struct_passwd | None, output: int
) -> subprocess.Popen[bytes]:
    """Run a server program as `account`, in a session of its own.

    A session of its own keeps an interrupt typed at the terminal from the server, which would
    go down before the tests that use it have ended.
    """
    ids = (os.geteuid(), os.getegid()) if account is None else (account.pw_uid, account.pw_gid)
    # SIGQUIT is an immediate shutdown, in which the server takes its children along.
    numbers = map(str, (os.getpid(), int(signal.SIGQUIT), *ids))
    launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), *numbers]
    return _spawner.submit(
        subprocess.Popen,
        [*launcher, *command],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    ).result()


def _wait_ready(process: subprocess.Popen[bytes], folder: Path, port: int) -> None:
    server = PostgresServer(port=port, pid=process.pid, folder=folder)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise PostgresFailed(f"postgres ended at its start:\n{_log_tail(folder)}")
        with contextlib.suppress(psycopg.OperationalError), server.connect() as connection:
            if _is_ours(connection, folder):
                return
        time.sleep(0.05)
    raise PostgresFailed(f"postgres was not ready in {_START_SECONDS:.0f} s:\n{_log_tail(folder)}")


def _is_ours(connection: psycopg.Connection, folder: Path) -> bool:
    """Whether this is our server, and not one that took the port before it."""
    row = connection.execute("SHOW data_directory").fetchone()
    return row is not None and Path(row[0]).resolve() == (folder / "data").resolve()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Fast shutdown, then an immediate one, then no more asking."""
    for wish in (signal.SIGINT, signal.SIGQUIT):
        if process.poll() is None:
            process.send_signal(wish)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_STOP_SECONDS)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _log_tail(folder: Path) -> str:
    return "\n".join((folder / "log").read_text(errors="replace").splitlines()[-20:])


def _remove_leftovers() -> None:
    """Remove folders of test processes that were killed before they could tidy up."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_process() -> Iterator[PostgresServer]:
    """The PostgreSQL server of this test process, with what only its own tests ask for."""
    need("postgresql")
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server(postgres_process: PostgresServer) -> str:
    """The URL of the maintenance database of a PostgreSQL server of the test run's own."""
    return postgres_process.url()


_numbers = itertools.count(1)


@pytest.fixture
def postgres_database(postgres_process: PostgresServer) -> Iterator[str]:
    """The URL of an empty database of the test's own."""
    with postgres_process.database(f"test_{next(_numbers)}") as url:
        yield url
