"""Forward work: chunks are planned, closed, returned, bisected and retried; no item is lost."""

from __future__ import annotations

import math

import pytest

from domain.errors import InvalidCommand, WrongState
from domain.events import Cause, ChunksClosed, ChunksPlanned, JobStatus
from domain.options import JobOptions
from domain.outcomes import ClosedChunk, Closing, Counts
from domain.planning import FIRST_ITEMS
from domain.ranges import Ranges
from tests.unit.domain.story import Story, eager


def _waiting(story: Story) -> list[int]:
    """Every position in the backlog or in an open forward chunk; one a mention."""
    spans = [entry.items for entry in story.job.backlog]
    spans += [chunk.items for chunk in story.job.open.values()]
    return sorted(position for span in spans for position in span)


def test_a_job_is_cut_as_asked_and_ends_when_all_is_closed() -> None:
    story = Story(chunk_size=4).submit(10)
    story.plan(room=2)
    assert [(o.items.spans, o.cause) for o in story.job.open.values()] == [
        (((0, 4),), Cause.APPLY),
        (((4, 8),), Cause.APPLY),
    ]
    assert story.job.status is JobStatus.RUNNING
    story.done(0).done(1, failed=1)
    assert story.job.status is JobStatus.RUNNING
    story.plan().done(2)
    assert story.job.status is JobStatus.COMPLETED_WITH_ERRORS
    assert story.job.counts == Counts(succeeded=9, failed=1)
    assert story.job.finished_at == story.collect()[-1].at


@pytest.mark.parametrize(
    ("failed", "skipped", "status"),
    [
        (0, 0, JobStatus.COMPLETED),
        (0, 3, JobStatus.COMPLETED),
        (1, 1, JobStatus.COMPLETED_WITH_ERRORS),
        (2, 1, JobStatus.FAILED),
        (3, 0, JobStatus.FAILED),
    ],
)
def test_the_final_status_tells_what_became_of_the_items(
    failed: int, skipped: int, status: JobStatus
) -> None:
    story = Story().submit(3).plan().done(0, failed=failed, skipped=skipped)
    assert story.job.status is status


def test_an_empty_job_is_refused() -> None:
    story = Story()
    with pytest.raises(InvalidCommand, match="at least one item") as refused:
        story.submit(0)
    assert refused.value.pointer == "/items"
    assert story.collect() == []
    assert story.job.version == 0


def test_room_bounds_a_plan_and_none_plans_nothing() -> None:
    story = Story(chunk_size=1).submit(5).plan(room=0)
    assert story.job.open == {}
    assert story.job.status is JobStatus.PENDING
    story.plan(room=3).plan(room=1)
    assert list(story.job.open) == [0, 1, 2, 3]


def test_the_first_chunk_is_small_and_the_next_ones_grow() -> None:
    story = Story().submit(10_000).plan(room=1)
    assert len(story.job.open[0].items) == FIRST_ITEMS
    story.done(0, ms=1.0).plan()
    assert len(story.job.open[1].items) == 10 * FIRST_ITEMS


def test_an_outcome_is_recorded_once_however_often_it_comes() -> None:
    story = Story(chunk_size=5).submit(10).plan(room=2)
    closed = ClosedChunk(chunk=0, succeeded=5)
    story.record(closed, closed).record(closed)
    assert [event.alias for event in story.collect()] == [
        "job.submitted",
        "job.chunks_planned",
        "job.chunks_closed",
    ]
    assert story.job.counts == Counts(pending=5, succeeded=5)


def test_the_first_outcome_of_a_chunk_wins_within_one_call_too() -> None:
    story = Story().submit(5).plan()
    story.record(ClosedChunk(chunk=0, succeeded=5), ClosedChunk(chunk=0, failed=5))
    assert story.job.counts == Counts(succeeded=5)


@pytest.mark.parametrize(
    "closed",
    [
        ClosedChunk(chunk=0, succeeded=4),
        ClosedChunk(chunk=0, succeeded=4, failed=2),
        ClosedChunk(chunk=0, succeeded=4, rolled_back=1),
        ClosedChunk(chunk=0, closing=Closing.REVOKED, returned=Ranges.span(0, 4)),
    ],
)
def test_an_outcome_that_leaves_an_item_out_is_not_recorded(closed: ClosedChunk) -> None:
    story = Story().submit(5).plan()
    story.collect()
    with pytest.raises(RuntimeError, match="what became of each item"):
        story.record(closed)
    assert story.collect() == []
    assert story.job.counts == Counts(pending=5)


def test_outcomes_of_one_call_are_one_event_in_the_order_of_their_commits() -> None:
    story = Story(chunk_size=2).submit(6).plan(room=3)
    story.record(*(ClosedChunk(chunk=n, succeeded=2) for n in (2, 0, 1)))
    closed = [event for event in story.collect() if isinstance(event, ChunksClosed)]
    assert [[c.chunk for c in event.chunks] for event in closed] == [[2, 0, 1]]
    assert [effect.chunk for effect in story.job.applied] == [2, 0, 1]


