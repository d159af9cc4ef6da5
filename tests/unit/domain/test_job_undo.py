"""Undo, undo of the undo, and what is left when one of them cannot finish."""

from __future__ import annotations

import pytest

from domain import planning, progress
from domain.errors import WrongState
from domain.events import Cause, ChunksPlanned, JobStatus, PlannedChunk, UndoStarted
from domain.outcomes import ClosedChunk, Closing, Counts
from domain.ranges import Ranges
from domain.reversal import Part
from tests.unit.domain.story import Story, eager


def _targets(story: Story) -> list[int | None]:
    """What the undo chunks put back, in the order of the plan."""
    planned = [e for e in story.collect() if isinstance(e, ChunksPlanned)]
    return [chunk.target for event in planned for chunk in event.chunks if chunk.cause.undoing]


def _items(story: Story, undo: int) -> Ranges:
    """The two items of the chunk that an undo chunk puts back."""
    target = story.job.open[undo].target
    assert target is not None
    return Ranges.span(2 * target, 2 * target + 2)


def test_undo_reverses_the_order_of_the_commits_one_plan_at_a_time() -> None:
    story = Story(chunk_size=2).submit(6).plan(room=3).done(1).done(0).done(2)
    story.undo()
    assert story.job.status is JobStatus.ROLLING_BACK
    assert (story.job.epoch, story.job.generation) == (1, 1)
    story.plan(room=2)
    assert not story.job.wants_chunks(), "the last one waits for those before it"
    story.plan(room=9)
    assert list(story.job.open) == [3, 4]
    story.restored(3)
    assert story.plan(room=9).job.open.keys() == {4}
    story.put_back()
    assert _targets(story) == [2, 0, 1]
    assert story.job.status is JobStatus.ROLLED_BACK
    assert story.job.counts == Counts(rolled_back=6)


def test_undo_without_room_plans_nothing() -> None:
    story = Story().submit(2).work().undo().plan(room=0)
    assert story.job.open == {}


@pytest.mark.parametrize(
    ("dispatches", "slow", "room"), [(0, False, 0), (1, False, 6), (3, False, 6), (3, True, 1)]
)
def test_an_undo_packs_chunks_by_the_items_that_they_put_back(
    dispatches: int, slow: bool, room: int
) -> None:
    story = Story(chunk_size=4).submit(40)
    while story.job.wants_chunks():
        story.plan().done(story.job.next_chunk - 1, failed=1, ms=8.0)
    story.undo()
    assert planning.TARGET_MS == 40.0, "20 items of 2 ms, and each chunk puts 3 back"
    assert story.job.room(dispatches, slow=slow) == room


def test_an_undo_is_packed_by_its_own_pace_once_that_is_known() -> None:
    story = Story(chunk_size=1).submit(200)
    while story.job.wants_chunks():
        story.plan().done(story.job.next_chunk - 1, ms=10.0)
    assert story.undo().job.room(1, slow=False) == planning.LEAST_ITEMS
    for _ in range(20):
        story.plan()
        for chunk in list(story.job.open):
            story.restored(chunk, ms=1.0)
    assert story.job.room(1, slow=False) == 40
    story.put_back().undo()
    assert story.job.room(1, slow=False) == 40, "of the undo of the undo as well"


def test_undo_leaves_alone_what_failed_and_was_skipped() -> None:
    story = Story().submit(6).plan().done(0, failed=2, skipped=1).undo().put_back()
    assert story.job.counts == Counts(rolled_back=3, failed=2, skipped=1)
    assert story.job.status is JobStatus.ROLLED_BACK


def test_a_cancelled_job_can_be_undone() -> None:
    story = Story(chunk_size=2).submit(4).plan(room=2).done(0).revoked(1).cancel()
    story.undo().put_back()
    assert story.job.counts == Counts(rolled_back=2, skipped=2)
    assert story.undo().put_back().job.status is JobStatus.CANCELLED


def test_a_draft_that_was_cancelled_while_it_ran_can_be_undone() -> None:
    story = eager().open_draft().append(2).work().cancel().undo().put_back()
    assert story.job.status is JobStatus.ROLLED_BACK


def test_a_job_that_changed_nothing_has_nothing_to_undo() -> None:
    cancelled = Story().submit(4).cancel()
    with pytest.raises(WrongState, match="nothing to undo"):
        cancelled.undo()
    failed = Story().submit(4).work(failed=4)
    with pytest.raises(WrongState, match="nothing to undo"):
        failed.undo()


