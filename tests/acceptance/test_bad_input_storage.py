"""Bad storage under the real server: nothing is acknowledged that is not stored, and it goes on.

A disk that is full, a database that another process has locked, a damaged database file, a
second process on the same data directory, and a data directory of a newer version.
"""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.acceptance.bad_input import Site, problem, site
from tests.acceptance.commands import asked, countermand, refused
from tests.acceptance.embedded import Server
from tests.acceptance.plugins import crash_plugin
from tests.crash.client import JOBS, Answer

MIB = 1 << 20
UNDER_WAY = 1500
"""Items of a job that is under way while the disk is full."""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return crash_plugin(tmp_path_factory.mktemp("plugin") / "site")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, plugin: Path) -> Path:
    """A data directory with one job in it, whose server has ended."""
    folder = tmp_path_factory.mktemp("template")
    with site(folder, plugin) as running:
        running.settled("crash.create", [{"mark": f"{'x' * 150}{n}"} for n in range(2000)])
        assert running.server.stop() == 0
    return folder


def submit(running: Site[Server], number: int) -> Answer:
    """A job of a few large items under a key of its own."""
    items = [{"mark": f"{number}-{n}-{os.urandom(80).hex()}"} for n in range(100)]
    return running.post(JOBS, {"operation": "crash.create", "items": items}, key=f"job-{number}")


def begun(running: Site[Server]) -> str:
    """A job that is under way, and will be for some seconds: its rate sees to it."""
    items = [{"mark": f"under-way-{n}"} for n in range(UNDER_WAY)]
    body = {"operation": "crash.create", "items": items, "options": {"rate": UNDER_WAY / 5}}
    job_id = running.post(JOBS, body, key="under-way").document["job_id"]
    until = time.monotonic() + 30
    while not 0 < running.client.job(job_id)["counts"]["succeeded"] < UNDER_WAY:
        assert time.monotonic() < until, "it is not under way"
        time.sleep(0.01)
    return str(job_id)


# -- a disk that is full ------------------------------------------------------------------


@contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[Site[Server], bool], None]]:
    """A file system of a few MiB; what is yielded fills it up, or frees it again."""
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "countermand", str(folder)],
        check=True,
        capture_output=True,
    )
    ballast = folder / "ballast"

    def fill(_running: Site[Server], full: bool) -> None:
        if not full:
            ballast.unlink()
            return
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))

    try:
        yield fill
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


@contextmanager
def small_files(folder: Path) -> Iterator[Callable[[Site[Server], bool], None]]:
    """A limit to the size of files, for which no rights are needed."""
    del folder

    def fill(running: Site[Server], full: bool) -> None:
        limit = 4096 if full else resource.RLIM_INFINITY
        for child in psutil.Process(running.server.process.pid).children():
            resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    yield fill


def _may_mount() -> bool:
    """Whether this process may mount a file system; a container often may not."""
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"],
        check=False,
        capture_output=True,
    )
    return tried.returncode == 0


