"""Meters: rates and durations in bounded memory, and intervals that hold as often as they say."""

from __future__ import annotations

import math
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random

import pytest

from domain import progress
from domain.metering import FIRST_SLOT, MOST_SLOTS, RECENT_SECONDS, Durations, Meter
from tests.proof.figures import tell
from tests.unit.domain.story import BEGIN, Story

JOBS, SAMPLES = 100, 20
Log = list[tuple[float, int]]
"""When chunks were closed, in seconds, and their items."""


def _at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def _job(seed: int) -> Log:
    """A job of one to four workers: even work, a load that comes and goes, or stalls."""
    chance = Random(seed)
    left, each = chance.randint(2_000, 60_000), chance.choice([0.0002, 0.001, 0.004])
    size, free = chance.choice([20, 100, 400]), [0.0] * chance.choice([1, 2, 4])
    noise, kind, load, log = chance.uniform(0.1, 0.8), seed % 3, 0.0, []
    whole = left * each / len(free)
    echo = math.exp(-size * each / len(free) / (chance.uniform(0.02, 0.15) * whole))
    while left:
        items = min(size, left)
        left -= items
        took = 0.002 + items * each * math.exp(chance.gauss(0, noise) - noise**2 / 2)
        if kind == 1:
            load = echo * load + math.sqrt(1 - echo**2) * chance.gauss(0, 0.35)
            took *= math.exp(load)
        if kind == 2 and chance.random() < 0.02:
            took += chance.expovariate(1 / (20 * size * each))
        worker = free.index(min(free))
        free[worker] += took
        log.append((free[worker], items))
    return sorted(log)


def _covered(log: Log) -> Iterator[bool]:
    """Whether the interval holds the true end, at moments spread evenly over a job."""
    meter, left, end = Meter(), sum(items for _, items in log), log[-1][0]
    meter.begin(BEGIN, 0)
    moments = [end * (n + 0.5) / SAMPLES for n in range(SAMPLES)]
    for at, items in log:
        while moments and moments[0] <= at:
            moment = moments.pop(0)
            told = meter.remaining(left, _at(moment))
            if told is not None:
                assert told.low <= told.seconds <= told.high
                yield told.low <= end - moment <= told.high
        left -= items
        meter.closed(_at(at), items, [(items, 1.0)])


def test_the_interval_holds_the_true_end_four_times_in_five() -> None:
    found = Counter(held for seed in range(JOBS) for held in _covered(_job(seed)))
    covered = found[True] / found.total()
    tell("samples whose interval holds the true end", f"{100 * covered:.1f} %", N=found.total())
    tell("moments that were told an interval", found.total(), N=JOBS * SAMPLES, jobs=JOBS)
    assert found.total() > 0.7 * JOBS * SAMPLES, "most samples say something"
    assert 0.70 <= covered <= 0.90, found


def test_a_steady_run_is_foretold_to_the_second() -> None:
    meter = Meter()
    meter.begin(BEGIN, 0)
    for tick in range(1, 201):
        meter.closed(_at(tick / 10), 5, [(5, 100.0)])
    told = meter.remaining(500, _at(20))
    assert told is not None
    assert told.seconds == pytest.approx(10, abs=0.2)
    assert told.high - told.low < 0.5
    assert (meter.now(_at(20)), meter.mean(_at(20))) == (pytest.approx(50, rel=0.1), 50)


def test_a_run_that_stands_still_is_late_by_as_much() -> None:
    meter = Meter()
    meter.begin(BEGIN, 0)
    for tick in range(1, 101):
        meter.closed(_at(tick / 10), 5, [(5, 100.0)])
    told = [meter.remaining(500, _at(10 + seconds)) for seconds in (0, 5, 10)]
    seconds = [each.seconds for each in told if each is not None]
    assert seconds == sorted(seconds)
    assert seconds[-1] > 1.5 * seconds[0]
    assert meter.now(_at(10 + RECENT_SECONDS + 1)) == 0


