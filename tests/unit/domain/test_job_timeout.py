"""Timeouts: when a run has taken too long, and what then becomes of the job."""

from __future__ import annotations

from datetime import timedelta

from domain.events import JobStatus
from domain.ranges import Ranges
from tests.unit.domain.story import Story


def _late(story: Story) -> Story:
    story.job.time_out(story.stamp)
    return story


def _since(story: Story) -> float:
    """How long after its last event the run must have ended."""
    assert story.job.ends_by is not None
    assert story.job.updated_at is not None
    return (story.job.ends_by - story.job.updated_at).total_seconds()


def test_a_run_ends_by_its_timeout_whatever_else_it_waits_for() -> None:
    story = Story(chunk_size=4, timeout=60, retry={"delay": 100}).submit(10)
    assert story.job.ends_by is None, "it has not begun"
    story.plan()
    began = story.job.started_at
    assert began is not None
    assert story.job.ends_by == story.job.wakes_at == began + timedelta(seconds=60)
    story.failing(0, "busy", retryable=True, chance=0.01)
    assert story.job.wakes_at == story.job.next_due


def test_what_was_done_stays_and_the_rest_is_skipped() -> None:
    story = _late(Story(chunk_size=4, timeout=60).submit(10).plan().done(0))
    assert story.job.status is JobStatus.CANCELLED
    assert (story.job.counts.succeeded, story.job.counts.skipped) == (4, 6)
    assert story.job.ends_by is None
    assert story.replayed() == story.job


def test_with_on_error_it_is_put_back() -> None:
    story = Story(chunk_size=4, timeout=60, on_error="roll_back").submit(10).plan().done(0)
    _late(story).put_back()
    assert (story.job.status, story.job.counts.rolled_back) == (JobStatus.ROLLED_BACK, 4)


def test_a_resume_and_a_retry_begin_another_run() -> None:
    story = Story(chunk_size=4, timeout=60).submit(10).plan().done(0).pause()
    assert story.job.ends_by is None
    story.resume()
    assert _since(story) == 60
    _late(story).retry(Ranges(), Ranges.of([9]))
    assert story.job.status is JobStatus.RUNNING
    assert _since(story) == 60


def test_other_caps_do_not_put_it_off() -> None:
    story = Story(chunk_size=4, timeout=60).submit(10).plan().done(0).plan()
    ends_by, began = story.job.ends_by, story.job.started_at
    assert began is not None
    story.wait(30).adjust(rate=100).done(1).plan()
    assert story.job.run is not None
    assert story.job.run.at > began, "rates are measured anew"
    assert story.job.ends_by == ends_by
    assert story.replayed() == story.job


def test_a_job_without_one_takes_as_long_as_it_will() -> None:
    story = _late(Story().submit(10).plan())
    assert story.job.status is JobStatus.RUNNING
