"""What an address says of TLS, and of several servers, holds for every connection."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Connection, text

from domain.errors import StoreUnavailable
from streams.settings import load
from streams.stores.database import Database
from streams.stores.listening import listening
from tests.services.authority import LOOPBACK, Authority
from tests.services.kafka import free_ports
from tests.services.postgres import OWNER, PostgresServer, running_cluster
from tests.services.switch import need

pytestmark = pytest.mark.service("postgresql")

PATIENCE: Final = 20.0
BY_TLS: Final = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE "


@dataclass(frozen=True, slots=True)
class Sealed:
    """A server with a certificate, which takes others as well."""

    server: PostgresServer
    authority: Authority

    def address(self, ca: Path, host: str = LOOPBACK) -> str:
        """Where it is, to be spoken to only if it is that."""
        place = f"{OWNER}@{host}:{self.server.port}"
        return f"postgresql://{place}/postgres?sslmode=verify-full&sslrootcert={ca}"


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sealed]:
    need("postgresql")
    authority = Authority(tmp_path_factory.mktemp("sealed") / "authority")
    papers = authority.issue("database")
    with running_cluster() as cluster:
        server = cluster.server
        show(server, ssl_cert_file=papers.cert, ssl_key_file=papers.key)
        yield Sealed(server, authority)


def show(server: PostgresServer, **files: Path) -> None:
    """Have a server show its certificate from now on; who runs it must own the files."""
    data = server.folder / "data"
    with server.connect() as connection:
        for name, file in files.items():
            own = Path(shutil.copy(file, data))
            os.chown(own, data.stat().st_uid, data.stat().st_gid)
            own.chmod(0o600)
            connection.execute(f"ALTER SYSTEM SET {name} = '{own}'")
        connection.execute("ALTER SYSTEM SET ssl = on")
        connection.execute("SELECT pg_reload_conf()")
    until = time.monotonic() + PATIENCE
    while not _speaks_tls(server):
        assert time.monotonic() < until
        time.sleep(0.05)


def _speaks_tls(server: PostgresServer) -> bool:
    with server.connect() as connection:
        return connection.execute("SHOW ssl").fetchone() == ("on",)


def by_tls(connection: Connection) -> bool:
    own = BY_TLS + "ssl AND pid = pg_backend_pid()"
    return bool(connection.execute(text(own)).scalar_one())


def listeners(connection: Connection) -> int:
    heard = BY_TLS + "ssl AND query LIKE 'LISTEN%'"
    return int(connection.execute(text(heard)).scalar_one())


def test_it_reads_and_writes_by_tls(sealed: Sealed) -> None:
    address = load(database=sealed.address(sealed.authority.ca)).database_address
    with Database(address) as database:
        assert database.read_now(by_tls)
        assert database.write_now(by_tls)


async def test_it_listens_by_tls(sealed: Sealed) -> None:
    address = sealed.address(sealed.authority.ca)
    heard = asyncio.Event()
    with Database(address) as database:
        async with listening(address, {"said": lambda _payload: heard.set()}):
            async with asyncio.timeout(PATIENCE):
                await heard.wait()
            assert await database.read(listeners) == 1


def test_a_server_that_somebody_else_has_signed_is_not_spoken_to(
    sealed: Sealed, tmp_path: Path
) -> None:
    with (
        Database(sealed.address(Authority(tmp_path / "other").ca)) as database,
        pytest.raises(StoreUnavailable, match="certificate verify failed"),
    ):
        database.read_now(by_tls)


def test_a_server_of_another_name_is_not_spoken_to(sealed: Sealed) -> None:
    with (
        Database(sealed.address(sealed.authority.ca, "localhost")) as database,
        pytest.raises(StoreUnavailable, match='does not match host name "localhost"'),
    ):
        database.read_now(by_tls)


async def test_of_several_servers_one_that_is_there_is_taken(sealed: Sealed) -> None:
    (nobody,) = free_ports(1)
    places = f"host={LOOPBACK}:{nobody}&host={LOOPBACK}:{sealed.server.port}"
    address = f"postgresql://{OWNER}@/postgres?{places}&target_session_attrs=primary"
    heard = asyncio.Event()
    with Database(load(database=address).database_address) as database:
        assert database.read_now(listeners) == 0
        async with listening(address, {"said": lambda _payload: heard.set()}):
            async with asyncio.timeout(PATIENCE):
                await heard.wait()
