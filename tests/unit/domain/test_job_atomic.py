"""Atomic jobs in the aggregate: prepared, then one commit; or stopped with nothing done."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from domain.errors import InvalidCommand
from domain.events import Cause, JobStatus
from domain.job import Job
from domain.outcomes import ClosedChunk, Closing, Fault
from domain.ranges import Ranges
from domain.retrying import Failures
from domain.views import job_view
from tests.unit.domain.story import Story

NOW = datetime(2026, 2, 1, tzinfo=UTC)


def _whole(items: int = 8, **options: object) -> Story:
    return Story(chunk_size=4, atomic=True, **options).submit(items)


def _commit(job: Job) -> int:
    (chunk,) = (number for number, opened in job.open.items() if opened.cause is Cause.COMMIT)
    return chunk


def test_what_is_prepared_is_pending_until_one_chunk_commits_it() -> None:
    story = _whole().plan(room=2).prepared(0)
    assert (story.job.counts.pending, len(story.job.prepared)) == (8, 4)
    assert job_view(story.job, NOW).prepared == 4
    story.prepared(1)
    assert [event.alias for event in story.collect()][-1] == "job.prepared"
    story.plan(room=5)
    assert story.job.open[_commit(story.job)].items == Ranges.span(0, 8)
    story.done(_commit(story.job))
    assert (story.job.status, story.job.counts.succeeded) == (JobStatus.COMPLETED, 8)
    assert [effect.items for effect in story.job.applied] == [8]
    assert story.replayed() == story.job


def test_the_commit_waits_for_the_seal() -> None:
    story = Story(chunk_size=4, atomic=True, start="eager").open_draft().append(4)
    story.plan().prepared(0)
    assert (story.job.status, story.job.wants_chunks()) == (JobStatus.RUNNING, False)
    story.append(4, part=1).plan().prepared(1).seal().plan()
    assert story.done(_commit(story.job)).job.status is JobStatus.COMPLETED


def test_a_failure_while_it_is_prepared_ends_it_once_all_is_known() -> None:
    story = _whole().plan(room=2).prepared(0, failed=1)
    assert story.job.status is JobStatus.RUNNING
    story.prepared(1, failed=2)
    assert (story.job.status, story.job.applied) == (JobStatus.FAILED, [])
    assert (story.job.counts.failed, story.job.counts.skipped) == (3, 5)
    assert str(story.job.limit) == "an item failed"
    assert story.replayed() == story.job


def test_a_failure_at_the_commit_ends_it_although_it_would_be_tried_again() -> None:
    story = _whole(retry={"attempts": 5}).plan(room=2).prepared(0).prepared(1).plan()
    story.failing(_commit(story.job), *["busy"] * 8, retryable=True)
    assert (story.job.status, story.job.counts.failed) == (JobStatus.FAILED, 8)
    assert story.job.next_due is None


def test_a_failure_while_it_is_prepared_is_tried_again_by_the_policy() -> None:
    story = _whole(4, retry={"attempts": 2, "delay": 1}).plan()
    failed = ClosedChunk(
        chunk=0, closing=Closing.PREPARED, failed=1, returned=Ranges.span(0, 3), duration_ms=5
    )
    story.job.record(story.stamp, [failed], Failures({0: [Fault(3, "busy", True)]}, lambda: 0.5))
    assert story.job.counts.pending == 4
    story.wait(5).plan().prepared(1).plan()
    assert story.done(_commit(story.job)).job.counts.succeeded == 4


def test_a_commit_that_is_called_back_is_planned_again_as_a_whole() -> None:
    story = _whole().plan(room=2).prepared(0).prepared(1).plan()
    story.revoked(_commit(story.job)).pause().resume().plan(room=4)
    assert story.job.open[_commit(story.job)].items == Ranges.span(0, 8)


def test_a_commit_is_not_held_to_the_rate() -> None:
    story = _whole(8, rate=4)
    while story.job.wants_chunks() and "job.prepared" not in [e.alias for e in story.events]:
        story.wait(1).plan(room=4)
        for chunk in list(story.job.open):
            story.prepared(chunk)
        story.collect()
    assert story.job.held_until is None
    assert len(story.plan().job.open[_commit(story.job)].items) == 8


def test_it_is_tried_again_as_a_whole() -> None:
    story = _whole().work(failed=1)
    with pytest.raises(InvalidCommand, match="as a whole") as refused:
        story.retry(Ranges.of([3]), Ranges.of([3]))
    assert refused.value.pointer == "/items"
    story.retry(Ranges.of([3])).work()
    assert (story.job.status, story.job.counts.succeeded) == (JobStatus.COMPLETED, 8)


def test_cancelled_while_it_is_prepared_it_can_be_tried_again_as_a_whole() -> None:
    story = _whole().plan().prepared(0).cancel(roll_back=True)
    assert (story.job.status, story.job.counts.skipped) == (JobStatus.CANCELLED, 8)
    story.retry(Ranges()).work()
    assert story.job.status is JobStatus.COMPLETED


def test_undo_takes_it_back_in_one_chunk() -> None:
    story = _whole().work().undo().plan(room=9)
    assert len(story.job.open) == 1
    assert story.put_back().job.status is JobStatus.ROLLED_BACK
    assert story.undo().put_back().job.counts.succeeded == 8