def test_undo_of_the_undo_restores_the_earlier_status_and_again() -> None:
    story = Story(chunk_size=2).submit(6).work(failed=1)
    before = story.job.counts
    for _ in range(2):
        story.undo().put_back()
        assert story.job.status is JobStatus.ROLLED_BACK
        assert story.job.counts == Counts(rolled_back=5, failed=1)
        story.undo().put_back()
        assert story.job.status is JobStatus.COMPLETED_WITH_ERRORS
        assert story.job.counts == before
    assert story.job.generation == 4


def test_undo_of_the_undo_puts_back_what_the_undo_chunks_changed_last_one_first() -> None:
    story = Story(chunk_size=2).submit(4).work().undo().put_back()
    story.collect()
    story.undo().put_back()
    assert _targets(story) == [3, 2], "chunks 2 and 3 had undone 1 and 0"


def test_a_retry_between_two_undos_starts_a_new_row() -> None:
    story = Story().submit(4).work(failed=1).undo().put_back().undo().put_back()
    assert story.job.status is JobStatus.COMPLETED_WITH_ERRORS
    story.retry(Ranges.of([3])).work()
    assert story.job.status is JobStatus.COMPLETED
    story.undo().put_back()
    assert story.job.counts == Counts(rolled_back=4)
    assert story.undo().put_back().job.status is JobStatus.COMPLETED


def test_conflicts_are_left_alone_and_said() -> None:
    story = Story(chunk_size=3).submit(6).work().undo().put_back(conflict=2)
    assert story.job.status is JobStatus.ROLLED_BACK
    assert story.job.counts == Counts(rolled_back=4, conflict=2)
    story.undo().put_back(conflict=1)
    assert story.job.status is JobStatus.COMPLETED
    assert story.job.counts == Counts(succeeded=3, conflict=3)


def test_when_all_was_changed_since_nothing_is_left_to_apply_again() -> None:
    story = Story().submit(3).work().undo().put_back(conflict=3)
    assert story.job.status is JobStatus.ROLLED_BACK
    with pytest.raises(WrongState, match="nothing to undo"):
        story.undo()


def test_an_unfinished_undo_says_so_and_is_repeated_with_what_is_left() -> None:
    story = Story(chunk_size=3).submit(6).work().undo().put_back(failed=2)
    assert story.job.status is JobStatus.ROLLBACK_INCOMPLETE
    assert story.job.counts == Counts(succeeded=2, rolled_back=4)
    story.collect()
    story.undo().plan()
    (chunk,) = story.job.open
    assert story.standing(chunk) == 2
    story.put_back()
    assert _targets(story) == [1], "the chunk whose undo had failed in part"
    assert story.job.status is JobStatus.ROLLED_BACK
    assert story.job.counts == Counts(rolled_back=6)
    assert story.undo().put_back().job.status is JobStatus.COMPLETED


def test_an_undo_that_fails_again_stays_incomplete() -> None:
    story = Story().submit(3).work().undo().put_back(failed=3).undo().put_back(failed=1)
    assert story.job.status is JobStatus.ROLLBACK_INCOMPLETE
    assert story.job.counts == Counts(succeeded=1, rolled_back=2)


def test_an_unfinished_undo_of_the_undo_goes_on_in_its_direction() -> None:
    story = Story().submit(3).work().undo().put_back().undo().put_back(failed=3)
    assert story.job.status is JobStatus.ROLLBACK_INCOMPLETE
    assert story.job.counts == Counts(rolled_back=3)
    story.collect()
    story.undo()
    (started,) = [event for event in story.collect() if isinstance(event, UndoStarted)]
    assert started.direction is Cause.REAPPLY
    story.put_back()
    assert story.job.status is JobStatus.COMPLETED
    assert story.job.counts == Counts(succeeded=3)


def test_an_undo_that_kills_its_worker_is_cut_and_stays_an_undo() -> None:
    story = Story().submit(5).work().undo().plan()
    (undo,) = story.job.open
    story.record(ClosedChunk(chunk=undo, closing=Closing.DIED, returned=Ranges.span(0, 5)))
    story.plan(room=9)
    (first,) = story.job.open
    assert story.job.open[first].cause is Cause.ROLLBACK
    assert story.job.open[first].target == 0
    assert list(story.job.open[first].items) == [2, 3, 4], "what was done last goes first"
    story.restored(first).plan()
    (second,) = story.job.open
    assert list(story.job.open[second].items) == [0, 1]
    story.restored(second, failed=1)
    assert story.job.status is JobStatus.ROLLBACK_INCOMPLETE
    assert story.job.counts == Counts(succeeded=1, rolled_back=4)


