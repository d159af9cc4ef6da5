"""Limits: how many failures a job tolerates, and what it does with more."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from domain.commands import Selection, UndoSelection
from domain.contradictions import (
    check_meant,
    check_named,
    check_options,
    check_selection,
    check_undo,
)
from domain.errors import InvalidCommand, WrongState
from domain.events import JobPaused, JobStatus, JobStopped
from domain.options import JobOptions, Limit, RetryPolicy
from domain.ranges import Ranges
from domain.tolerance import Tally
from tests.unit.domain.story import Story


def _limited(*limits: dict[str, object], items: int = 40, **options: object) -> Story:
    return Story(chunk_size=4, tolerate=list(limits), **options).submit(items)


def _counts(story: Story) -> dict[str, int]:
    return story.job.counts.model_dump(exclude_defaults=True)


def _last(story: Story) -> JobPaused | JobStopped:
    story.collect()
    event = story.events[-1]
    assert isinstance(event, JobPaused | JobStopped)
    return event


# -- what is counted ---------------------------------------------------------------------


@pytest.mark.parametrize(("percent", "tolerated"), [(0.57, 57), (0.29, 29), (7, 700), (1e-7, 0)])
def test_a_percentage_is_the_number_that_was_written(percent: float, tolerated: int) -> None:
    limit, tally = Limit(percent=percent), Tally()
    tally.add(limit, settled=tolerated, failed=tolerated)
    assert not tally.exceeds(limit, 10_000)
    tally.add(limit, settled=1, failed=1)
    assert tally.exceeds(limit, 10_000)


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"tolerate": [{"failed": 1, "then": "pause"}]}, "/options/on_error"),
        ({"tolerate": [{"failed": 1}, {"failed": 0, "then": "pause"}]}, None),
        ({"stop_on_error": True}, None),
        ({}, None),
    ],
)
def test_a_job_rolls_back_only_by_a_limit_that_fails_it(
    options: dict[str, object], where: str | None
) -> None:
    asked = JobOptions.model_validate({"on_error": "roll_back", **options})
    if where is None:
        check_options(asked, ())
        assert asked.limits
        return
    with pytest.raises(InvalidCommand) as refused:
        check_options(asked, ())
    assert refused.value.pointer == where


@pytest.mark.parametrize(
    ("select", "force", "reason", "where"),
    [
        ({"items": [1], "chunks": [1]}, False, "", "/items"),
        ({"items": [1], "records": ["labels/1"]}, False, "", "/items"),
        ({}, True, "", "/reason"),
        ({"items": [1]}, True, "  ", "/reason"),
    ],
)
def test_an_undo_chooses_in_one_way_and_says_why_it_is_forced(
    select: dict[str, object], force: bool, reason: str, where: str
) -> None:
    with pytest.raises(InvalidCommand) as refused:
        check_undo(UndoSelection.model_validate(select), force=force, reason=reason)
    assert refused.value.pointer == where


@pytest.mark.parametrize("name", ["labels", "/1", "labels/", "labels/x", "a/b/1", "labels/-1"])
def test_a_record_is_named_by_table_and_id(name: str) -> None:
    with pytest.raises(ValidationError):
        UndoSelection(records=(name,))


def test_as_many_as_are_tolerated_do_nothing_and_one_more_fails_the_job() -> None:
    story = _limited({"failed": 2}).plan().done(0, failed=2).plan()
    assert story.job.status is JobStatus.RUNNING
    story.done(1, failed=1)
    assert story.job.status is JobStatus.FAILED
    assert _counts(story) == {"succeeded": 5, "failed": 3, "skipped": 32}
    event = _last(story)
    assert event.limit == Limit(failed=2)
    assert event.reason == "limit: more than 2 items failed"
    assert story.job.reason == event.reason
    assert story.job.dropped == Ranges.span(8, 40)
    assert story.replayed() == story.job


def test_percent_is_of_all_items_of_the_job() -> None:
    story = _limited({"percent": 10}).plan().done(0, failed=4).plan()
    assert story.job.status is JobStatus.RUNNING, "4 of 40 are 10 %, not more"
    story.done(1, failed=1)
    assert story.job.status is JobStatus.FAILED


def test_a_window_forgets_and_is_not_judged_before_it_is_full() -> None:
    story = _limited({"percent": 50, "window": 8}).plan().done(0, failed=4)
    assert story.job.status is JobStatus.RUNNING
    for chunk, failed in ((1, 0), (2, 3), (3, 1)):
        story.plan().done(chunk, failed=failed)
        assert story.job.status is JobStatus.RUNNING
    story.plan().done(4, failed=4)
    assert story.job.status is JobStatus.FAILED, "5 of the last 8"
    assert _last(story).reason == "limit: more than 50 % of the last 8 failed"


def test_a_count_within_a_window() -> None:
    story = _limited({"failed": 2, "window": 8})
    for chunk, failed in ((0, 2), (1, 0), (2, 2), (3, 0)):
        story.plan().done(chunk, failed=failed)
        assert story.job.status is JobStatus.RUNNING
    story.plan().done(4, failed=3)
    assert story.job.status is JobStatus.FAILED


def test_only_failures_with_the_codes_that_it_names_count() -> None:
    story = _limited({"failed": 0, "codes": ["no_licence"]})
    story.plan().failing(0, "wrong", "wrong").plan().failing(1, "wrong", "no_licence")
    assert story.job.status is JobStatus.FAILED
    assert _last(story).reason == "limit: an item failed with no_licence"
    assert story.replayed() == story.job


def test_the_first_limit_that_is_hit_is_the_one_that_is_said() -> None:
    story = _limited({"failed": 20}, {"failed": 0, "then": "pause"}).plan().done(0, failed=1)
    assert story.job.status is JobStatus.PAUSED
    assert story.job.limit is not None
    assert story.job.limit.failed == 0


def test_what_is_tried_again_does_not_count_before_its_last_attempt() -> None:
    story = _limited({"failed": 0}, items=4, retry={"attempts": 2, "delay": 1})
    story.plan().failing(0, "busy", retryable=True)
    assert story.job.status is JobStatus.RUNNING
    story.wait(60).plan().failing(1, "busy", retryable=True)
    assert story.job.status is JobStatus.FAILED


def test_stop_on_error_is_a_limit_of_none() -> None:
    story = Story(chunk_size=4, stop_on_error=True).submit(40).plan().done(0, failed=1)
    assert (story.job.status, _counts(story)["skipped"]) == (JobStatus.FAILED, 36)
    assert _last(story).reason == "limit: an item failed"


# -- what it does ------------------------------------------------------------------------


def test_open_chunks_must_be_closed_before_the_job_stops() -> None:
    story = _limited({"failed": 0}).plan(room=3).done(1, failed=1)
    assert story.job.status is JobStatus.RUNNING
    assert story.job.limit_hit == Limit(failed=0)
    story.revoked(0).revoked(2, succeeded=1)
    assert story.job.status is JobStatus.FAILED
    assert story.job.limit_hit is None
    assert _counts(story) == {"succeeded": 4, "failed": 1, "skipped": 35}


def test_a_limit_that_pauses_lets_the_operator_go_on() -> None:
    story = _limited({"failed": 1, "then": "pause"}).plan().done(0, failed=2)
    assert story.job.status is JobStatus.PAUSED
    assert _counts(story) == {"pending": 36, "succeeded": 2, "failed": 2}
    epoch = story.job.epoch
    story.resume().plan().done(1, failed=1)
    assert story.job.status is JobStatus.RUNNING, "it counts anew"
    assert story.job.epoch == epoch
    story.plan().done(2, failed=1)
    assert story.job.status is JobStatus.PAUSED


def test_a_pause_by_somebody_does_not_count_anew() -> None:
    story = _limited({"failed": 1}).plan().done(0, failed=1).pause().resume()
    assert story.plan().done(1, failed=1).job.status is JobStatus.FAILED


def test_nothing_is_paused_when_nothing_is_left_to_do() -> None:
    story = _limited({"failed": 1, "then": "pause"}, items=4).plan().done(0, failed=2)
    assert story.job.status is JobStatus.COMPLETED_WITH_ERRORS


def test_a_limit_that_is_hit_by_the_last_chunk_fails_the_job_all_the_same() -> None:
    story = _limited({"failed": 1}, items=4).plan().done(0, failed=2)
    assert story.job.status is JobStatus.FAILED
    assert _counts(story) == {"succeeded": 2, "failed": 2}


def test_what_waits_for_an_attempt_has_failed_when_the_job_stops() -> None:
    story = _limited({"failed": 0, "codes": ["fatal"]}, retry={"codes": {"busy": {}}})
    story.plan().failing(0, "busy", "fatal")
    assert _counts(story) == {"succeeded": 2, "failed": 2, "skipped": 36}
    assert story.job.deferred == []


def test_a_job_that_a_limit_has_failed_can_be_undone_and_done_again() -> None:
    story = _limited({"failed": 0}).plan().done(0, failed=1)
    assert story.undo().put_back().job.status is JobStatus.ROLLED_BACK
    assert story.undo().put_back().job.status is JobStatus.FAILED


def test_a_draft_that_a_limit_has_failed_takes_no_more_items() -> None:
    story = Story(chunk_size=4, start="eager", stop_on_error=True).open_draft().append(8)
    story.plan().done(0, failed=1)
    assert story.job.status is JobStatus.FAILED
    with pytest.raises(WrongState):
        story.append(4, part=1)


# -- retried -----------------------------------------------------------------------------


def test_what_was_left_is_retried_when_it_is_named_through_the_same_limits() -> None:
    story = _limited({"failed": 1}).plan().done(0, failed=2)
    story.retry(Ranges.of([2, 3]), chosen=story.job.dropped)
    assert _counts(story) == {"pending": 36, "succeeded": 2, "failed": 2}
    assert story.job.dropped == Ranges()
    story.plan().done(1, failed=1).plan()
    assert story.job.status is JobStatus.RUNNING, "it counts anew"
    assert story.done(2, failed=1).job.status is JobStatus.FAILED


def test_a_job_of_which_some_are_still_left_does_not_say_that_it_is_complete() -> None:
    story = Story(chunk_size=4).submit(8).plan().done(0).cancel()
    story.retry(Ranges(), chosen=Ranges.of([5])).work()
    assert _counts(story) == {"succeeded": 5, "skipped": 3}
    assert story.job.status is JobStatus.COMPLETED_WITH_ERRORS
    story.retry(Ranges(), chosen=story.job.dropped).work()
    assert story.job.status is JobStatus.COMPLETED


def test_an_item_that_neither_failed_nor_was_left_is_not_retried() -> None:
    story = _limited({"failed": 1}).plan().done(0, failed=2)
    with pytest.raises(WrongState, match="item 1 has neither failed"):
        story.retry(Ranges.of([2, 3]), chosen=Ranges.of([1, 2, 9]))
    with pytest.raises(WrongState, match="item 77 has neither"):
        story.retry(Ranges.of([2, 3]), chosen=Ranges.of([77]))


# -- contradictions ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"retry": {"attempts": 1}}, "/options/retry/attempts"),
        ({"retry": {"delay": 10, "cap": 1}}, "/options/retry/cap"),
        ({"retry": {"codes": {"busy": {"delay": 99}}}}, "/options/retry/codes/busy/cap"),
        ({"tolerate": [{}]}, "/options/tolerate/0"),
        ({"tolerate": [{"failed": 1}, {"failed": 1, "percent": 1}]}, "/options/tolerate/1"),
        ({"tolerate": [{"failed": 10, "window": 10}]}, "/options/tolerate/0"),
        ({"tolerate": [{"percent": 100}]}, "/options/tolerate/0"),
        ({"tolerate": [{"failed": 1}], "stop_on_error": True}, "/options/stop_on_error"),
        ({"retry": {"codes": {"bsuy": {}}}}, "/options"),
        ({"tolerate": [{"failed": 1, "codes": ["bsuy"]}]}, "/options"),
        ({"atomic": True, "dry_run": True}, "/options/atomic"),
        ({"atomic": True, "on_error": "roll_back"}, "/options/atomic"),
        (
            {"atomic": True, "plan": {"job_id": "dry", "digest": "9f" * 32}},
            "/options/atomic",
        ),
    ],
)
def test_options_that_contradict_one_another_are_refused(
    options: dict[str, object], pointer: str
) -> None:
    with pytest.raises(InvalidCommand) as refused:
        check_options(JobOptions.model_validate(options), {"busy"})
    assert refused.value.pointer == pointer


def test_any_code_may_be_named_where_the_operation_says_none() -> None:
    options = JobOptions(retry=RetryPolicy(codes={"whatever": RetryPolicy()}))
    check_options(options, ())
    check_options(JobOptions(tolerate=(Limit(failed=0, codes=("worker_died",)),)), {"busy"})


@pytest.mark.parametrize("model", [Selection, UndoSelection])
def test_a_list_that_names_nothing_is_not_all(model: type[Selection | UndoSelection]) -> None:
    check_meant(model())
    check_named(model())
    check_named(model(items=(1,)))
    for check in (check_named, check_meant):
        with pytest.raises(InvalidCommand, match="items names nothing; name some") as refused:
            check(model(items=()))
        assert refused.value.pointer == "/items"


def test_a_patch_of_nothing_named_is_not_one_of_all() -> None:
    with pytest.raises(InvalidCommand, match="items names nothing"):
        check_named(Selection(items=(), patch={"a": 1}))


def test_items_are_chosen_in_one_way() -> None:
    check_selection(Selection(codes=("busy",), signatures=("it is …",)))
    for chosen in ({"items": (1,), "unattempted": True}, {"items": (1,), "codes": ("busy",)}):
        with pytest.raises(InvalidCommand, match="four ways"):
            check_selection(Selection.model_validate(chosen))
