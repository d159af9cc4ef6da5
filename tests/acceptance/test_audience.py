"""Many live readers, with others among them who never read: nobody waits, nothing is lost."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.acceptance.embedded import Server, serving
from tests.acceptance.plugins import all_plugins
from tests.acceptance.squares import TURNS, cost_of
from tests.crash.client import JOBS, Client
from tests.proof.figures import tell

CHUNK = 51
SECONDS = 110.0
KIB = 1024
MOST_PER_CLIENT = 160 * KIB
"""Bytes of the server's memory for each client: its streams, and what the transport holds."""
MOST_RATIO = 1.2
"""So much later may readers hear with those who never read as without them, at the 99th place."""
DEAF = 100
"""So many never read, in the runs with them."""
SQUARES = 3


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that may have so many connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    try:
        with serving(tmp_path, PYTHONPATH=all_plugins(tmp_path / "site")) as running:
            yield running
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@dataclass(frozen=True)
class Heard:
    """What an audience has seen of one job, and what it has cost."""

    lags: list[float]
    grown: int
    """Bytes that the server's memory had grown by at most, while they were there."""

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.lags, n=100)[98]


def _draft(client: Client, tag: str, chunks: int, ms: float) -> str:
    """A job that waits for its seal."""
    body = {"operation": "walker.step", "draft": True, "tags": [tag]}
    body["options"] = {"chunk_size": CHUNK}  # type: ignore[assignment]
    job_id: str = client.ask("POST", JOBS, body, status=202)["job_id"]
    items = [{"ms": ms}] * (chunks * CHUNK)
    client.ask("POST", f"{JOBS}/{job_id}/items?part=0", items, status=202)
    return job_id


def _watched(server: Server, tag: str, *, chunks: int, ms: float, readers: int, deaf: int) -> Heard:
    """A job watched from before its start; asserts that everybody has seen all of it."""
    client = Client(server.url)
    job_id = _draft(client, tag, chunks, ms)
    engine = psutil.Process(server.service.engine.pid)
    before = engine.memory_info().rss
    command = [sys.executable, "-m", "tests.acceptance.audience", server.url, job_id, tag]
    audience = subprocess.Popen(
        [*command, str(readers), str(deaf)], stdout=subprocess.PIPE, text=True
    )
    peak, over = before, threading.Event()

    def measure() -> None:
        nonlocal peak
        while not over.wait(0.2):
            peak = max(peak, engine.memory_info().rss)

    measuring = threading.Thread(target=measure)
    measuring.start()
    try:
        assert audience.stdout is not None
        assert audience.stdout.readline() == "ready\n"
        client.ask("POST", f"{JOBS}/{job_id}/seal", {"items": chunks * CHUNK}, status=202)
        said: dict[str, Any] = json.loads(audience.communicate(timeout=SECONDS)[0])
    finally:
        over.set()
        measuring.join()
        audience.kill()
        audience.wait()
    assert client.settle(job_id)["status"] == "completed"
    for column, seen in (("version", said["job"]), ("id", said["all"])):
        sql = f"SELECT {column} FROM events WHERE job_id = :job_id ORDER BY id"
        stored = [number for (number,) in server.rows(sql, job_id=job_id)]
        assert len(stored) > chunks
        assert all(each == stored for each in seen), column
    return Heard(said["lags"], peak - before)


def _past(server: Server, chunks: int) -> None:
    """Events that those who read nothing ask for, more than any buffer holds."""
    client = Client(server.url)
    steps = [{"ms": 0.0}] * (chunks * CHUNK)
    job_id = client.submit("past", "walker.step", steps, options={"chunk_size": CHUNK})
    client.settle(job_id, seconds=180.0)


def test_who_reads_nothing_takes_nothing_from_those_who_read(server: Server) -> None:
    _past(server, 40)
    heard = _watched(server, "few", chunks=20, ms=1.0, readers=60, deaf=20)
    assert heard.grown / 80 < 4 * MOST_PER_CLIENT, "with few clients it is mostly something else"


@pytest.mark.proof
@pytest.mark.timeout(1700)
def test_900_clients_are_as_late_with_100_more_who_never_read(server: Server) -> None:
    _past(server, 300)
    terms = {"chunks": 40, "ms": 6.0, "readers": 900}
    _watched(server, "first", deaf=0, **terms)  # what is made once is made
    heard = {
        (square, turn): _watched(
            server, f"s{square}-{turn}", deaf=DEAF if with_deaf else 0, **terms
        )
        for square in range(SQUARES)
        for turn, with_deaf in enumerate(TURNS)
    }
    p99s = [tuple(heard[square, turn].p99 for turn in range(4)) for square in range(SQUARES)]
    alone = statistics.median(p99 for square in p99s for p99 in (square[0], square[3]))
    among = statistics.median(p99 for square in p99s for p99 in square[1:3])
    ratio = cost_of(p99s)
    grown = max(each.grown for (_, turn), each in heard.items() if TURNS[turn]) / 1000
    load = f"{os.getloadavg()[0]:.1f}"
    tell("p99 lag of 900 readers alone", f"{1000 * alone:.0f} ms", squares=SQUARES, load=load)
    tell("the same with 100 more who never read", f"{1000 * among:.0f} ms", squares=SQUARES)
    tell("ratio of the two, the median of the squares", f"{ratio:.2f}", squares=SQUARES)
    tell("memory of the server for each client at most", f"{grown / KIB:.0f} KiB", clients=1000)
    assert ratio <= MOST_RATIO
    assert grown < MOST_PER_CLIENT


def test_the_ratio_is_of_the_clients_and_not_of_the_order() -> None:
    """A machine that slows down all the while is nobody's fault; what non-readers cost is found."""
    for cost in (1.0, 1.19, 1.3):
        drifting = [
            tuple(
                1.05 ** (4 * square + turn) * (cost if deaf else 1.0)
                for turn, deaf in enumerate(TURNS)
            )
            for square in range(SQUARES)
        ]
        assert cost_of(drifting) == pytest.approx(cost)
        assert (cost_of(drifting) <= MOST_RATIO) == (cost <= 1.2)
    once_disturbed = [(1.0, 1.0, 1.0, 1.0), (1.0, 1.0, 9.0, 1.0), (1.0, 1.0, 1.0, 1.0)]
    assert cost_of(once_disturbed) == 1.0
