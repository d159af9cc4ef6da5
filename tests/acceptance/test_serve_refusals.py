"""What `countermand serve` refuses, in a process of its own, and the verbs on the database."""

from __future__ import annotations

import errno
import http.client
import json
import os
import socket
import sqlite3
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from domain.errors import SettingsInvalid
from streams.cli.storage import copied
from streams.process_lock import acquire, acquire_file
from streams.settings import load
from streams.stores import migrate
from streams.stores.database import Database
from streams.stores.occupancy import LEASE_SECONDS
from tests.acceptance.commands import asked, countermand, refused
from tests.acceptance.embedded import Server, serving


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "countermand.db"
    with Database(f"sqlite:///{path}") as made:
        migrate.upgrade(made)
    return path


class TestServe:
    def test_a_data_directory_in_use(self, tmp_path: Path) -> None:
        with acquire(tmp_path):
            said = refused(countermand("serve", "--port", "0", "--data-dir", str(tmp_path)))

        assert f"in use by process {os.getpid()}" in said

    def test_a_sqlite_file_in_use_by_whoever_has_another_data_directory(
        self, tmp_path: Path
    ) -> None:
        file = tmp_path / "countermand.db"
        with serving(tmp_path) as server:
            place = ("--data-dir", str(tmp_path / "other"), "--database", f"sqlite:///{file}")
            for verb in (("serve", "--port", "0"), ("db", "upgrade")):
                ended = countermand(*verb, *place)
                assert (ended.returncode, ended.stdout) == (2, "")
                said = f"the database {file} is in use by process {server.service.engine.pid};"
                assert said in ended.stderr
            # Whoever only reads it may.
            assert asked("db", "check", *place).returncode == 0
            assert asked("audit", "verify", *server.place).returncode == 0
            assert asked("db", "backup", str(tmp_path / "copy.db"), *place).returncode == 0
            server.kill_engine()
            server.wait_ready()
            refused(countermand("db", "upgrade", *place))
            with serving(tmp_path / "other"):
                assert server.is_running, "each has a file of its own"
            engine = server.service.engine
            server.process.kill()
            server.process.wait(60)
            # It ends by itself a moment after its supervisor.
            engine.wait(60)
            assert asked("db", "upgrade", *place).returncode == 0

    def test_a_budget_of_memory_that_is_never_reached(self, tmp_path: Path) -> None:
        said = refused(
            countermand(
                *("serve", "--port", "0", "--data-dir", str(tmp_path)),
                COUNTERMAND_WORKER_MEMORY_BUDGET="4096",
            )
        )

        assert "COUNTERMAND_WORKER_MEMORY_BUDGET (4096 MiB) must be less than" in said
        assert not (tmp_path / "lock").exists()

    def test_a_port_in_use(self, tmp_path: Path) -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as taken:
            port = str(taken.getsockname()[1])
            said = refused(countermand("serve", "--port", port, "--data-dir", str(tmp_path)))

        assert f"cannot listen on 127.0.0.1 port {port}" in said

    def test_an_address_that_others_reach(self, tmp_path: Path) -> None:
        said = refused(countermand("serve", "--host", "0.0.0.0", "--data-dir", str(tmp_path)))

        assert "use 127.0.0.1" in said
        assert not (tmp_path / "lock").exists()

    def test_other_names_are_served_when_they_are_given_and_said_to_be(
        self, tmp_path: Path
    ) -> None:
        with serving(tmp_path, COUNTERMAND_EXPOSED_TO="api.example.org") as server:
            names = ("api.example.org", "other.example.org")
            codes = [_asked(server.url, name) for name in names]
            health = server.ask("health")

        assert codes == [200, 403]
        assert (health.returncode, health.stdout) == (0, "ready\n"), "it is served here as well"
        log = (tmp_path / "server.log").read_text().splitlines()
        (warned,) = [entry for entry in map(json.loads, log) if entry["level"] == "warning"]
        assert warned["names"] == ["api.example.org"]
        assert "whoever reaches the port may do everything" in warned["reason"]
        (said,) = [entry for entry in map(json.loads, log) if entry["event"] == "callers"]
        assert said["mode"] == "local"

    def test_a_broker_that_it_would_not_use(self, tmp_path: Path) -> None:
        said = refused(
            countermand(
                *("serve", "--port", "0", "--data-dir", str(tmp_path)),
                COUNTERMAND_BROKER="kafka://127.0.0.1:9092",
            )
        )

        assert "start `countermand api`, `countermand coordinator` and" in said
        assert not (tmp_path / "lock").exists()

    @pytest.mark.service("postgresql")
    def test_a_database_in_use_until_nobody_uses_it(
        self, tmp_path: Path, postgres_database: str
    ) -> None:
        address = postgres_database.replace("+psycopg", "")
        one, other = (
            Server(tmp_path / name, COUNTERMAND_DATABASE=address) for name in ("one", "other")
        )
        for server in (one, other):
            server.data_dir.mkdir()
        one.start()
        try:
            ended = countermand(
                *("serve", "--port", "0", "--data-dir", str(other.data_dir)),
                COUNTERMAND_DATABASE=address,
            )
            assert (ended.returncode, ended.stdout) == (2, "")
            assert "the database is in use by another `countermand serve` (" in ended.stderr
            one.kill_engine()
            began = time.monotonic()
            one.wait_ready()
            assert time.monotonic() - began < LEASE_SECONDS, "its own next life does not wait"
        finally:
            assert one.stop() == 0
        other.start()
        assert other.stop() == 0

    def test_a_wrong_variable(self, tmp_path: Path) -> None:
        said = refused(
            countermand("serve", "--data-dir", str(tmp_path), COUNTERMAND_HEARTBEAT="never")
        )

        assert "COUNTERMAND_HEARTBEAT" in said


