"""What the embedded engine keeps to on a quiet machine, measured as by the benchmark."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import contest, report
from benchmarks.contestants import OURS, OURS_100, REFERENCE
from benchmarks.places import SqlitePlace
from tests.proof.figures import tell

pytestmark = [
    pytest.mark.proof,
    pytest.mark.timeout(1800),
    pytest.mark.usefixtures("pace"),
]

ITEMS, LARGE = 100_000, 1_000_000
ROUNDS = 5
JOBS = 200
BESIDE_THE_SCRIPT = 0.75
"""Of the speed of a script that commits every 100 items."""
CPU_MICROSECONDS = 20.0
FIRST_PROGRESS = 0.1
ONE_ITEM = 0.01
"""Seconds from the POST of a job of one item to its end on the live stream, at the median."""
CHUNKS_OF_100 = 0.75
"""Of the speed of automatic chunks."""
MEMORY_RATIO = 1.3
MEMORY_BYTES = 300e6
DEMO_SECONDS = 60.0


@pytest.fixture
def place(disk: Path) -> SqlitePlace:
    return SqlitePlace(disk)


async def test_items_cost_what_is_promised(place: SqlitePlace, disk: Path) -> None:
    who = [REFERENCE, OURS, OURS_100]
    taken = await contest.run(place, disk, ITEMS, ROUNDS, who, report.say)
    terms = {"items": ITEMS, "rounds": ROUNDS}
    found = {
        "times the speed of the script that commits every 100": taken.ratio(OURS),
        "us of the processor an item": taken.cpu(OURS),
        "ms from the 202 to the first progress": taken.moved(OURS) * 1000,
        "of the speed of automatic chunks, chunks of 100 asked for": taken.ratio(OURS_100, OURS),
    }
    for name, figure in found.items():
        tell(name, f"{figure:.2f}", **terms)
    tell("us of the processor an item, that script's", f"{taken.cpu(REFERENCE):.2f}", **terms)
    ratio, microseconds, milliseconds, packed = found.values()
    assert ratio >= BESIDE_THE_SCRIPT
    assert microseconds < CPU_MICROSECONDS
    assert milliseconds < FIRST_PROGRESS * 1000
    assert packed >= CHUNKS_OF_100


async def test_a_job_of_one_item_ends_soon(place: SqlitePlace) -> None:
    p50, p99 = await contest.latency(place, JOBS)
    tell("a job of one item", f"p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms", jobs=JOBS)
    assert p50 < ONE_ITEM


async def test_a_million_items_take_no_more_memory(place: SqlitePlace, disk: Path) -> None:
    small = (await contest.alone(place, disk, ITEMS)).peak
    large = (await contest.alone(place, disk, LARGE)).peak
    said = f"{large / 1e6:.0f} MB, {large / small:.2f} of that for {ITEMS:,}"
    tell("memory of all processes", said, items=LARGE)
    assert large <= MEMORY_RATIO * small
    assert large < MEMORY_BYTES


def test_the_demonstration_takes_less_than_a_minute() -> None:
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "streams.cli.main", "demo"],
        check=False,
        capture_output=True,
        text=True,
        timeout=2 * DEMO_SECONDS,
    )
    seconds = time.monotonic() - began
    tell("the demonstration", f"{seconds:.1f} s")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert seconds < DEMO_SECONDS