def test_nothing_is_said_too_early() -> None:
    meter = Meter()
    assert meter.remaining(5, BEGIN) is None
    meter.begin(BEGIN, 0)
    assert (meter.mean(BEGIN), meter.now(BEGIN)) == (None, None)
    meter.closed(_at(0.1), 5, [(5, 100.0)])
    assert meter.remaining(5, _at(0.2)) is None
    assert meter.remaining(5, _at(5)) is not None
    assert meter.remaining(5, _at(60)) is None, "it stands still, and nobody knows for how long"


def test_the_memory_of_a_long_run_is_bounded() -> None:
    meter, chance = Meter(), Random(1)
    meter.begin(BEGIN, 0)
    total = 0
    for hour in range(20_000):
        total += 7
        meter.closed(_at(3600.0 * hour * chance.random()), 7, [(7, chance.expovariate(1e-4))])
    assert len(meter.slots) <= MOST_SLOTS
    assert len(meter.recent) <= RECENT_SECONDS + 1
    assert len(meter.items.counts) < 300
    assert sum(meter.slots) == total == meter.settled


def test_a_run_that_stands_still_is_asked_at_no_cost() -> None:
    meter = Meter()
    meter.begin(BEGIN, 0)
    meter.closed(_at(1), 5, [(5, 100.0)])
    tracemalloc.start()
    try:
        assert meter.remaining(5, _at(timedelta(days=700).total_seconds())) is None
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 50_000, "a slot for each quarter of a second since would be gigabytes"
    assert (len(meter.slots), meter.width) == (5, FIRST_SLOT), "a question changes nothing"


@pytest.mark.parametrize("seconds", [11.9, 12, 15, 23, 40])
def test_what_is_foretold_is_that_of_a_chunk_closed_now(seconds: float) -> None:
    asked, told = Meter(), Meter()
    for meter in (asked, told):
        meter.begin(BEGIN, 0)
        for tick in range(1, 101):
            meter.closed(_at(tick / 10), 5, [(5, 100.0)])
    told.closed(_at(seconds), 0, [])
    assert asked.remaining(500, _at(seconds)) == told.remaining(500, _at(seconds))


def test_quantiles_are_true_to_five_percent() -> None:
    durations, chance = Durations(), Random(2)
    drawn = sorted(chance.lognormvariate(3, 1) for _ in range(5000))
    for took in drawn:
        durations.add(took)
    told = durations.quantiles()
    assert told is not None
    for share, found in ((0.5, told.p50), (0.95, told.p95), (0.99, told.p99)):
        assert found == pytest.approx(drawn[int(share * 5000) - 1], rel=0.06)
    assert Durations().quantiles() is None


def test_a_rate_is_that_of_the_present_run() -> None:
    story = Story(chunk_size=4).submit(12).plan().done(0)
    first = progress.of_run(story.job, story.stamp.at)
    assert first is not None
    assert first.settled == 4
    story.pause().wait(3600).resume().plan().done(1)
    now = story.stamp.at
    told = progress.of_job(story.job, now)
    began = story.job.run
    assert began is not None
    assert began.settled == 4
    assert told["items_per_second"] == round(4 / (now - began.at).total_seconds(), 2)
    assert progress.of_event(story.collect()[-1])["items_per_second"] > 1, "as the events tell"
    assert story.replayed() == story.job


def test_percents_of_a_run_never_fall() -> None:
    story = Story(chunk_size=4, retry={"delay": 0, "attempts": 3}).submit(40)
    while story.job.wants_chunks() or story.job.open or story.job.deferred:
        story.wait(1).plan(room=2)
        for chunk in list(story.job.open):
            story.failing(chunk, "busy", retryable=True)
    told = [progress.of_event(event) for event in story.collect()]
    percents = [each["percent"] for each in told]
    assert percents == sorted(percents)
    for name in ("succeeded", "failed", "skipped"):
        counted = [each["counts"][name] for each in told]
        assert counted == sorted(counted)