def _asked(url: str, name: str) -> int:
    """The status of an answer to a request for a host of that name."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    with closing(connection):
        connection.request("GET", "/health/live", headers={"Host": name})
        return connection.getresponse().status


LACKING = """
from pydantic import BaseModel
from sqlalchemy import Column, Integer, MetaData, Table
from domain.operation import operation
from domain.outcomes import Done

class Item(BaseModel):
    id: int

table = Table("lacking", MetaData(), Column("id", Integer, primary_key=True))

@operation("lack.touch", item=Item, tables=[table])
def touch(ctx, item):
    return Done()
"""


class TestPlugins:
    """A plug-in that cannot be used ends the start with its reason, not in a circle of starts."""

    @pytest.mark.parametrize(
        ("source", "reason"),
        [
            ("import no_such_module", "ModuleNotFoundError"),
            ("", "has no attribute 'touch'"),
            ("touch = 7", "'int' object is not iterable"),
            ("raise SystemExit(3)", "SystemExit(3)"),
            (LACKING, "lacking lacks version, tenant"),
        ],
    )
    def test_one_that_cannot_be_used(self, tmp_path: Path, source: str, reason: str) -> None:
        plugin = tmp_path / "plugin"
        information = plugin / "lack-1.dist-info"
        information.mkdir(parents=True)
        (plugin / "lack.py").write_text(source)
        (information / "METADATA").write_text("Name: lack\nVersion: 1\n")
        (information / "entry_points.txt").write_text("[countermand.operations]\nl = lack:touch\n")
        data = tmp_path / "data"

        ended = countermand(
            *("serve", "--port", "0", "--data-dir", str(data)), PYTHONPATH=str(plugin)
        )

        assert ended.returncode == 2
        assert reason in ended.stderr.splitlines()[-1]


class TestDatabase:
    def test_its_path_is_printed_alone(self, tmp_path: Path) -> None:
        ended = asked("db", "path", "--data-dir", str(tmp_path))

        assert ended.stdout == f"{tmp_path}/countermand.db\n"
        assert not (tmp_path / "countermand.db").exists()

    def test_a_password_is_never_printed(self) -> None:
        ended = asked("db", "path", "--database", "postgresql://me:secret@host/name")

        assert ended.stdout == "postgresql://me:***@host/name\n"

    def test_nor_is_one_behind_the_name(self) -> None:
        behind = "sslmode=require&password=secret&sslkey=me.key&sslpass%77ord=sec%26ret"
        ended = asked("db", "path", "--database", f"postgresql://me@host/name?{behind}", "--json")

        (found,) = json.loads(ended.stdout).values()
        assert "sec" not in found
        assert set(found.partition("?")[2].split("&")) == {
            *("sslmode=require", "password=***", "sslkey=me.key", "sslpassword=***")
        }

    def test_a_whole_database_is_told_so(self, database: Path) -> None:
        ended = asked("db", "check", "--data-dir", str(database.parent), "--json")

        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout == f'{{"schema":"{migrate.head()}","whole":true}}\n'

    def test_none_is_not_made_by_looking(self, tmp_path: Path) -> None:
        said = refused(asked("db", "check", "--data-dir", str(tmp_path)))

        assert "there is no database at" in said
        assert not (tmp_path / "countermand.db").exists()

    def test_a_damaged_one_is_told(self, database: Path) -> None:
        content = bytearray(database.read_bytes())
        content[4096 * 3 : 4096 * 8] = b"\xff" * (4096 * 5)
        database.write_bytes(content)

        assert "damaged" in refused(asked("db", "check", "--data-dir", str(database.parent)))

    def test_a_file_that_is_none_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "countermand.db").write_text("hello " * 1000)

        assert "damaged" in refused(asked("db", "check", "--data-dir", str(tmp_path)))

    def test_one_of_a_newer_release_is_told(self, database: Path) -> None:
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
            connection.commit()

        for verb in (("db", "check"), ("audit", "verify"), ("audit", "replay", "job-1")):
            said = refused(asked(*verb, "--data-dir", str(database.parent)))
            assert "newer" in said

    def test_a_copy_is_made_however_often_others_commit(
        self, database: Path, tmp_path: Path
    ) -> None:
        copy, over = tmp_path / "copies" / "copy.db", threading.Event()
        copy.parent.mkdir()
        with closing(sqlite3.connect(database, isolation_level=None)) as connection:
            connection.execute("CREATE TABLE filler AS SELECT zeroblob(30000000) AS content")
            connection.execute("CREATE TABLE commits AS SELECT 0 AS number")

        def commit() -> None:
            with closing(sqlite3.connect(database, isolation_level=None)) as connection:
                while not over.wait(0.001):
                    connection.execute("UPDATE commits SET number = number + 1")

        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(commit)
            try:
                ended = asked(
                    *("db", "backup", str(copy), "--data-dir", str(database.parent), "--json")
                )
            finally:
                over.set()
            writing.result()

        assert (ended.returncode, ended.stderr) == (0, "")
        assert json.loads(ended.stdout) == {"file": str(copy), "size": copy.stat().st_size}
        assert [found.name for found in copy.parent.iterdir()] == ["copy.db"]
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        check = asked("db", "check", "--database", f"sqlite:///{copy}")
        assert check.returncode == 0, check.stderr

    def test_a_copy_replaces_no_file(self, database: Path, tmp_path: Path) -> None:
        copy = tmp_path / "copy.db"
        copy.write_text("the last good one")

        said = refused(asked("db", "backup", str(copy), "--data-dir", str(database.parent)))

        assert "is there already; name another FILE" in said
        assert copy.read_text() == "the last good one"

    def test_a_copy_replaces_no_file_that_came_while_it_was_made(
        self, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        copy = tmp_path / "copies" / "copy.db"
        copy.parent.mkdir()
        monkeypatch.setattr(os, "fsync", lambda _: copy.write_text("the copy of another"))

        with pytest.raises(SettingsInvalid, match="is there already; name another FILE"):
            copied(load(data_dir=database.parent), copy)

        assert [found.name for found in copy.parent.iterdir()] == ["copy.db"]
        assert copy.read_text() == "the copy of another"

    def test_a_copy_is_made_where_there_are_no_hard_links(
        self, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(*_paths: Path) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        copy = tmp_path / "copies" / "copy.db"
        copy.parent.mkdir()
        monkeypatch.setattr(os, "link", refused)
        size = copied(load(data_dir=database.parent), copy)

        assert [found.name for found in copy.parent.iterdir()] == ["copy.db"]
        assert copy.stat().st_size == size > 0
        monkeypatch.setattr(Path, "exists", lambda _: False)
        with pytest.raises(SettingsInvalid, match="is there already; name another FILE"):
            copied(load(data_dir=database.parent), copy)

    def test_a_copy_has_its_name_for_good(
        self, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced, fsync = list[Path](), os.fsync

        def noted(descriptor: int) -> None:
            fsync(descriptor)
            synced.append(Path(f"/proc/self/fd/{descriptor}").resolve())

        copy = tmp_path / "copies" / "copy.db"
        copy.parent.mkdir()
        monkeypatch.setattr(os, "fsync", noted)
        copied(load(data_dir=database.parent), copy)

        assert synced[-1] == copy.parent

    def test_a_copy_that_cannot_be_written_is_told_and_leaves_nothing(
        self, database: Path, tmp_path: Path
    ) -> None:
        copy = tmp_path / "nowhere" / "copy.db"

        said = refused(asked("db", "backup", str(copy), "--data-dir", str(database.parent)))

        assert "name another FILE" in said
        assert not copy.parent.exists()

    @pytest.mark.service("postgresql")
    def test_postgresql_is_copied_by_its_own_means(
        self, tmp_path: Path, postgres_database: str
    ) -> None:
        address = postgres_database.replace("+psycopg", "")

        said = refused(asked("db", "backup", str(tmp_path / "copy.db"), "--database", address))

        assert "pg_dump --format=custom" in said

    @pytest.mark.parametrize("address", ["nonsense", "oracle://x/y", "sqlite:x"])
    def test_an_address_of_no_use_is_told(self, tmp_path: Path, address: str) -> None:
        said = refused(asked("db", "check", "--data-dir", str(tmp_path), "--database", address))

        assert "write sqlite:///FILE or postgresql" in said

    def test_an_upgrade_waits_for_no_server(self, tmp_path: Path) -> None:
        with acquire(tmp_path):
            assert "in use" in refused(asked("db", "upgrade", "--data-dir", str(tmp_path)))

    def test_an_upgrade_waits_for_no_server_that_has_another_data_directory(
        self, database: Path, tmp_path: Path
    ) -> None:
        place = ("--data-dir", str(tmp_path / "other"), "--database", f"sqlite:///{database}")
        with acquire_file(database):
            assert "in use" in refused(asked("db", "upgrade", *place))
            assert asked("db", "check", *place).returncode == 0
            copy = str(tmp_path / "copy.db")
            assert asked("db", "backup", copy, *place).returncode == 0
            assert asked("db", "upgrade", "--data-dir", str(tmp_path / "new")).returncode == 0
        assert asked("db", "upgrade", *place).returncode == 0

    @pytest.mark.service("postgresql")
    def test_an_upgrade_of_postgresql_goes_on_beside_a_process(
        self, tmp_path: Path, postgres_database: str
    ) -> None:
        address = postgres_database.replace("+psycopg", "")
        with acquire(tmp_path):
            ended = asked("db", "upgrade", "--data-dir", str(tmp_path), "--database", address)

        assert (ended.returncode, ended.stderr) == (
            0,
            f"the database has schema {migrate.head()}\n",
        )

    def test_an_upgrade_makes_one(self, tmp_path: Path) -> None:
        data_dir = str(tmp_path / "new")

        assert asked("db", "upgrade", "--data-dir", data_dir).returncode == 0
        assert asked("db", "upgrade", "--data-dir", data_dir).returncode == 0
        assert asked("db", "check", "--data-dir", data_dir).returncode == 0
