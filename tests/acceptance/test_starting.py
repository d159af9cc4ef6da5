"""The embedded engine starts when its database is there, however long that takes, and says so."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.acceptance.commands import PATIENCE, Service, wait_ready
from tests.acceptance.embedded import Server
from tests.acceptance.plugins import all_plugins
from tests.crash.client import JOBS, Client

LIVE, READY = "/health/live", "/health/ready"
TRIES = 2.0
"""Seconds in which it has tried several times."""
OPENED = [{"code": "early", "amount": 1}]


@contextmanager
def _refusing() -> Iterator[int]:
    """A port of this machine at which nobody listens, and nobody else will."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield int(bound.getsockname()[1])


def _waits(url: str, reason: str) -> None:
    """Wait until it says at its health that it waits for that."""
    client, until = Client(url, PATIENCE), time.monotonic() + PATIENCE
    while f"it waits: {reason}".encode() not in (said := client.once("GET", READY)).body:
        assert time.monotonic() < until, said.body
        time.sleep(0.05)
    assert said.status == 503


def test_who_asks_while_the_database_is_away_is_told_so(tmp_path: Path) -> None:
    with _refusing() as port:
        service = Service(
            *(tmp_path / "log", "serve", "--data-dir", str(tmp_path)),
            COUNTERMAND_DATABASE=f"postgresql://nobody@127.0.0.1:{port}/nothing",
        )
        service.start()
        try:
            _waits(service.url, "the database is away")
            client, engine = Client(service.url, PATIENCE), service.engine
            assert client.once("GET", LIVE).status == 200
            for method, path in (("POST", JOBS), ("GET", "/"), ("GET", "/no/such/page")):
                refused = client.once(method, path)
                assert (refused.status, refused.code) == (503, "unavailable")
                assert int(refused.headers["Retry-After"]) > 0
            time.sleep(TRIES)
            assert service.engine == engine
        finally:
            code = service.stop()
    said = (tmp_path / "log").read_text()
    assert (code, said.count('"waiting"'), "Traceback" in said) == (0, 1, False), said
    assert '"uncaught"' not in said


def test_it_goes_on_by_itself_when_its_database_is_there(tmp_path: Path) -> None:
    mounted = tmp_path / "mounted"
    site, file = all_plugins(tmp_path / "site"), f"sqlite:///{mounted}/countermand.db"
    server = Server(tmp_path / "data", PYTHONPATH=site, COUNTERMAND_DATABASE=file)
    server.data_dir.mkdir()
    server.start()
    try:
        _waits(server.url, "the database is away")
        engine = server.service.engine
        mounted.mkdir()
        wait_ready(server.service, time.monotonic() + PATIENCE)
        client = Client(server.url, PATIENCE)
        job = client.submit("early", "stock.open", OPENED)
        assert client.settle(job)["status"] == "completed"
        assert server.service.engine == engine
    finally:
        assert server.stop() == 0
