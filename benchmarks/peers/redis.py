"""A Redis server for the peers that need one: in a folder of its own, on a free port."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

START_SECONDS = 20.0
STOP_SECONDS = 10.0
TRIES = 5


def found() -> str | None:
    """Where the server's program is."""
    return shutil.which("redis-server")


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """The URL of a server with Redis's own settings, stopped at the end."""
    process, port = _started(folder)
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        _stop(process)


def _started(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """On a free port. Another process may take it first, so a few are tried."""
    for _ in range(TRIES):
        port = _free_port()
        with (folder / "redis.log").open("ab") as log:
            process = subprocess.Popen(
                [str(found()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # An interrupt typed at the terminal is for the benchmark, which then stops it.
                start_new_session=True,
            )
        try:
            if _is_ready(process, port):
                return process, port
        except BaseException:
            _stop(process)
            raise
    raise RuntimeError(f"redis-server did not start:\n{(folder / 'redis.log').read_text()}")


def _is_ready(process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether it came up; a server that lost its port to another has ended."""
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", port), timeout=1) as connection,
        ):
            connection.sendall(b"PING\r\n")
            if connection.recv(16).startswith(b"+PONG"):
                return process.poll() is None
        time.sleep(0.05)
    _stop(process)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