@pytest.mark.parametrize("disk", [small_files, *([small_disk] if _may_mount() else [])])
def test_a_full_disk_acknowledges_nothing_and_the_work_goes_on(
    tmp_path: Path,
    plugin: Path,
    disk: Callable[[Path], Iterator[Callable[[Site[Server], bool], None]]],
) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    with disk(data_dir) as fill, site(data_dir, plugin) as running:  # type: ignore[attr-defined]
        acknowledged = [running.client.settle(submit(running, 0).document["job_id"])["job_id"]]
        under_way = begun(running)
        fill(running, True)
        stored = _count(running, "SELECT count(*) FROM events")
        for number in (1, 2):
            answer = submit(running, number)
            assert "disk" in problem(answer, 503, "store_unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
        assert _count(running, "SELECT count(*) FROM events") == stored

        fill(running, False)
        for number in (1, 2):
            answer = running.client.patiently(lambda number=number: submit(running, number))
            assert answer.status == 202
            acknowledged.append(answer.document["job_id"])
        for job_id in acknowledged:
            assert running.client.settle(job_id)["counts"]["succeeded"] == 100
        assert running.client.settle(under_way)["counts"]["succeeded"] == UNDER_WAY
        assert running.server.stop() == 0
        checked = asked("audit", "verify", "--data-dir", str(data_dir))
        assert checked.returncode == 0, checked.stderr
        assert "request_failed" not in running.log


def _count(running: Site[Server], sql: str) -> int:
    with closing(sqlite3.connect(running.server.file, timeout=20)) as connection:
        return int(connection.execute(sql).fetchone()[0])


# -- a database that is locked --------------------------------------------------------------


def test_a_locked_database_is_waited_for(tmp_path: Path, plugin: Path) -> None:
    items = [{"mark": f"item-{n}"} for n in range(20_000)]
    answers: list[Answer] = []
    with site(tmp_path, plugin) as running:
        under_way = running.accepted("crash.create", items, options={"chunk_size": 500})
        with _locked(running.server.file):
            asking = threading.Thread(target=lambda: answers.append(submit(running, 1)))
            asking.start()
            began = time.monotonic()
            assert running.client.once("GET", JOBS).status == 200
            assert time.monotonic() - began < 3, "readers need not wait"
            time.sleep(6)
        asking.join(30)

        (answer,) = answers
        if answer.status == 503:
            assert problem(answer, 503, answer.code)
            assert int(answer.headers["Retry-After"]) >= 1
            answer = submit(running, 1)
        assert answer.status == 202
        job = running.client.settle(answer.document["job_id"])
        assert job["counts"]["succeeded"] == 100
        assert running.client.settle(under_way)["counts"]["succeeded"] == len(items)
        for word in ("request_failed", "message_failed", "chunk_failed", "dead_letter"):
            assert word not in running.log


@contextmanager
def _locked(database: Path) -> Iterator[None]:
    with closing(sqlite3.connect(database, isolation_level=None, timeout=20)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


# -- a database that is damaged -------------------------------------------------------------


def _damage(path: Path, first: int, count: int) -> None:
    with path.open("r+b") as file:
        file.seek(first * 4096)
        file.write(b"\xa5" * 4096 * count)


@pytest.mark.parametrize(("first", "count"), [(0, 1), (1, 20)])
def test_a_server_does_not_start_on_a_damaged_database(
    tmp_path: Path, template: Path, first: int, count: int
) -> None:
    database = tmp_path / "countermand.db"
    database.write_bytes((template / "countermand.db").read_bytes())
    _damage(database, first, count)

    ended = countermand("serve", "--port", "0", "--json", "--data-dir", str(tmp_path))

    assert ended.returncode == 2
    assert "damaged" in ended.stderr
    assert "backup" in ended.stderr
    assert ended.stdout == ""


def test_a_database_damaged_under_the_server_ends_it_with_the_reason(
    tmp_path: Path, plugin: Path
) -> None:
    with site(tmp_path, plugin) as running:
        running.settled("crash.create", [{"mark": "x" * 150} for n in range(2000)])
        with closing(sqlite3.connect(running.server.file, timeout=20)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages = running.server.file.stat().st_size // 4096
        _damage(running.server.file, 0, pages)
        with (
            closing(sqlite3.connect(running.server.file)) as other,
            pytest.raises(sqlite3.DatabaseError),
        ):
            other.execute("SELECT count(*) FROM events")

        code = running.server.process.wait(30)
    assert code == 2
    assert "damaged" in running.log


# -- a data directory of others -------------------------------------------------------------


def test_a_second_process_is_refused_and_disturbs_nothing(tmp_path: Path, plugin: Path) -> None:
    with site(tmp_path, plugin) as running:
        said = refused(countermand("serve", "--port", "0", "--data-dir", str(tmp_path)))

        assert f"in use by process {running.server.process.pid}" in said
        assert "--data-dir" in said
        job = running.settled("crash.create", [{"mark": "a"}])
        assert job["status"] == "completed"


def test_a_newer_data_directory_is_refused_and_left_alone(tmp_path: Path, template: Path) -> None:
    database = tmp_path / "countermand.db"
    database.write_bytes((template / "countermand.db").read_bytes())
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    before = json.dumps(_tables(database))

    ended = countermand("serve", "--port", "0", "--json", "--data-dir", str(tmp_path))

    assert (ended.returncode, ended.stdout) == (2, "")
    assert "newer version" in ended.stderr
    assert "upgrade countermand" in ended.stderr
    assert json.dumps(_tables(database)) == before


def _tables(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        return [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master ORDER BY 1")]
