"""The PostgreSQL fixtures keep what they promise."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, text

from tests.services.postgres import PostgresServer, running_server

_CHECKOUT = Path(__file__).parents[2]


def test_the_server_is_ours_and_durable(postgres_process: PostgresServer) -> None:
    with postgres_process.connect() as connection:
        shown = {
            name: connection.execute(f"SHOW {name}").fetchone()
            for name in ("fsync", "max_connections", "data_directory", "listen_addresses")
        }

    assert shown == {
        "fsync": ("on",),
        "max_connections": ("100",),
        "data_directory": (str(postgres_process.folder / "data"),),
        "listen_addresses": ("127.0.0.1",),
    }


def test_the_server_does_not_run_as_root(postgres_process: PostgresServer) -> None:
    assert Path("/proc", str(postgres_process.pid)).stat().st_uid != 0


def test_the_server_fixture_is_a_url_that_sqlalchemy_takes(postgres_server: str) -> None:
    engine = create_engine(postgres_server)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT current_user")).scalar_one() == "countermand"
    engine.dispose()


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_has_an_empty_database_of_its_own(postgres_database: str, turn: int) -> None:
    engine = create_engine(postgres_database)
    with engine.begin() as connection:
        tables = text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert connection.execute(tables).scalar_one() == 0
        connection.execute(text("CREATE TABLE left_behind (turn integer)"))
    engine.dispose()


def test_the_end_of_the_context_stops_the_server_and_removes_its_folder(
    postgres_process: PostgresServer,  # for its service marker
) -> None:
    with running_server() as server:
        assert server.pid != postgres_process.pid
    assert not server.folder.exists()
    assert not Path("/proc", str(server.pid)).exists()
    with pytest.raises(psycopg.OperationalError):
        server.connect()


@pytest.mark.crash
@pytest.mark.service("postgresql")
def test_the_server_dies_with_a_killed_test_process() -> None:
    script = (
        "import time\n"
        "from tests.services.postgres import running_server\n"
        "with running_server() as server:\n"
        "    print(server.pid, server.folder, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=_CHECKOUT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pid, folder = process.stdout.readline().split()
        assert Path("/proc", pid).exists()
        process.send_signal(signal.SIGKILL)

    _wait_until_gone(int(pid))
    with running_server():
        assert not Path(folder).exists(), "the next server tidies up after the killed one"


def _wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        # A zombie has ended; whether anybody collects it is up to the machine's init.
        status = Path("/proc", str(pid), "status")
        if not status.exists() or re.search(r"^State:\s+Z", status.read_text(), re.MULTILINE):
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    raise AssertionError("the server outlived the test process")
