"""A job at rest is held, released, shredded and put away; each says who and why."""

from __future__ import annotations

import pytest

from domain.errors import InvalidCommand, WrongState
from domain.events import JobHeld, JobReleased, JobShredded, JobStatus
from domain.job import Job
from domain.job_state import Word
from domain.ranges import Ranges
from tests.unit.domain.family import Batch
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
    assert story.job.possible() == ["archive", "undo"]
    story.undo().put_back()
    assert story.job.status is JobStatus.ROLLED_BACK
    assert story.job.possible() == ["archive", "undo"]


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


def test_an_archived_job_does_nothing_more_and_says_by_whom() -> None:
    story = _ended().archive()
    job = story.job
    assert (job.status, job.ended) == (JobStatus.ARCHIVED, JobStatus.COMPLETED_WITH_ERRORS)
    assert (job.counts.succeeded, job.counts.failed) == (3, 1)
    assert job.finished_at == story.events[-1].at, "it ended when it ended"
    for refused in (story.undo, lambda: story.retry(Ranges.of([3])), story.archive):
        with pytest.raises(WrongState, match=r"is archived by ada \(the season is over\): "):
            refused()
    assert job.possible() == ["hold", "shred"]
    assert story.replayed() == job


def test_a_held_job_is_not_archived_and_an_archived_one_that_is_held_gives_up_nothing() -> None:
    story = _ended().hold()
    with pytest.raises(WrongState, match=r"held by ada \(case 17\): archive is not possible"):
        story.archive()
    story.lift_hold().archive()
    assert story.job.awaits_file
    story.hold()
    assert not story.job.awaits_file
    with pytest.raises(RuntimeError):
        story.empty()
    story.lift_hold().shred().empty()
    assert story.job.possible() == []
    assert story.job.emptied is not None
    assert story.replayed() == story.job


def test_from_when_on_it_may_be_shredded_and_archived() -> None:
    story = _ended()
    job, rest = story.job, story.job.finished_at
    assert (job.shreddable_since, job.archivable_since) == (rest, rest)
    story.hold()
    assert (job.shreddable_since, job.archivable_since) == (None, None)
    story.lift_hold()
    assert (job.shreddable_since, job.archivable_since) == (rest, rest), "it counts from its rest"
    story.archive()
    assert (job.shreddable_since, job.archivable_since) == (rest, None)
    story.shred()
    assert (job.shreddable_since, job.archivable_since) == (None, None)
    running = Story().submit(4).plan().job
    assert (running.shreddable_since, running.archivable_since) == (None, None)


def test_an_archived_batch_follows_nobody() -> None:
    batch = Batch().hear("done", "done", "done")
    batch.archive()
    batch.collect()
    assert batch.hear("failed").collect() == []
    assert (batch.job.ended, batch.job.shreddable_since) == (JobStatus.COMPLETED, None)
