"""Who serves callers says that it ends, and serves on until balancers have seen it."""

from __future__ import annotations

import http.client
import json
import time
from contextlib import closing
from pathlib import Path

from tests.acceptance.embedded import Server, serving
from tests.acceptance.plugins import all_plugins
from tests.crash.client import JOBS, Client

LEAVE = 5.0
LONGEST = 60.0
PATIENCE = 30.0
"""Seconds for what takes one; less than it would leave for at the longest."""
READY = "/health/ready"
LATE = {"operation": "stock.open", "items": [{"code": "late", "amount": 1}]}


def _told_to_end(server: Server, client: Client) -> None:
    """Ask it to end, and return when it says so."""
    assert client.once("GET", READY).status == 200
    server.process.terminate()
    until = time.monotonic() + PATIENCE
    while (said := client.once("GET", READY)).status == 200:
        assert time.monotonic() < until, "it has said nothing"
        time.sleep(0.01)
    assert b"it was told to end" in said.body


def test_it_serves_on_while_it_says_that_it_ends(tmp_path: Path) -> None:
    variables = {"PYTHONPATH": all_plugins(tmp_path / "site"), "COUNTERMAND_LEAVE": str(LEAVE)}
    with serving(tmp_path, **variables) as server:
        client, told = Client(server.url, PATIENCE), time.monotonic()
        kept = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=PATIENCE)
        with closing(kept):
            kept.request("GET", READY)
            assert kept.getresponse().read()
            _told_to_end(server, client)
            # As a service manager does that tells every process of a service.
            server.service.engine.terminate()
            kept.request("POST", JOBS, json.dumps(LATE), {"Content-Type": "application/json"})
            accepted = kept.getresponse()
            job = json.loads(accepted.read())
        assert (accepted.status, accepted.getheader("Connection")) == (202, "close")
        with server.process as process:
            assert process.wait(PATIENCE) == 0
        assert time.monotonic() - told >= LEAVE
        server.start()
        done = Client(server.url, PATIENCE).settle(job["job_id"])
        assert done["status"] == "completed"


def test_asked_a_second_time_it_drains_at_once(tmp_path: Path) -> None:
    with serving(tmp_path, COUNTERMAND_LEAVE=str(LONGEST)) as server:
        _told_to_end(server, Client(server.url, PATIENCE))
        server.process.terminate()
        assert server.process.wait(PATIENCE) == 0
