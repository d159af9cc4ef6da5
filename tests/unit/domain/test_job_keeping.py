"""A job at rest is held, released, and what was sent to it shredded; each says who and why."""

from __future__ import annotations

import pytest

from domain.errors import InvalidCommand, WrongState
from domain.events import JobHeld, JobReleased, JobShredded, JobStatus
from domain.job import Job
from domain.job_state import Word
from domain.ranges import Ranges
from tests.unit.domain.story import Story


def _ended() -> Story:
    story = Story(chunk_size=4).submit(4).work(failed=1)
    story.collect()
    return story


def test_a_held_job_is_not_shredded_until_it_is_released() -> None:
    story = _ended().hold()
    job = story.job
    assert job.held is not None
    with pytest.raises(WrongState, match=rf"held by {job.held.by} \(case 17\): shred is not"):
        story.shred()
    with pytest.raises(WrongState):
        story.hold()
    story.lift_hold().shred()
    assert [type(event) for event in story.collect()] == [JobHeld, JobReleased, JobShredded]
    assert job.held is None
    assert job.shredded == Word(by=story.stamp.actor, at=job.shredded.at, reason="asked for")


def test_it_ended_when_it_ended() -> None:
    story = _ended()
    before = story.job.as_it_stands()
    story.hold().lift_hold().shred()
    job = story.job
    assert (job.finished_at, job.status, job.counts) == (
        before.finished_at,
        before.status,
        before.counts,
    )
    assert job.updated_at > job.finished_at


def test_what_needs_the_items_is_refused_for_good_and_an_undo_is_not() -> None:
    story = _ended().shred()
    assert story.job.possible() == ["undo"]
    story.undo().put_back()
    assert story.job.status is JobStatus.ROLLED_BACK
    assert story.job.possible() == ["undo"]


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_to_shred_needs_a_reason(reason: str) -> None:
    story = _ended()
    with pytest.raises(InvalidCommand, match="say why") as refused:
        story.shred(reason)
    assert refused.value.pointer == "/reason"
    assert story.collect() == []


def test_a_snapshot_keeps_it() -> None:
    story = _ended().shred()
    story.collect()
    job = Job.project(None, [story.job.snapshot()])
    assert job == story.job


def test_a_hold_outlives_a_retry() -> None:
    story = _ended().hold()
    story.retry(Ranges.of([3])).work()
    assert story.job.held is not None
    assert story.job.status is JobStatus.COMPLETED
    assert story.job.possible() == ["release", "undo"]