def test_undos_that_give_way_to_the_parts_of_a_killer_are_worked_after_them_in_their_order() -> (
    None
):
    story = Story(chunk_size=2).submit(10).work().undo().plan(room=4)
    killer, *behind = story.job.open
    story.collect()
    story.record(
        *(
            ClosedChunk(chunk=chunk, closing=Closing.REVOKED, returned=_items(story, chunk))
            for chunk in reversed(behind)
        ),
        ClosedChunk(chunk=killer, closing=Closing.DIED, returned=_items(story, killer)),
    )
    for _ in range(2):
        (part,) = story.plan(room=9).job.open
        story.restored(part)
    story.plan(room=9)
    assert len(story.job.open) == 4, "those that gave way are no suspects: they share a message"
    story.put_back()
    assert _targets(story) == [4, 4, 3, 2, 1, 0]
    assert story.job.counts == Counts(rolled_back=10)
    assert story.replayed() == story.job


@pytest.mark.parametrize("rolled_back", [2, 4])
def test_an_undo_must_say_what_became_of_each_item(rolled_back: int) -> None:
    story = Story().submit(3).work().undo().plan()
    (undo,) = story.job.open
    with pytest.raises(RuntimeError, match="what became of each item"):
        story.record(ClosedChunk(chunk=undo, rolled_back=rolled_back))


def test_percent_of_an_undo_is_how_much_of_it_is_settled() -> None:
    story = Story(chunk_size=2).submit(8).work().undo()
    assert story.job.percent == 0.0
    story.plan()
    assert story.job.percent == 0.0
    story.restored(next(iter(story.job.open)))
    assert story.job.percent == 25.0
    story.put_back()
    assert story.job.percent == 100.0


def test_an_undo_of_a_part_leaves_the_rest_to_the_next() -> None:
    story = Story(chunk_size=2).submit(6).work()
    story.undo(Part(target=2, items=Ranges.of([5])), Part(target=0, items=Ranges.of([0])))
    assert story.job.percent == 0.0
    story.put_back()
    assert _targets(story) == [2, 0]
    assert story.job.status is JobStatus.ROLLBACK_INCOMPLETE
    assert story.job.counts == Counts(succeeded=4, rolled_back=2)
    story.undo().put_back()
    assert story.job.counts == Counts(rolled_back=6)
    assert story.job.status is JobStatus.ROLLED_BACK
    assert story.undo().put_back().job.status is JobStatus.COMPLETED
    assert story.replayed() == story.job


def test_a_part_that_is_all_that_stands_ends_as_a_whole_undo() -> None:
    story = Story(chunk_size=2).submit(2).work().undo(Part(target=0, items=Ranges.span(0, 2)))
    assert story.put_back().job.status is JobStatus.ROLLED_BACK


def test_a_forced_undo_says_so_in_its_event() -> None:
    story = Story().submit(2).work().undo(force=True)
    (begun,) = [event for event in story.collect() if isinstance(event, UndoStarted)]
    assert (begun.force, begun.actor, begun.reason) == (True, "ada", "mistake")


@pytest.mark.parametrize("paused", [False, True])
def test_a_cancel_may_put_back_what_was_done(paused: bool) -> None:
    story = Story(chunk_size=2).submit(6).plan().done(0)
    if paused:
        story.pause()
    story.cancel(roll_back=True)
    assert story.job.status is JobStatus.ROLLING_BACK
    assert story.job.counts == Counts(succeeded=2, skipped=4)
    story.put_back()
    assert story.job.status is JobStatus.ROLLED_BACK
    assert story.job.counts == Counts(rolled_back=2, skipped=4)
    assert story.undo().put_back().job.status is JobStatus.CANCELLED
    assert story.replayed() == story.job


def test_a_cancelled_job_that_has_done_nothing_has_nothing_to_put_back() -> None:
    assert Story().submit(2).cancel(roll_back=True).job.status is JobStatus.CANCELLED


def test_a_job_may_put_back_what_it_has_done_when_it_fails() -> None:
    story = Story(chunk_size=2, on_error="roll_back").submit(6).plan().done(0).plan()
    story.done(1, failed=1)
    assert story.job.status is JobStatus.ROLLING_BACK
    assert [event.alias for event in story.collect()][-2:] == ["job.stopped", "job.undo_started"]
    story.put_back()
    assert story.job.counts == Counts(rolled_back=3, failed=1, skipped=2)
    assert story.job.status is JobStatus.ROLLED_BACK
    assert story.undo().put_back().job.status is JobStatus.FAILED


