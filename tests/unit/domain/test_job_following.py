"""Jobs behind others: what starts them, what skips them, and what is said of it."""

from __future__ import annotations

import pytest

from domain.contradictions import check_fed, check_options
from domain.dependencies import SUITABLE
from domain.errors import InvalidCommand, WrongState
from domain.events import JobSkipped, JobStatus
from domain.options import Ending, JobOptions
from domain.ranges import Ranges
from tests.unit.domain.story import Story

TERMINAL = [status for status in JobStatus if status.terminal]


def _behind(*ends: str) -> Story:
    after = [{"job_id": f"job-{n}", "end": end} for n, end in enumerate(ends)]
    return Story(after=after).submit(4)


@pytest.mark.parametrize("ending", Ending)
@pytest.mark.parametrize("status", TERMINAL)
def test_an_end_starts_or_skips(ending: Ending, status: JobStatus) -> None:
    story = _behind(ending.value).heed(job_0=status.value)
    suits = status in SUITABLE[ending]
    assert story.job.status is (JobStatus.PENDING if suits else JobStatus.CANCELLED)
    assert story.job.wants_chunks() is suits
    assert story.job.awaited == ()
    assert story.replayed() == story.job


def test_nothing_is_planned_before_all_have_ended() -> None:
    story = _behind("succeeded", "any")
    assert story.plan().job.open == {}
    assert story.job.resting
    assert story.heed(job_0="completed").plan().job.open == {}
    story.heed(job_0="completed", job_1="failed").work()
    assert story.job.status is JobStatus.COMPLETED


def test_one_bad_end_is_enough_and_is_named() -> None:
    story = _behind("any", "partly").heed(job_1="failed")
    skipped = story.collect()[-1]
    assert isinstance(skipped, JobSkipped)
    assert (skipped.needs, skipped.ended) == ("job-1", JobStatus.FAILED)
    assert story.job.skipped == "job job-1, which was to succeed at least in part before, is failed"
    assert story.job.counts.skipped == 4
    assert story.job.dropped == Ranges.span(0, 4)


def test_who_was_let_start_does_not_look_back() -> None:
    story = _behind("succeeded").heed(job_0="completed").heed(job_0="rolled_back")
    assert story.job.status is JobStatus.PENDING
    assert story.work().job.status is JobStatus.COMPLETED


def test_a_paused_job_is_judged_when_it_goes_on() -> None:
    story = _behind("succeeded").pause().heed(job_0="failed")
    assert story.job.status is JobStatus.PAUSED
    assert story.resume().heed(job_0="failed").job.status is JobStatus.CANCELLED


def test_what_was_skipped_can_be_done_all_the_same() -> None:
    story = _behind("succeeded").heed(job_0="failed")
    story.retry(Ranges(), Ranges.of([0, 2])).work()
    assert story.job.counts.succeeded == 2
    assert story.job.status is JobStatus.COMPLETED_WITH_ERRORS
    assert story.job.skipped, "the others still have their reason"


def test_only_who_waits_is_skipped() -> None:
    story = Story().submit(4)
    with pytest.raises(RuntimeError, match="only a job that waits"):
        story.job.skip(story.stamp, "job-0", JobStatus.FAILED, "no")


def test_a_caller_adds_nothing_to_what_is_taken_from_another_job() -> None:
    story = Story(after=[{"job_id": "job-0", "consume": {"id": "id"}}]).open_draft()
    for step in (story.append, story.seal):
        with pytest.raises(WrongState, match="possible: adjust, cancel"):
            step()
    story.feed(3).feed(2, part=4).seal_fed().heed(job_0="completed").work()
    assert story.job.counts.succeeded == 5


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"after": [{"job_id": "a"}], "start": "eager"}, "/options/start"),
        ({"after": [{"job_id": "a"}, {"job_id": "a", "end": "any"}]}, "/options/after/1/job_id"),
        (
            {"after": [{"job_id": name, "consume": {"id": "id"}} for name in "ab"]},
            "/options/after",
        ),
    ],
)
def test_contradictions_are_refused_where_they_stand(
    options: dict[str, object], pointer: str
) -> None:
    with pytest.raises(InvalidCommand) as refused:
        check_options(JobOptions.model_validate(options), ())
    assert refused.value.pointer == pointer


def test_items_are_either_brought_or_taken() -> None:
    check_fed(JobOptions())
    fed = JobOptions.model_validate({"after": [{"job_id": "a", "consume": {"id": "id"}}]})
    with pytest.raises(InvalidCommand, match="results of job a"):
        check_fed(fed)
