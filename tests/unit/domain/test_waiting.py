"""Waiting: each cause is named, and a job that is worked waits for nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from domain.events import JobStatus
from domain.job import Job
from domain.waiting import Ahead, Hold, Surroundings, Waiting, by_itself, waiting
from tests.unit.domain.story import BEGIN, Story

CALM = Surroundings()
BUSY = Surroundings(ahead=(Ahead("job-2", "local", 3), Ahead("job-3", "other", 1)))
SLOW = Surroundings(slow=True)


def _told(job: Job, around: Surroundings = CALM, seconds: float = 60) -> Waiting | None:
    return waiting(job, BEGIN + timedelta(seconds=seconds), around)


def _backing_off() -> Story:
    story = Story(chunk_size=4, retry={"delay": 100}).submit(4).plan()
    return story.failing(0, "busy", retryable=True, chance=0.5)


def _with_deadline(**options: object) -> Story:
    said = {"deadline": BEGIN + timedelta(seconds=30), "on_deadline": "stop"}
    return Story(**(said | options))


def _to_approve(**options: object) -> Story:
    story = Story(**options)
    story.approval = "awaits approval: more than 5 items"
    return story


CASES: dict[Hold, tuple[Callable[[], Story], Surroundings, str]] = {
    Hold.ITEMS: (lambda: Story().open_draft(), CALM, "its items follow, until it is sealed"),
    Hold.SCHEDULED: (
        lambda: Story(start_at=BEGIN + timedelta(days=1)).submit(),
        CALM,
        "it starts at 2026-01-02T00:00:00+00:00; lift start_at to start it now",
    ),
    Hold.PAUSED: (lambda: Story().submit().pause(), CALM, "it is paused (lunch); resume it"),
    Hold.DEADLINE: (
        lambda: _with_deadline().submit().pause(),
        CALM,
        "it is paused, and its deadline passed at 2026-01-01T00:00:30+00:00: it fails as soon",
    ),
    Hold.APPROVAL: (lambda: _to_approve().submit(), CALM, "somebody else must approve it"),
    Hold.DEPENDENCY: (
        lambda: Story(after=[{"job_id": "job-0", "end": "partly"}]).submit(),
        Surroundings(going_on=frozenset({"job-0"}), slots=0),
        "it waits for job job-0 to succeed at least in part",
    ),
    Hold.BROKER: (
        lambda: Story().submit(),
        Surroundings(broker_away="no answer"),
        "the broker is away: no answer",
    ),
    Hold.NO_WORKER: (
        lambda: Story().submit().plan(),
        Surroundings(slots=0),
        "no worker for shop is alive; start one",
    ),
    Hold.MEMORY: (
        lambda: Story().submit().plan(),
        Surroundings(memory="here 512 of 400 MiB"),
        "the workers for shop take no more until they have less memory (here 512 of 400 MiB)",
    ),
    Hold.BACKOFF: (_backing_off, CALM, "1 failed items are tried again, the first in"),
    Hold.RATE: (
        lambda: Story(rate=0.01).submit().plan(),
        CALM,
        "it is held to 0.01 items a second",
    ),
    Hold.CONCURRENCY: (
        lambda: Story(concurrency=1, chunk_size=2).submit().plan(),
        CALM,
        "at most 1 chunks are worked at once",
    ),
    Hold.LIMIT: (
        lambda: Story(rate=1000).submit(),
        Surroundings(limit="provider openai is held to 10 items a second, over all jobs"),
        "provider openai is held to 10 items a second",
    ),
    Hold.BEHIND: (
        lambda: Story().submit(),
        BUSY,
        "the workers have chunks of job job-2, 1 of other tenants",
    ),
}


@pytest.mark.parametrize("hold", CASES)
def test_each_cause_is_named(hold: Hold) -> None:
    make, around, text = CASES[hold]
    told = _told(make().job, around)
    assert told is not None
    assert told.reason is hold
    assert told.text.startswith(text)


def test_every_cause_has_a_case() -> None:
    assert set(CASES) == set(Hold)


LEFT: dict[str, Callable[[], Story]] = {
    "paused": lambda: _with_deadline().submit().pause(),
    "draft": lambda: _with_deadline().open_draft().append(),
    "awaiting_approval": lambda: _to_approve(**LATE).submit(),
}
LATE = {"deadline": BEGIN + timedelta(seconds=30), "on_deadline": "stop"}
ON: dict[str, Callable[[Story], Story]] = {
    "paused": lambda story: story.resume(),
    "draft": lambda story: story.seal(),
    "awaiting_approval": lambda story: story.approve(),
}


@pytest.mark.parametrize("status", LEFT)
def test_what_is_left_beyond_its_deadline_says_so_and_then_fails(status: str) -> None:
    """Until then it says what it waits for; what it says of its end is so."""
    story = LEFT[status]()
    assert story.job.status == status
    before, beyond = _told(story.job, seconds=20), _told(story.job, seconds=40)
    assert before is not None
    assert before.reason is not Hold.DEADLINE
    assert beyond is not None
    assert (beyond.reason, beyond.since) == (Hold.DEADLINE, BEGIN + timedelta(seconds=30))
    story.wait(60)
    assert story.job.status == status, "nobody heeds the deadline of what nobody works on"
    ON[status](story)
    story.job.release(story.stamp)
    assert story.job.status is JobStatus.FAILED


def test_a_deadline_that_only_warns_or_was_lifted_keeps_nothing_waiting() -> None:
    warns = Story(deadline=BEGIN + timedelta(seconds=30)).submit().pause()
    lifted = _with_deadline().submit().pause()
    lifted.adjust(lift=["deadline"])
    for story in (warns, lifted):
        told = _told(story.job)
        assert told is not None
        assert told.reason is Hold.PAUSED


def test_a_job_that_is_worked_or_at_rest_waits_for_nothing() -> None:
    assert _told(Story().submit().plan().job, BUSY) is None
    assert _told(Story().submit().work().job, Surroundings(slots=0)) is None
    assert _told(Story(rate=1000).submit().plan().job) is None
    assert by_itself(Story().job, BEGIN) is None


def test_slow_items_are_counted_as_items() -> None:
    told = _told(Story(concurrency=3).submit().plan(slow=True, room=3).job, SLOW)
    assert told is not None
    assert told.text == "at most 3 items are worked at once"


def test_an_operation_that_is_gone_is_named() -> None:
    told = _told(Story().submit().job, Surroundings(slow=None))
    assert told is not None
    assert "no process here has shop.reprice" in told.text


def test_since_is_when_the_caps_were_set() -> None:
    story = Story(chunk_size=2).submit().plan().wait(30).adjust(concurrency=1)
    adjusted_at = story.job.updated_at
    story.done(0).plan()
    told = _told(story.job)
    assert told is not None
    assert told.since == adjusted_at
