"""Moments: nothing runs before its own, a deadline is said once, and forecasts say their ground."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain import progress
from domain.commands import Adjustment
from domain.contradictions import check_options
from domain.errors import InvalidCommand, WrongState
from domain.events import Cause, JobStatus
from domain.options import JobOptions, Schedule, Start
from domain.ranges import Ranges
from domain.schedule import MAX_AHEAD, Measured, check_moments, rescheduled
from domain.waiting import Hold, Waiting, by_itself
from tests.unit.domain.story import BEGIN, Story, eager


def _at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def test_nothing_is_planned_before_the_start_and_all_of_it_after() -> None:
    story = Story(start_at=_at(100)).submit().plan().wait(50).plan()
    assert (story.job.status, story.job.open) == (JobStatus.PENDING, {})
    assert story.job.wakes_at == _at(100)
    assert story.job.resting, "nobody keeps a job in memory that starts next week"
    story.wait(100).plan()
    assert (story.job.status, story.job.start_at) == (JobStatus.RUNNING, None)
    assert story.replayed() == story.job


def test_the_start_is_moved_and_lifted_until_it_has_come() -> None:
    story = Story(start_at=_at(100)).submit().adjust(start_at=_at(200)).wait(110).plan()
    assert story.job.open == {}
    story.adjust(lift=["start_at"]).plan()
    assert story.job.status is JobStatus.RUNNING
    with pytest.raises(WrongState, match="has started already"):
        story.adjust(start_at=_at(900))
    story.adjust(lift=["start_at"])


def test_a_pause_and_an_approval_may_last_longer_than_the_start_takes() -> None:
    paused = Story(start_at=_at(20)).submit().pause()
    assert paused.job.wakes_at is None
    assert paused.wait(60).resume().job.wakes_at == _at(20)
    grave = Story(start_at=_at(20))
    grave.approval = "large"
    grave.submit().wait(60)
    assert grave.job.status is JobStatus.AWAITING_APPROVAL
    grave.approve().wait(0).plan()
    assert grave.job.status is JobStatus.RUNNING


def test_a_deadline_that_passes_is_said_once_and_the_job_goes_on() -> None:
    story = Story(chunk_size=4, deadline=_at(30)).submit().plan().wait(40).wait(40)
    assert story.job.missed_at is not None
    assert story.job.wakes_at is None
    story.work()
    assert story.job.status is JobStatus.COMPLETED
    assert [event.alias for event in story.collect()].count("job.deadline_passed") == 1


def test_a_deadline_may_stop_the_job_and_what_is_retried_then_is_not_stopped_again() -> None:
    story = Story(chunk_size=4, deadline=_at(30), on_deadline="stop").submit().plan().done(0)
    assert not story.job.expires(_at(29))
    assert story.job.expires(_at(30))
    story.wait(40)
    assert (story.job.status, story.job.counts.succeeded, story.job.counts.skipped) == (
        JobStatus.FAILED,
        4,
        6,
    )
    assert story.job.reason == "deadline: 6 items left"
    story.retry(story.job.dropped - story.job.dropped, story.job.dropped).wait(5).work()
    assert story.job.status is JobStatus.COMPLETED


STOPS: dict[str, Any] = {"chunk_size": 4, "on_deadline": "stop", "on_error": "roll_back"}
"""Of a job whose stop would cost it what has succeeded."""


def _ended_in_time() -> Story:
    """A job of which an item has failed before its deadline."""
    return Story(deadline=_at(30), tolerate=[{"failed": 5}], **STOPS).submit(8).work(failed=1)


def test_what_had_ended_in_time_is_not_stopped_when_it_is_retried_later() -> None:
    story = _ended_in_time().wait(60).retry(Ranges.of([3]))
    assert not story.job.expires(story.stamp.at)
    assert story.job.wakes_at is None
    story.wait(0).pause()
    assert by_itself(story.job, story.stamp.at) == Waiting(
        reason=Hold.PAUSED, text="it is paused (lunch); resume it", since=story.job.updated_at
    )
    story.resume().wait(0).work()
    assert (story.job.status, story.job.counts.succeeded) == (JobStatus.COMPLETED, 8)
    assert "job.deadline_passed" not in [event.alias for event in story.collect()]
    assert story.replayed() == story.job


def test_who_looks_at_a_late_retry_is_told_that_the_deadline_has_passed() -> None:
    story = _ended_in_time()
    before = progress.deadline_of(story.job, _at(20))
    assert before is not None
    assert (before.in_time, before.missed_at) == (True, None)
    story.wait(60).retry(Ranges.of([3]))
    told = progress.deadline_of(story.job, story.stamp.at)
    assert told is not None
    assert (told.in_time, told.warning) == (False, "the deadline has passed")
    assert told.missed_at == story.job.updated_at


def test_a_retry_that_begins_before_the_deadline_keeps_to_it() -> None:
    story = _ended_in_time().retry(Ranges.of([3]))
    assert story.job.wakes_at == _at(30)
    story.wait(60)
    assert story.job.status is JobStatus.ROLLING_BACK
    assert story.put_back().job.status is JobStatus.ROLLED_BACK


def test_a_late_retry_keeps_to_a_deadline_that_is_moved_ahead_of_it() -> None:
    story = _ended_in_time().wait(60).retry(Ranges.of([3])).adjust(deadline=_at(200))
    assert (story.job.missed_at, story.job.wakes_at) == (None, _at(200))
    story.wait(60)
    assert story.job.status is JobStatus.RUNNING
    story.wait(100)
    assert story.job.status is JobStatus.ROLLING_BACK


def test_a_late_retry_that_is_capped_then_is_not_stopped_either() -> None:
    story = _ended_in_time().wait(60).retry(Ranges.of([3])).adjust(rate=10).wait(1)
    assert story.job.status is JobStatus.RUNNING


def test_a_retry_after_another_is_stopped_by_no_deadline_before_both() -> None:
    story = _ended_in_time().wait(60).retry(Ranges.of([3])).wait(0).work(failed=1)
    story.wait(60).retry(Ranges.of([3])).wait(0).work()
    assert story.job.status is JobStatus.COMPLETED


def test_attempts_of_the_jobs_own_are_no_retry_and_keep_to_the_deadline() -> None:
    story = Story(deadline=_at(30), retry={"delay": 100}, **STOPS).submit(4).plan()
    story.failing(0, "busy", retryable=True, chance=0.9).wait(60)
    assert story.job.status is JobStatus.ROLLING_BACK


def test_an_undo_and_its_undo_have_no_deadline() -> None:
    story = _ended_in_time().wait(60).undo().wait(1).put_back()
    assert story.job.status is JobStatus.ROLLED_BACK
    story.undo().wait(1).put_back()
    assert (story.job.status, story.job.missed_at) == (JobStatus.COMPLETED_WITH_ERRORS, None)
    assert story.retry(Ranges.of([3])).wait(0).work().job.status is JobStatus.COMPLETED


def test_a_retry_that_an_earlier_release_has_stopped_is_still_stopped() -> None:
    story = _ended_in_time().wait(60).retry(Ranges.of([3]))
    story.job.missed_at = None
    story.wait(0)
    assert story.collect()[-3].alias == "job.deadline_passed"
    assert story.job.status is JobStatus.ROLLING_BACK
    assert story.replayed() == story.job


def test_what_is_in_flight_must_be_closed_before_the_stop() -> None:
    story = Story(deadline=_at(30), on_deadline="stop").submit().plan()
    with pytest.raises(RuntimeError, match="close the open chunks"):
        story.wait(40)


def test_a_stop_puts_back_what_was_done_where_errors_would() -> None:
    options = {"chunk_size": 4, "on_deadline": "stop", "on_error": "roll_back"}
    story = Story(deadline=_at(30), **options).submit().plan().done(0).wait(40)
    assert story.job.status is JobStatus.ROLLING_BACK
    assert story.put_back().job.status is JobStatus.ROLLED_BACK


def test_another_deadline_counts_anew() -> None:
    story = Story(deadline=_at(30)).submit().plan().wait(40).adjust(deadline=_at(90))
    assert (story.job.missed_at, story.job.wakes_at) == (None, _at(90))
    assert story.adjust(lift=["deadline"]).job.deadline is None


def test_a_forecast_rests_on_what_was_measured_then_on_the_run() -> None:
    story = Story(deadline=_at(60), start_at=_at(20), chunk_size=1)
    story.measured = Measured(items_per_second=0.5, jobs=3, items=900)
    told = progress.deadline_of(story.submit(100).job, _at(10))
    assert told is not None
    assert (told.ends_at, told.in_time) == (_at(220), False)
    assert (
        told.rests_on == "0.5 items a second, measured over 900 items of 3 jobs of this operation"
    )
    assert told.warning is not None
    assert told.warning.startswith("it will end 160 s after its deadline")
    story.wait(30).plan()
    for _ in range(20):
        story.done(max(story.job.open)).plan()
    told = progress.deadline_of(story.job, story.stamp.at)
    assert told is not None
    assert told.rests_on == "its present run"


def test_a_cap_below_the_measure_is_what_the_forecast_rests_on() -> None:
    story = Story(deadline=_at(60), rate=2)
    story.measured = Measured(items_per_second=50, jobs=3, items=900)
    told = progress.deadline_of(story.submit(100).job, _at(5))
    assert told is not None
    assert (told.ends_at, told.rests_on) == (_at(55), "the job's cap of 2 items a second")
    assert (told.in_time, told.warning) == (True, None)


def test_of_a_job_that_is_over_nothing_is_foreseen() -> None:
    job = Story(deadline=_at(30)).submit().pause().wait(60).cancel().job
    told = progress.deadline_of(job, _at(500))
    assert told is not None
    assert (told.ends_at, told.in_time, told.warning) == (job.finished_at, False, None)


def test_nothing_measured_is_no_forecast_and_no_deadline_no_word() -> None:
    told = progress.deadline_of(Story(deadline=_at(60)).submit().job, _at(5))
    assert told is not None
    assert (told.ends_at, told.in_time, told.rests_on, told.warning) == (None, None, None, None)
    assert progress.deadline_of(Story().submit().job, _at(5)) is None


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"start_at": _at(-1)}, "/start_at", "is past; leave it out"),
    ({"deadline": _at(0)}, "/deadline", "is past; say a later one"),
    ({"start_at": datetime.max.replace(tzinfo=UTC)}, "/start_at", "ahead; say an earlier"),
    ({"start_at": _at(9), "deadline": _at(9)}, "/deadline", "not after start_at"),
]


@pytest.mark.parametrize(("moments", "pointer", "text"), REFUSED)
def test_moments_that_cannot_be_are_refused(
    moments: dict[str, Any], pointer: str, text: str
) -> None:
    with pytest.raises(InvalidCommand, match=text) as refused:
        check_moments(Schedule(**moments), BEGIN, "/options")
    assert refused.value.pointer == f"/options{pointer}"
    check_moments(Schedule(start_at=BEGIN + MAX_AHEAD), BEGIN)


def test_moments_without_a_zone_are_no_moments() -> None:
    with pytest.raises(ValueError, match="timezone"):
        JobOptions.model_validate({"start_at": "2027-01-01T10:00:00"})


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"start_at": _at(5), "start": "eager"}, "/options/start_at"),
        ({"on_deadline": "stop"}, "/options/on_deadline"),
        ({"start_at": _at(5), "deadline": _at(4)}, "/options/deadline"),
    ],
)
def test_options_that_contradict_one_another_are_refused(
    options: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(InvalidCommand) as refused:
        check_options(JobOptions.model_validate(options), ())
    assert refused.value.pointer == pointer


def test_a_draft_that_starts_before_its_seal_is_given_no_start_later() -> None:
    with pytest.raises(InvalidCommand) as wanted:
        check_options(JobOptions(start=Start.EAGER, start_at=_at(50)), ())
    draft = eager().open_draft()
    with pytest.raises(InvalidCommand) as refused:
        draft.adjust(start_at=_at(50))
    assert (str(refused.value), refused.value.pointer) == (str(wanted.value), "/start_at")
    assert draft.adjust(rate=5, lift=["start_at"], deadline=_at(90)).job.start_at is None


def test_an_eager_draft_that_an_earlier_release_gave_a_start_may_be_adjusted() -> None:
    draft = eager().open_draft()
    draft.job.start_at = _at(50)
    assert draft.adjust(rate=5).job.caps.rate == 5
    assert draft.adjust(lift=["start_at"]).job.start_at is None


def test_a_sealed_job_that_was_to_start_before_may_wait_as_any_other() -> None:
    story = eager().open_draft().append().seal().adjust(start_at=_at(50)).plan()
    assert (story.job.status, story.job.open) == (JobStatus.PENDING, {})


def test_an_adjustment_keeps_the_order_of_what_it_leaves() -> None:
    schedule = Schedule(start_at=_at(50), deadline=_at(100))
    command = Adjustment(start_at=_at(200))
    with pytest.raises(InvalidCommand, match="not after start_at"):
        rescheduled(schedule, command, BEGIN, begun=False)
    both = Adjustment(start_at=_at(200), lift=("deadline",))
    assert rescheduled(schedule, both, BEGIN, begun=False) == Schedule(start_at=_at(200))


def test_a_retry_waits_for_no_start_and_forgets_it() -> None:
    story = Story(start_at=_at(1000), chunk_size=4).submit().cancel()
    story.retry(Ranges(), story.job.dropped).plan()
    assert (story.job.status, story.job.start_at) == (JobStatus.RUNNING, None)
    assert story.adjust(deadline=_at(500)).job.deadline == _at(500), "it has begun long ago"
    assert story.replayed() == story.job


def test_an_undo_makes_no_job_late_that_has_met_its_deadline() -> None:
    story = Story(deadline=_at(60)).submit().work().wait(100).undo()
    rolling = story.job.as_it_stands()
    back = story.put_back().job.as_it_stands()
    again = story.undo().put_back().job.as_it_stands()
    for job in (rolling, back, again, story.archive().job):
        told = progress.deadline_of(job, _at(500))
        assert told is not None
        assert (told.in_time, told.ends_at, told.warning) == (None, None, None), job.status


@pytest.mark.parametrize("direction", [Cause.ROLLBACK, Cause.REAPPLY])
def test_a_snapshot_of_a_retried_job_that_kept_its_direction_has_its_deadline(
    direction: Cause,
) -> None:
    """As earlier releases have stored it."""
    story = Story(deadline=_at(60), chunk_size=4).submit(8).work(failed=1)
    story.undo().put_back().undo().put_back().retry(Ranges.of([3]))
    measured = Measured(items_per_second=1.0, jobs=3, items=24)
    job = story.job.model_copy(update={"measured": measured})
    told = progress.deadline_of(job, _at(20))
    assert told is not None
    assert told.in_time
    stored = job.model_copy(update={"direction": direction})
    assert progress.deadline_of(stored, _at(20)) == told


def test_a_snapshot_of_a_retried_job_that_has_ended_says_whether_it_was_in_time() -> None:
    story = Story(deadline=_at(60), chunk_size=4).submit(8).work(failed=1)
    story.undo().put_back().undo().put_back().retry(Ranges.of([3])).work()
    stored = story.job.model_copy(update={"direction": Cause.ROLLBACK})
    told = progress.deadline_of(stored, _at(500))
    assert told is not None
    assert (told.in_time, told.ends_at) == (True, story.job.finished_at)


def test_what_is_retried_after_an_undo_and_its_undo_has_its_deadline_again() -> None:
    story = Story(deadline=_at(60), chunk_size=4).submit(8).work(failed=1)
    story.undo().put_back().undo().put_back().retry(Ranges.of([3])).work()
    told = progress.deadline_of(story.job, _at(500))
    assert told is not None
    assert (told.in_time, told.ends_at) == (True, story.job.finished_at)