# -- returned items ---------------------------------------------------------------


def test_returned_items_come_back_as_a_new_chunk_before_the_rest() -> None:
    story = Story(chunk_size=4).submit(10).plan(room=2).revoked(0, succeeded=1).plan()
    opened = story.job.open[2]
    assert (opened.items.spans, opened.cause) == (((1, 4),), Cause.APPLY)
    (planned,) = [e for e in story.collect() if isinstance(e, ChunksPlanned)][-1].chunks
    assert planned.parent == 0
    assert _waiting(story) == list(range(1, 10))


def test_a_pause_waits_for_the_open_chunks() -> None:
    story = Story().submit().plan()
    with pytest.raises(RuntimeError, match="close the open chunks"):
        story.pause()
    with pytest.raises(RuntimeError, match="close the open chunks"):
        story.cancel()


def test_pause_raises_the_epoch_and_resume_works_what_was_returned() -> None:
    story = Story(chunk_size=5).submit(10).plan(room=2).revoked(0).done(1).pause()
    assert story.job.status is JobStatus.PAUSED
    assert story.job.epoch == 1
    assert not story.job.wants_chunks()
    assert story.plan().job.open == {}
    story.resume()
    assert story.job.status is JobStatus.RUNNING
    story.work()
    assert story.job.status is JobStatus.COMPLETED
    assert story.job.counts == Counts(succeeded=10)


def test_a_job_that_was_never_started_is_pending_again_after_a_pause() -> None:
    assert Story().submit().pause().resume().job.status is JobStatus.PENDING


def test_cancel_skips_what_was_not_attempted() -> None:
    story = Story(chunk_size=4).submit(10).plan(room=2).done(0, failed=1).revoked(1).cancel()
    assert story.job.status is JobStatus.CANCELLED
    assert story.job.counts == Counts(succeeded=3, failed=1, skipped=6)
    assert story.job.epoch == 1
    assert not story.job.wants_chunks()
    assert story.job.backlog == []
    assert story.job.finished_at is not None


def test_an_outcome_that_comes_after_the_cancel_changes_nothing() -> None:
    story = Story().submit(5).plan().revoked(0).cancel()
    story.collect()
    story.record(ClosedChunk(chunk=0, succeeded=5))
    assert story.collect() == []


# -- killers ----------------------------------------------------------------------


@pytest.mark.parametrize("items", [1, 2, 3, 7, 64, 100, 1000])
def test_one_killer_is_found_at_the_cost_of_few_chunks(items: int) -> None:
    for killer in {0, items // 2, items - 1}:
        story = Story(chunk_size=1000).submit(items)
        while story.job.wants_chunks():
            story.plan(room=4)
            for chunk, opened in list(story.job.open.items()):
                if killer not in opened.items:
                    story.done(chunk)
                elif len(opened.items) > 1:
                    story.died(chunk)
                else:
                    story.done(chunk, failed=1)
        assert story.job.counts == Counts(succeeded=items - 1, failed=1)
        assert story.job.next_chunk <= 2 * math.ceil(math.log2(items)) + 1


def test_suspects_run_alone_and_are_not_cut_by_the_chunk_size() -> None:
    story = Story(chunk_size=4).submit(12).plan(room=2).died(0)
    assert story.plan(room=5).job.open.keys() == {1}, "chunk 1 is still at work"
    story.done(1).plan(room=5)
    assert [c.cause for c in story.job.open.values()] == [Cause.BISECT]
    assert story.plan(room=5).job.open.keys() == {2}
    story.done(2).plan(room=5)
    assert story.job.open.keys() == {3}, "the last suspect, with others waiting behind it"
    story.done(3).plan(room=5)
    assert [c.cause for c in story.job.open.values()] == [Cause.APPLY]


def test_a_chunk_that_died_with_some_results_keeps_them() -> None:
    story = Story().submit(6).plan()
    story.record(
        ClosedChunk(
            chunk=0, closing=Closing.DIED, succeeded=2, failed=1, returned=Ranges.of([1, 3, 5])
        )
    )
    assert story.job.counts == Counts(pending=3, succeeded=2, failed=1)
    assert [list(entry.items) for entry in story.job.backlog] == [[1], [3, 5]]


# -- drafts -----------------------------------------------------------------------


def test_a_draft_gathers_parts_in_the_order_of_their_arrival() -> None:
    story = Story().open_draft().append(3, part=1).append(2, part=0).append(4, part=2)
    firsts = [(e.part, e.first) for e in story.collect() if e.alias == "job.items_appended"]
    assert firsts == [(1, 0), (0, 3), (2, 5)]
    assert story.job.counts == Counts(pending=9)
    assert story.job.size == 9 * 20
    assert story.seal(9).job.status is JobStatus.PENDING
    assert len(story.job.backlog) == 1


def test_a_part_that_comes_twice_counts_once_in_any_status() -> None:
    story = Story().open_draft().append(3, part=0).append(3, part=0)
    assert story.job.counts.total == 3
    story.seal()
    version = story.job.version
    story.append(3, part=0).plan().append(3, part=0).done(0).append(3, part=0)
    assert story.job.counts == Counts(succeeded=3)
    assert story.job.version == version + 3, "plan, close and finish; no part"


def test_a_draft_runs_nothing_before_the_seal() -> None:
    story = Story().open_draft().append(3)
    assert not story.job.wants_chunks()
    assert story.plan().job.open == {}


@pytest.mark.parametrize(("said", "message"), [(2, "says 2 items, 3 have"), (4, "4 items, 3 have")])
def test_a_seal_that_counts_otherwise_is_refused(said: int, message: str) -> None:
    story = Story().open_draft().append(3)
    with pytest.raises(InvalidCommand, match=message):
        story.seal(said)
    assert story.job.status is JobStatus.DRAFT


def test_a_seal_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidCommand, match="no items"):
        Story().open_draft().seal()


