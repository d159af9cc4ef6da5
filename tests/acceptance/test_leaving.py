"""Who serves callers says that it ends, and serves on until balancers have seen it."""

from __future__ import annotations

import time
from pathlib import Path

from tests.acceptance.embedded import serving
from tests.acceptance.plugins import all_plugins
from tests.crash.client import AT_REST, Client

LEAVE = 3.0
PATIENCE = 20.0
READY = "/health/ready"


def test_it_serves_on_while_it_says_that_it_ends(tmp_path: Path) -> None:
    path = all_plugins(tmp_path / "site")
    with serving(tmp_path, PYTHONPATH=path, COUNTERMAND_LEAVE=str(LEAVE)) as server:
        client = Client(server.url, PATIENCE)
        assert client.once("GET", READY).status == 200
        told = time.monotonic()
        server.process.terminate()
        while (said := client.once("GET", READY)).status == 200:
            assert time.monotonic() < told + LEAVE, "it has said nothing"
            time.sleep(0.01)
        assert b"it was told to end" in said.body
        job_id = client.submit("late", "stock.open", [{"code": "late", "amount": 1}])
        while client.job(job_id)["status"] not in AT_REST:
            time.sleep(0.01)
        assert client.job(job_id)["status"] == "completed"
        assert server.process.wait(PATIENCE) == 0
        assert time.monotonic() - told >= LEAVE


def test_it_leaves_at_once_where_nobody_asked_for_more(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        told = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - told < LEAVE
