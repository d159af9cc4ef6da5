"""Slow items: a kill repeats only what was in flight; the API answers quickly meanwhile."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

import pytest

from tests.acceptance.beats import beats_of, most_at_once
from tests.acceptance.stack import Stack
from tests.crash.client import JOBS, Client

CONCURRENCY = 64
WAIT_MS = 200
CEILING_MS = 50
"""For 99 of 100 answers of the API meanwhile."""
BUSY_CEILING_MS = 500
"""For half of them beside other tests, which may have the processors for a while."""


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


def test_a_kill_half_way_repeats_only_what_was_in_flight(naps: Naps) -> None:
    _killed_half_way(naps, 200)


def test_items_that_wait_wait_together(stack: Stack, tmp_path: Path) -> None:
    client = Client(stack.url)
    items = [{"n": n, "ms": WAIT_MS} for n in range(200)]
    params = {"folder": str(tmp_path)}
    job_id = client.submit(f"together {tmp_path}", "metronome.swing", items, params=params)
    with _asking(client, f"{JOBS}/{job_id}") as watch:
        assert client.settle(job_id)["counts"]["succeeded"] == 200
    beats = beats_of(tmp_path)
    assert Counter(beat.n for beat in beats if beat.what == "begin") == Counter(range(200))
    together = most_at_once(beats, 0.0)
    stack.tell("slow items that wait at once", together, N=200, ms=WAIT_MS)
    assert together > 20
    assert median(watch.times) < BUSY_CEILING_MS, "items that wait keep nobody from answering"


@pytest.mark.proof
def test_a_kill_half_way_through_a_thousand_repeats_only_what_was_in_flight(
    naps: Naps,
) -> None:
    _killed_half_way(naps, 1000)


@pytest.mark.proof
def test_a_thousand_items_that_wait_are_50_times_as_fast_as_one_by_one(naps: Naps) -> None:
    naps.count = count = 1000
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
    assert ratio >= 50
    assert watch.p99 < CEILING_MS