def test_a_part_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidCommand, match="at least one item"):
        Story().open_draft().append(0)


def test_an_eager_draft_starts_takes_parts_and_ends_only_when_sealed() -> None:
    story = eager(chunk_size=2).open_draft().append(2, part=0).plan()
    assert story.job.status is JobStatus.RUNNING
    story.done(0)
    assert story.job.status is JobStatus.RUNNING, "more may follow"
    assert {"append", "seal"} <= set(story.job.possible())
    story.append(3, part=1).plan(room=4).seal(5)
    assert story.job.status is JobStatus.RUNNING
    story.done(1).done(2)
    assert story.job.status is JobStatus.COMPLETED
    assert "append" not in story.job.possible()


def test_an_eager_draft_that_is_all_done_ends_at_the_seal() -> None:
    story = eager().open_draft().append(2).work()
    assert story.job.status is JobStatus.RUNNING
    assert story.seal(2).job.status is JobStatus.COMPLETED


def test_an_eager_draft_sealed_during_a_pause_ends_at_the_resume() -> None:
    story = eager().open_draft().append(2).work().pause()
    assert story.seal(2).job.status is JobStatus.PAUSED
    assert story.resume().job.status is JobStatus.COMPLETED


def test_parts_that_come_after_returned_items_are_nobodys_children() -> None:
    story = eager(chunk_size=4).open_draft().append(4, part=0).plan().revoked(0)
    story.append(4, part=1).plan(room=4)
    planned = [e for e in story.collect() if isinstance(e, ChunksPlanned)][-1].chunks
    assert [(chunk.items.spans, chunk.parent) for chunk in planned] == [
        (((0, 4),), 0),
        (((4, 8),), None),
    ]


# -- retry ------------------------------------------------------------------------


def test_retry_works_the_failed_items_and_nothing_else() -> None:
    story = Story(chunk_size=5).submit(10).work(failed=2)
    story.retry(Ranges.of([3, 4])).plan(room=5)
    assert [(list(c.items), c.cause) for c in story.job.open.values()] == [([3, 4], Cause.RETRY)]
    assert story.job.counts == Counts(pending=2, succeeded=8)
    assert story.job.finished_at is None
    story.done(2)
    assert story.job.status is JobStatus.COMPLETED


def test_a_job_of_which_nothing_succeeded_can_be_retried() -> None:
    story = Story().submit(3).work(failed=3)
    assert story.job.status is JobStatus.FAILED
    assert story.retry(Ranges.span(0, 3)).work().job.status is JobStatus.COMPLETED


def test_a_retry_of_other_items_than_have_failed_is_refused() -> None:
    story = Story().submit(3).work(failed=2)
    with pytest.raises(InvalidCommand, match="audit verify"):
        story.retry(Ranges.of([0]))
    with pytest.raises(WrongState, match="nothing to retry"):
        story.retry(Ranges())


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (1, "; 1 was not attempted: name them in items, or say unattempted"),
        (2, "; 2 were not attempted: name them in items, or say unattempted"),
    ],
)
def test_a_retry_of_nothing_names_what_was_not_attempted(left: int, words: str) -> None:
    story = Story(chunk_size=1).submit(1 + left).plan().done(0).cancel()
    with pytest.raises(WrongState, match=words):
        story.retry(Ranges())


def test_a_seal_of_another_number_says_what_to_do() -> None:
    story = Story().open_draft().append(4)
    with pytest.raises(InvalidCommand, match="says 5 items, 4 have arrived; append what is"):
        story.seal(5)
    with pytest.raises(InvalidCommand, match="4 have arrived; say 4 if all of them are meant"):
        story.seal(3)


def test_options_are_the_specs() -> None:
    assert Story(chunk_size=7).submit().job.options == JobOptions(chunk_size=7)


def test_percent_is_what_is_settled() -> None:
    story = Story(chunk_size=5).submit(20).plan(room=2).done(0).done(1)
    assert story.job.percent == 50.0
    assert Story().open_draft().job.percent == 0.0
