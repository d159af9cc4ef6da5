"""What the scaled engine is to keep to on a quiet machine, measured as by the benchmark.

It takes a quarter of an hour.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import contest, over_kafka, report
from benchmarks.contestants import scaled, script
from benchmarks.measure import median, percentile
from benchmarks.places import Place, places
from tests.benchmarks.conftest import DISK
from tests.proof.figures import tell
from tests.services.kafka import KafkaCluster, running_kafka
from tests.services.switch import need

pytestmark = [
    pytest.mark.proof,
    pytest.mark.service("kafka", "postgresql"),
    pytest.mark.usefixtures("pace"),
]

ITEMS, LARGE = 100_000, 1_000_000
ROUNDS = 7
JOBS = 200
BESIDE_COMMITS_OF_100 = 1.25
"""Of the speed of a script that commits every 100 items."""
BESIDE_COMMITS_OF_500 = 1.1
CPU_MICROSECONDS = 35.0
ONE_ITEM = 0.025
"""Seconds from the POST of a job of one item to its end on the live stream, at the median."""
BEHIND = 3.0
"""Times their time alone that small jobs take behind a large one, at the median."""
KEPT = 0.85
"""Of its speed alone, what the large job keeps beside them."""


@pytest.fixture
def place(disk: Path) -> Iterator[Place]:
    need("postgresql")
    with places(disk, ["postgresql"], pytest.fail) as (found,):
        yield found


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaCluster]:
    """One for all, as an installation has: a Kafka that has just begun is busy compiling."""
    need("kafka")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(DISK))
        with running_kafka() as cluster:
            yield cluster


@pytest.mark.timeout(1800)
async def test_items_cost_what_is_promised(place: Place, disk: Path, broker: KafkaCluster) -> None:
    ours, _ = scaled(broker)
    often, seldom, bulk = script("100"), script("500"), script("bulk")
    who = [often, seldom, bulk, ours]
    taken = await contest.run(place, disk, ITEMS, ROUNDS, who, report.say)
    found = {
        "times the speed of the script that commits every 100": taken.ratio(ours, often),
        "times the speed of the script that commits every 500": taken.ratio(ours, seldom),
        "of the speed of COPY": taken.ratio(ours, bulk),
        "us of the processor an item": taken.cpu(ours),
    }
    for name, figure in found.items():
        tell(name, f"{figure:.2f}", items=ITEMS, rounds=ROUNDS)
    tell("us of the processor an item, the script's of 100", f"{taken.cpu(often):.2f}")
    beside_100, beside_500, _, microseconds = found.values()
    assert beside_100 >= BESIDE_COMMITS_OF_100
    assert beside_500 >= BESIDE_COMMITS_OF_500
    assert microseconds < CPU_MICROSECONDS


@pytest.mark.timeout(600)
async def test_small_jobs_end_soon(place: Place, broker: KafkaCluster) -> None:
    found = await over_kafka.small(place, broker, JOBS)
    ones, batches = found.ones, found.batches
    told = f"p50 {median(ones) * 1000:.1f} ms, p99 {percentile(ones, 0.99) * 1000:.1f} ms"
    tell("a job of one item", told, jobs=JOBS)
    told = f"p50 {median(batches):.2f} s, p99 {percentile(batches, 0.99):.2f} s"
    tell("jobs of 10 items at once", told, jobs=len(batches))
    assert median(ones) < ONE_ITEM


@pytest.mark.timeout(1800)
async def test_small_jobs_get_past_a_large_one(
    place: Place, disk: Path, broker: KafkaCluster
) -> None:
    found = await over_kafka.beside(place, disk, broker, LARGE)
    tell("times their time alone, 100 items behind a large job", f"{found.times:.2f}", items=LARGE)
    tell("of its speed alone, the large job beside them", f"{found.kept:.2f}", items=LARGE)
    assert found.times <= BEHIND
    assert found.kept >= KEPT