def test_a_rollback_waits_for_what_is_in_flight() -> None:
    story = Story(chunk_size=2, on_error="roll_back").submit(6).plan(room=2).done(0, failed=1)
    assert story.job.status is JobStatus.RUNNING
    assert story.job.limit_hit is not None
    story.done(1)
    assert story.job.status is JobStatus.ROLLING_BACK
    assert story.put_back().job.counts == Counts(rolled_back=3, failed=1, skipped=2)


def test_a_graceful_cancel_waits_for_what_is_in_flight_and_starts_nothing_more() -> None:
    story = Story(chunk_size=2).submit(8).plan(room=2).wind_down()
    assert story.job.status is JobStatus.CANCELLING
    assert not story.job.wants_chunks()
    assert not story.job.resting
    story.done(0)
    assert story.job.status is JobStatus.CANCELLING
    with pytest.raises(WrongState, match="cancel without graceful"):
        story.wind_down()
    story.done(1)
    assert story.job.status is JobStatus.CANCELLED
    assert story.job.counts == Counts(succeeded=4, skipped=4)
    assert story.replayed() == story.job


def test_a_graceful_cancel_drops_what_comes_back_and_may_roll_back() -> None:
    story = Story(chunk_size=2).submit(8).plan(room=2).done(0).wind_down(roll_back=True).died(1)
    assert story.job.status is JobStatus.ROLLING_BACK
    assert story.put_back().job.counts == Counts(rolled_back=2, skipped=6)


def test_a_graceful_cancel_with_nothing_in_flight_is_a_cancel() -> None:
    assert Story().submit(2).wind_down().job.status is JobStatus.CANCELLED


def test_of_an_undo_that_kills_the_last_items_go_first() -> None:
    story = Story().submit(8).work().undo().plan().died(1).plan()
    assert story.job.open[2].items == Ranges.span(4, 8)
    story.died(2).plan()
    assert story.job.open[3].items == Ranges.span(6, 8)
    story.put_back().collect()
    back = [each for each in story.events if isinstance(each, ChunksPlanned)][2:]
    assert [each.chunks[0].items.spans[0] for each in back] == [(4, 8), (6, 8), (4, 6), (0, 4)]
    assert story.job.counts == Counts(rolled_back=8)

    again = story.undo().plan().died(6).plan()
    assert again.job.open[7].items == Ranges.span(0, 2), "forwards, when it is applied again"


def test_parts_of_an_undo_may_have_been_planned_in_the_order_of_an_earlier_release() -> None:
    story = Story().submit(8).work().undo().plan().died(1)
    story.collect()
    low, high = Ranges.span(0, 4), Ranges.span(4, 8)
    for number, part in enumerate((low, high), start=2):
        chunk = PlannedChunk(chunk=number, cause=Cause.ROLLBACK, items=part, parent=1, target=0)
        story.job.apply(_planned(story, chunk))
        assert [entry.items for entry in story.job.backlog] == ([high] if part == low else [])
        story.restored(number)
    assert story.job.counts == Counts(rolled_back=8)


def _planned(story: Story, chunk: PlannedChunk) -> ChunksPlanned:
    """As it was stored."""
    undo = [each for each in story.events if isinstance(each, ChunksPlanned)][-1]
    now = {"originator_version": story.job.version + 1, "counts": story.job.counts}
    return ChunksPlanned(**dict(undo) | {"chunks": (chunk,), **now})


@pytest.mark.parametrize("again", [False, True])
def test_a_cancel_of_what_ends_gracefully_still_puts_back_what_the_first_was_to(
    again: bool,
) -> None:
    story = Story(chunk_size=2).submit(6).plan(room=2).done(0).wind_down(roll_back=True)
    story.job.open.clear()
    assert story.cancel(roll_back=again).put_back().job.status is JobStatus.ROLLED_BACK


def test_a_cancel_that_puts_back_may_follow_one_that_was_not_to() -> None:
    story = Story(chunk_size=2).submit(6).plan(room=2).done(0).wind_down()
    story.job.open.clear()
    assert story.cancel(roll_back=True).put_back().job.status is JobStatus.ROLLED_BACK


def test_percent_of_an_undo_of_a_part_is_of_that_part() -> None:
    story = Story(chunk_size=2).submit(200).work()
    parts = [Part(target=target, items=Ranges.of([2 * target])) for target in (3, 2, 1, 0)]
    story.undo(*parts).plan()
    story.restored(next(iter(story.job.open)))
    assert progress.of_job(story.job, story.stamp.at)["percent"] == 25.0
    story.plan()
    story.restored(next(iter(story.job.open)), failed=1)
    assert progress.of_job(story.job, story.stamp.at)["percent"] == 50.0
