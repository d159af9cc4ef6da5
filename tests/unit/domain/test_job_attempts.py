"""Attempts: which failed items a job tries again by itself, when, and what its counts say."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.events import AttemptsDue, Cause, ChunksClosed, ChunksPlanned, JobStatus
from domain.options import Backoff, RetryPolicy
from domain.outcomes import ClosedChunk, Fault, ItemStatus
from domain.ranges import Ranges
from domain.retrying import LEAST_STEP, STEPS, Failures, put_off
from tests.unit.domain.story import BEGIN, Story


def _again(
    policy: RetryPolicy, *faults: tuple[str, bool], trial: int = 1, chance: float = 0.0
) -> dict[str, list[int]]:
    found = put_off(
        policy,
        7,
        [Fault(position, *fault) for position, fault in enumerate(faults)],
        trial=trial,
        at=BEGIN,
        draw=lambda: chance,
    )
    return {entry.code: list(entry.items) for entry in found}


# -- which -------------------------------------------------------------------------------


def test_what_says_it_is_retryable_or_has_a_named_code_is_tried_again() -> None:
    policy = RetryPolicy(attempts=2, codes={"locked": Backoff(attempts=4), "gone": _once()})
    faults = [("busy", True), ("locked", False), ("wrong", False), ("gone", True), ("busy", True)]
    assert _again(policy, *faults) == {"busy": [0, 4], "locked": [1]}
    assert _again(policy, *faults, trial=2) == {"locked": [1]}, "by the attempts of its code"
    assert _again(policy, *faults, trial=4) == {}


def _once() -> Backoff:
    return Backoff(attempts=1)


# -- when --------------------------------------------------------------------------------


def test_a_window_grows_up_to_its_cap() -> None:
    backoff = Backoff(delay=2, factor=3, cap=20)
    assert [backoff.window(attempt) for attempt in (1, 2, 3, 4, 20)] == [2, 6, 18, 20, 20]


@given(
    chance=st.floats(0, 1, exclude_max=True),
    trial=st.integers(1, 6),
    delay=st.sampled_from((0.0, 0.05, 1.0, 30.0, 3600.0)),
)
def test_a_wait_is_a_part_of_the_window(chance: float, trial: int, delay: float) -> None:
    policy = RetryPolicy(attempts=20, delay=delay, cap=7200)
    (entry,) = put_off(
        policy, 0, [Fault(0, "busy", True)], trial=trial, at=BEGIN, draw=lambda: chance
    )
    window = policy.window(trial)
    step = max(window / STEPS, LEAST_STEP) if window else 0
    waits = (entry.due - BEGIN).total_seconds()
    assert chance * window - 1e-5 <= waits <= chance * window + step + 1e-5
    assert entry.attempt == trial + 1


def test_waits_are_spread_over_the_whole_window_in_few_groups() -> None:
    chance = Random(1).random
    policy = RetryPolicy(delay=32, cap=32)
    waits = Counter(
        (entry.due - BEGIN).total_seconds()
        for _ in range(3200)
        for entry in put_off(policy, 0, [Fault(0, "busy", True)], trial=1, at=BEGIN, draw=chance)
    )
    assert len(waits) <= STEPS + 1
    assert min(waits.values()) > 50, "each part of the window is drawn as often as the others"
    assert max(waits.values()) < 150


# -- a job -------------------------------------------------------------------------------


def _patient(items: int = 4, **retry: object) -> Story:
    return Story(chunk_size=4, retry={"delay": 10, **retry}).submit(items)


def test_an_item_that_is_tried_again_is_not_failed_yet() -> None:
    story = _patient().plan().failing(0, "wrong").plan()
    assert story.job.counts.failed == 1, "it does not say that it is retryable"

    story = _patient().plan().failing(0, "busy", "busy", retryable=True, chance=0.5)
    assert story.job.counts.model_dump(exclude_defaults=True) == {"pending": 2, "succeeded": 2}
    assert story.job.status is JobStatus.RUNNING
    assert story.job.put_off == Ranges.span(2, 4)
    assert story.job.next_due == BEGIN + timedelta(seconds=3 + 5.125), "half of 10 s, and a step"
    assert not story.job.wants_chunks()
    assert not story.job.resting


def test_it_is_planned_when_it_has_waited_and_not_before() -> None:
    story = _patient().plan().failing(0, "busy", "busy", retryable=True, chance=0.5)
    story.wait(2)
    assert not story.job.wants_chunks()
    story.wait(10).plan()
    (opened,) = story.job.open.values()
    assert (opened.items, opened.cause, opened.trial) == (Ranges.span(2, 4), Cause.RETRY, 2)
    assert story.job.next_due is None

    (number,) = story.job.open
    story.done(number)
    assert story.job.status is JobStatus.COMPLETED
    assert story.replayed() == story.job


def test_the_last_attempt_decides() -> None:
    story = _patient(attempts=3).plan().failing(0, *["busy"] * 4, retryable=True)
    for attempt in (2, 3):
        story.wait(100).plan()
        (number,) = story.job.open
        assert story.job.open[number].trial == attempt
        story.failing(number, *["busy"] * 4, retryable=True)
    assert (story.job.status, story.job.counts.failed) == (JobStatus.FAILED, 4)


def test_events_tell_attempt_code_and_moment() -> None:
    story = _patient().plan().failing(0, "busy", retryable=True).wait(60).plan()
    story.collect()
    (closed,) = [event for event in story.events if isinstance(event, ChunksClosed)]
    (entry,) = closed.deferred
    assert (entry.chunk, list(entry.items), entry.attempt, entry.code) == (0, [3], 2, "busy")
    (due,) = [event for event in story.events if isinstance(event, AttemptsDue)]
    assert (list(due.items), due.attempt) == ([3], 2)
    planned = [event for event in story.events if isinstance(event, ChunksPlanned)][-1]
    assert [chunk.trial for chunk in planned.chunks] == [2]


def test_an_attempt_goes_before_what_was_never_tried() -> None:
    story = _patient(40).plan().failing(0, "busy", retryable=True).wait(60).plan()
    assert [chunk.trial for chunk in story.job.open.values()] == [2]


def test_attempts_of_a_chunk_that_is_returned_or_dies_are_still_counted() -> None:
    story = _patient(attempts=2).plan().failing(0, "busy", "busy", retryable=True)
    story.wait(60).plan().revoked(1).plan().died(2).plan()
    assert [chunk.trial for chunk in story.job.open.values()] == [2]
    story.failing(3, "busy", retryable=True).plan().failing(4, "busy", retryable=True)
    assert story.job.counts.failed == 2


def test_a_paused_job_tries_nothing_and_goes_on_with_what_is_due() -> None:
    story = _patient(attempts=3).plan().failing(0, "busy", retryable=True).pause()
    assert story.job.next_due is None
    assert story.job.resting
    story.wait(60)
    assert story.job.backlog == []
    story.resume().wait(0).plan()
    assert [list(chunk.items) for chunk in story.job.open.values()] == [[3]]


def test_a_cancel_makes_failed_what_waits_and_skips_what_was_not_attempted() -> None:
    story = _patient(8).plan().failing(0, "busy", retryable=True).cancel()
    assert story.job.counts.model_dump(exclude_defaults=True) == {
        "succeeded": 3,
        "failed": 1,
        "skipped": 4,
    }
    assert story.job.dropped == Ranges.span(4, 8)
    assert story.job.deferred == []


def test_a_cancel_makes_failed_what_has_failed_even_if_its_next_attempt_was_due() -> None:
    story = _patient(4).plan().failing(0, "busy", "busy", retryable=True).wait(60)
    assert story.job.put_off == Ranges.span(2, 4)
    story.plan().revoked(1).cancel()
    assert story.job.counts.failed == 2
    assert story.job.dropped == Ranges()


def test_a_retry_by_a_caller_has_all_attempts_again() -> None:
    story = _patient(attempts=2).plan().failing(0, "busy", retryable=True)
    story.wait(60).plan().failing(1, "busy", retryable=True)
    assert story.job.status is JobStatus.COMPLETED_WITH_ERRORS
    story.retry(Ranges.of([3])).plan().failing(2, "busy", retryable=True)
    assert (story.job.counts.pending, story.job.counts.failed) == (1, 0)


def test_an_undo_defers_nothing() -> None:
    story = _patient().work().undo().put_back(failed=1)
    assert story.job.status is JobStatus.ROLLBACK_INCOMPLETE
    assert story.job.deferred == []


@given(codes=st.lists(st.sampled_from(("busy", "wrong")), min_size=1, max_size=4))
def test_failed_never_falls_while_the_job_tries(codes: list[str]) -> None:
    story = Story(chunk_size=4, retry={"attempts": 3, "codes": {"busy": {}}}).submit(4).plan()
    story.failing(0, *codes)
    for _ in range(3):
        story.wait(500)
        if not story.job.wants_chunks():
            break
        story.plan()
        (number,) = story.job.open
        story.failing(number, *["busy"] * len(story.job.open[number].items))
    story.collect()
    seen = [event.counts for event in story.events]
    for name in (ItemStatus.SUCCEEDED, ItemStatus.FAILED):
        told = [getattr(counts, name) for counts in seen]
        assert told == sorted(told)
    assert seen[-1].failed == len(codes)
    assert {counts.total for counts in seen} == {4}


def test_a_chunk_with_many_single_failures_fits_into_its_events() -> None:
    story = Story(chunk_size=10_000, retry={"delay": 0}).submit(60_000).plan(room=6)
    for number in list(story.job.open):
        story.failing(number, *["busy"] * 10_000, retryable=True)
    story.wait(1)
    assert len(story.job.backlog[0].items) == 60_000


def test_without_a_source_of_chance_nothing_is_put_off() -> None:
    story = _patient().plan()
    with pytest.raises(RuntimeError, match="source of chance"):
        story.job.record(
            story.stamp,
            [ClosedChunk(chunk=0, succeeded=3, failed=1)],
            Failures({0: [Fault(3, "busy", True)]}),
        )
