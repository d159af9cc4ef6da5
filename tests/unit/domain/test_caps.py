"""Caps: no window of time has more items than its rate, none is lost, and replay agrees."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random

import pytest

from domain import planning
from domain.caps import AHEAD_SECONDS, BURST_SECONDS, Bucket, adjusted, least
from domain.commands import Adjustment
from domain.errors import InvalidCommand, WrongState
from domain.job import Job, Stamp
from domain.options import MAX_RATE, Caps
from domain.outcomes import ClosedChunk
from domain.ranges import Ranges
from tests.unit.domain.story import BEGIN, Story


def _stamp(at: datetime) -> Stamp:
    return Stamp("engine", "", at)


def _closed(job: Job, chunk: int) -> ClosedChunk:
    return ClosedChunk(chunk=chunk, succeeded=len(job.open[chunk].items), duration_ms=3.0)


def _run(job: Job, chance: Random, *, slow: bool) -> list[tuple[float, int]]:
    """Plan and close at random moments, and when the job says; what began when, in seconds."""
    begun: list[tuple[float, int]] = []
    now = BEGIN + timedelta(seconds=10)
    while not job.status.terminal:
        planned = job.plan(_stamp(now), room=job.room(3, slow=slow), slow=slow)
        if planned:
            items = sum(len(chunk.items) for chunk in planned)
            begun.append(((now - BEGIN).total_seconds(), items))
        for chunk in [number for number in job.open if chance.random() < 0.7]:
            job.record(_stamp(now), [_closed(job, chunk)])
        later = now + timedelta(seconds=chance.choice([0.01, 0.05, 0.3, 1.7]))
        held = job.held_until
        now = later if held is None or held <= now else min(held, later)
    return begun


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("rate", [0.5, 3.0, 40.0, 700.0])
@pytest.mark.parametrize("seed", range(4))
def test_no_window_has_more_than_the_rate_and_a_burst(seed: int, rate: float, slow: bool) -> None:
    chance = Random(seed)
    items = round(rate * 4) + 3
    story = Story(rate=rate, chunk_size=chance.choice(["auto", 1, 7])).submit(items)

    begun = _run(story.job, chance, slow=slow)

    assert sum(count for _, count in begun) == items
    burst = max(rate * BURST_SECONDS, 1.0) + 1e-3
    for first, (since, _) in enumerate(begun):
        total = 0
        for at, count in begun[first:]:
            total += count
            assert total <= rate * (at - since) + burst
    assert story.replayed() == story.job, "whoever replays it knows what is left in the bucket"


def test_a_job_that_is_looked_at_when_it_says_runs_at_its_rate() -> None:
    story = Story(rate=40).submit(400)
    now, begun = BEGIN + timedelta(seconds=10), 0
    start = now
    while story.job.backlog:
        planned = story.job.plan(_stamp(now), room=3, slow=False)
        begun += sum(len(chunk.items) for chunk in planned)
        for chunk in list(story.job.open):
            story.job.record(_stamp(now), [_closed(story.job, chunk)])
        now = story.job.held_until or now
    assert begun == 400
    assert (now - start).total_seconds() == pytest.approx(10, abs=0.5)


def test_while_no_worker_is_there_little_is_sent() -> None:
    job = Story(rate=10).submit(500).job
    for second in range(60):
        at = BEGIN + timedelta(seconds=10 + second)
        job.plan(_stamp(at), room=job.room(30, slow=False), slow=False)
    sent = sum(len(chunk.items) for chunk in job.open.values())
    assert sent == 10 * AHEAD_SECONDS, "they all begin at once when one comes"


@pytest.mark.parametrize(("concurrency", "size"), [(1, 1), (4, 1), (64, 4), (5000, 128)])
def test_slow_items_in_flight_are_no_more_than_the_cap(concurrency: int, size: int) -> None:
    story = Story(concurrency=concurrency).submit(200_000)
    chance = Random(concurrency)
    for _ in range(20):
        story.job.plan(story.stamp, room=story.job.room(50, slow=True), slow=True)
        in_flight = [len(chunk.items) for chunk in story.job.open.values()]
        assert sum(in_flight) <= concurrency
        assert max(in_flight) == size
        for chunk in [number for number in story.job.open if chance.random() < 0.5]:
            story.job.record(story.stamp, [_closed(story.job, chunk)])


def test_a_cap_needs_no_more_places_than_the_work_itself() -> None:
    job = Story(concurrency=100).submit(20_000).plan(room=500, slow=True).job
    assert len(job.open) == 17
    assert job.pack(slow=True) == planning.SLOW_ITEMS // 6


def test_chunks_at_once_are_no_more_than_the_cap() -> None:
    story = Story(concurrency=2, chunk_size=5).submit(100)
    for _ in range(5):
        story.job.plan(story.stamp, room=10, slow=False)
        assert len(story.job.open) == 2
        story.done(min(story.job.open))


def test_attempts_and_retries_are_held_to_the_rate_as_well() -> None:
    story = Story(rate=4, retry={"delay": 0, "attempts": 2}, chunk_size=100).submit(8)
    story.plan().done(0).wait(60).plan().failing(1, *["busy"] * 4, retryable=True).wait(0)
    assert story.plan().job.open[2].trial == 2, "before what was never tried"
    story.failing(2, *["busy"] * 4, retryable=True).work()
    story.retry(Ranges.of(range(1, 5)))
    at = story.stamp.at + timedelta(seconds=60)
    (chunk,) = story.job.plan(_stamp(at), room=5, slow=False)
    assert len(chunk.items) == 4, "of a second"
    assert story.job.plan(_stamp(at), room=5, slow=False) == ()


def test_an_undo_is_not_held_back() -> None:
    story = Story(chunk_size=2).submit(20).work().undo().adjust(rate=0.001, concurrency=1)
    assert story.put_back().job.status == "rolled_back"
    assert story.job.held_until is None


def test_a_lower_cap_holds_from_the_moment_it_is_set() -> None:
    story = Story(chunk_size=10).submit(100).plan(room=3).wait(60)
    for chunk in list(story.job.open):
        story.revoked(chunk)
    story.adjust(recalled=True, rate=2, reason="the shop is open")
    assert story.job.epoch == 1
    assert story.job.caps == Caps(rate=2)
    assert story.job.options.caps == Caps(), "what was asked for at first stays what it was"
    assert story.job.plan(_stamp(story.job.updated_at or BEGIN), room=9, slow=False) == ()
    (chunk,) = story.wait(1).job.plan(story.stamp, room=9, slow=False)
    assert len(chunk.items) == 2, "with what has gathered in a second"
    assert story.adjust(lift=["rate"], priority=9).job.caps == Caps()
    assert (story.job.priority, story.job.spec.priority) == (9, 7)
    assert story.replayed() == story.job


def test_a_job_at_rest_cannot_be_adjusted() -> None:
    with pytest.raises(
        WrongState, match="adjust is not possible; possible: archive, hold, shred, undo"
    ):
        Story().submit(3).work().adjust(priority=9)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({}, "nothing is to be changed"),
        ({"reason": "none"}, "nothing is to be changed"),
        ({"rate": 5, "lift": ["rate"]}, "rate is set and lifted"),
        ({"concurrency": 5, "lift": ["rate", "concurrency"]}, "concurrency is set and lifted"),
    ],
)
def test_contradictions_are_refused(wanted: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidCommand, match=words):
        adjusted(Caps(), Adjustment.model_validate(wanted))


@pytest.mark.parametrize(
    ("caps", "other", "lower"),
    [
        (Caps(rate=1), Caps(), True),
        (Caps(rate=1), Caps(rate=2, concurrency=1), True),
        (Caps(rate=2), Caps(rate=2), False),
        (Caps(), Caps(rate=MAX_RATE), False),
        (Caps(rate=3, concurrency=1), Caps(rate=2, concurrency=2), True),
    ],
)
def test_what_a_lower_cap_is(caps: Caps, other: Caps, lower: bool) -> None:
    assert caps.lowers(other) is lower


@pytest.mark.parametrize("rate", [1e-12, 5e-324])
def test_a_rate_beyond_every_calendar_holds_the_job_for_years(rate: float) -> None:
    story = Story(rate=rate, chunk_size=1).submit(3).plan(room=3)
    assert len(story.job.open) == 1
    story.done(0)
    held = story.job.held_until
    assert held is not None
    assert held > BEGIN + timedelta(days=3000)
    assert story.job.wakes_at is not None
    assert story.plan(room=3).job.open == {}


def test_a_bucket_goes_on_when_the_clock_was_set_back() -> None:
    """Else nothing would begin before the moment at which the clock had been comes again."""
    used = Bucket(tokens=-3.0, at=BEGIN + timedelta(hours=1))
    assert used.level(20.0, BEGIN) == least(20.0)
    after = used.without(20.0, BEGIN, 5)
    assert after.level(20.0, BEGIN + timedelta(seconds=1)) == 20.0
    a_little = Bucket(tokens=-3.0, at=BEGIN + timedelta(seconds=BURST_SECONDS / 2))
    assert a_little.level(20.0, BEGIN) == -3.0, "two processes may differ by so much"
