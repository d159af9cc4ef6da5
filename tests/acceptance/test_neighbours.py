"""Neighbours: a tenant beyond its limits costs another one nothing that it would notice."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.embedded import Server, serving
from tests.acceptance.plugins import all_plugins
from tests.acceptance.squares import TURNS, cost_of
from tests.crash.client import JOBS
from tests.dashboard.site import Signed
from tests.proof.figures import tell
from tests.unit.streams.identity.signing import SECRET, token

CONNECTIONS = 50
MOST_RATIO = 1.2
"""So much slower may another tenant's jobs and readings be, at the median."""
MOST_OF_A_MOMENT = 3.0
"""The same in one square, while other tests run."""
TRIES = 3
"""Squares of which one must hold: what others start in some turns of one is no neighbour's cost."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that asks who calls, and lets each call a route 200 times an hour."""
    with serving(
        tmp_path,
        PYTHONPATH=all_plugins(tmp_path / "site"),
        COUNTERMAND_ACTORS="proven",
        COUNTERMAND_TOKEN_SECRET=SECRET,
        COUNTERMAND_RATE_LIMIT="200/hour",
    ) as running:
        yield running


def _of(tenant: str, actor: str) -> str:
    return token(sub=actor, tenant=tenant, roles=["steward"])


@contextmanager
def _flooded(server: Server) -> Iterator[list[float]]:
    """While somebody floods it; afterwards, how many refusals they had a second."""
    refused: list[float] = []
    arguments = (server.url, _of("loud", "l"), str(CONNECTIONS))
    with subprocess.Popen(
        [sys.executable, "-m", "tests.acceptance.flood", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as flood:
        try:
            assert flood.stdout is not None
            assert flood.stdout.readline() == "beyond\n"
            yield refused
            said: dict[str, Any] = json.loads(flood.communicate(timeout=30.0)[0])
            refused.append(said["refused"])
        finally:
            flood.kill()


def _turn(server: Server, turn: str, rounds: int) -> tuple[float, float]:
    """Medians of another tenant: of a job of one item from POST to its end, and of a reading."""
    client = Signed(server.url, _of("quiet", turn))
    jobs, readings = [], []
    for number in range(rounds):
        body = {"operation": "stock.open", "items": [{"code": f"{turn}-{number}", "amount": 1}]}
        headers = {"Content-Type": "application/json", "Prefer": "wait=20"}
        began = time.perf_counter()
        answer = client.once("POST", JOBS, json.dumps(body).encode(), headers)
        jobs.append(time.perf_counter() - began)
        assert answer.status == 200, answer
        assert answer.document["status"] == "completed"
        began = time.perf_counter()
        client.ask("GET", f"{JOBS}?limit=20")
        readings.append(time.perf_counter() - began)
    return statistics.median(jobs), statistics.median(readings)


def _square(
    server: Server, name: str, rounds: int
) -> tuple[list[tuple[float, float]], list[float]]:
    found, refused = [], []
    for number, flooded in enumerate(TURNS):
        if flooded:
            with _flooded(server) as told:
                found.append(_turn(server, f"{name}-{number}", rounds))
            refused += told
        else:
            found.append(_turn(server, f"{name}-{number}", rounds))
    return found, refused


def _costs(server: Server, squares: int, rounds: int, name: str = "") -> tuple[float, float]:
    """How much slower another tenant's jobs and readings are; says all that was measured."""
    _turn(server, f"{name}first", rounds)  # what is made once is made
    with _flooded(server):
        pass  # what is allowed is done
    seen = [_square(server, f"{name}s{number}", rounds) for number in range(squares)]
    costs = []
    for place, what in enumerate(("a job of one item", "a reading of jobs")):
        turns = [tuple(turn[place] for turn in found) for found, _ in seen]
        alone = statistics.median(each for turn in turns for each in (turn[0], turn[3]))
        costs.append(cost_of(turns))
        tell(f"{what}, alone", f"{1000 * alone:.1f} ms", squares=squares)
        tell("the same beside the flood, times as long", f"{costs[-1]:.2f}", squares=squares)
    refused = [each for _, told in seen for each in told]
    tell("refusals a second that the flood has had", f"{max(refused):.0f}", of=CONNECTIONS)
    return costs[0], costs[1]


def test_who_is_beyond_its_limits_slows_nobody_down_for_long(server: Server) -> None:
    found = (max(_costs(server, 1, 20, f"try-{number}-")) for number in range(TRIES))
    assert any(cost <= MOST_OF_A_MOMENT for cost in found)


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_who_is_beyond_its_limits_costs_others_a_fifth_at_most(server: Server) -> None:
    assert max(_costs(server, 5, 80)) <= MOST_RATIO
