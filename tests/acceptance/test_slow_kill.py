"""Slow items: a kill repeats only what was in flight; the API answers quickly meanwhile."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

import pytest

from tests.acceptance.stack import Stack
from tests.crash.client import JOBS, Client

CONCURRENCY = 64
WAIT_MS = 200
CEILING_MS = 50
"""For 99 of 100 answers of the API meanwhile."""
BUSY_CEILING_MS = 500
"""The same beside other tests."""


@dataclass
class Naps:
    """A job of items that wait; ``runs`` counts the runs of the handler by item."""

    stack: Stack
    journal: Path
    count: int = 0
    job_id: str = ""
    client: Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = Client(self.stack.url)

    def begin(self) -> None:
        items = [{"number": n, "ms": WAIT_MS} for n in range(self.count)]
        params = {"journal": str(self.journal)}
        key = f"naps {self.journal}"
        self.job_id = self.client.submit(key, "sleeper.nap", items, params=params)

    def runs(self) -> Counter[int]:
        if not self.journal.exists():
            return Counter()
        return Counter(map(int, self.journal.read_text().split()))

    def wait_for_runs(self, count: int) -> None:
        until = time.monotonic() + 60
        while self.runs().total() < count:
            assert time.monotonic() < until, f"no more than {self.runs().total()} runs"
            time.sleep(0.001)

    def check_results(self) -> None:
        """Every item has its own result."""
        job = self.client.settle(self.job_id)
        assert (job["status"], job["counts"]["succeeded"]) == ("completed", self.count)
        results = [item["result"] for item in self.client.items(self.job_id)]
        assert results == [{"number": n} for n in range(self.count)]


@pytest.fixture
def naps(stack: Stack, tmp_path: Path) -> Naps:
    return Naps(stack, tmp_path / "journal")


def _killed_half_way(naps: Naps, count: int) -> None:
    naps.count = count
    naps.begin()
    naps.wait_for_runs(count // 2)
    naps.stack.kill_engine()
    naps.check_results()

    runs = naps.runs()
    assert set(runs) == set(range(count))
    assert max(runs.values()) <= 2, "one kill cannot repeat an item twice"
    repeats = runs.total() - count
    naps.stack.tell(
        "slow items repeated after a kill half way", repeats, N=count, concurrency=CONCURRENCY
    )
    assert 0 < repeats <= CONCURRENCY, "who was killed must have been at work"


@dataclass
class Watch:
    """How long the API took for each answer, in milliseconds."""

    times: list[float] = field(default_factory=list)

    @property
    def p99(self) -> float:
        return quantiles(self.times, n=100)[98]


@contextmanager
def _asking(client: Client, path: str) -> Iterator[Watch]:
    """Ask for a document again and again meanwhile."""
    watch, over = Watch(), threading.Event()

    def ask() -> None:
        while not over.wait(0.005):
            started = time.perf_counter()
            answer = client.once("GET", path)
            watch.times.append((time.perf_counter() - started) * 1000)
            assert answer.status == 200

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()


def _worked(naps: Naps, count: int) -> tuple[float, Watch]:
    """How many times as fast as one by one a job is done, and how the API answered."""
    naps.count = count
    started = time.monotonic()
    naps.begin()
    with _asking(naps.client, f"{JOBS}/{naps.job_id}") as watch:
        naps.client.settle(naps.job_id)
    seconds = time.monotonic() - started
    naps.check_results()
    assert naps.runs() == Counter(range(count))
    ratio = count * WAIT_MS / 1000 / seconds
    naps.stack.tell("slow items, times as fast as one by one", f"{ratio:.1f}", N=count, ms=WAIT_MS)
    naps.stack.tell("API p99 meanwhile", f"{watch.p99:.1f} ms", N=len(watch.times))
    return ratio, watch


def test_a_kill_half_way_repeats_only_what_was_in_flight(naps: Naps) -> None:
    _killed_half_way(naps, 200)


def test_items_that_wait_wait_together(naps: Naps) -> None:
    ratio, watch = _worked(naps, 200)
    assert ratio > 20
    assert watch.p99 < BUSY_CEILING_MS


@pytest.mark.proof
def test_a_kill_half_way_through_a_thousand_repeats_only_what_was_in_flight(
    naps: Naps,
) -> None:
    _killed_half_way(naps, 1000)


@pytest.mark.proof
def test_a_thousand_items_that_wait_are_50_times_as_fast_as_one_by_one(naps: Naps) -> None:
    ratio, watch = _worked(naps, 1000)
    assert ratio >= 50
    assert watch.p99 < CEILING_MS
