"""Who may let a job start, and who may not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from domain.approval import ApprovalPolicy
from domain.errors import InvalidCommand, OwnJob, WrongState
from domain.events import JobApproved, JobRejected, JobStatus
from domain.operation import operation
from domain.options import JobOptions, Start
from domain.ranges import Ranges
from tests.engine.stock import Number
from tests.unit.domain.story import Story


@operation("shop.drop", item=Number, destructive=True)
def drop(_ctx: object, _item: Number) -> None:
    """Destroy something."""


@operation("shop.keep", item=Number)
def keep(_ctx: object, _item: Number) -> None:
    """Destroy nothing."""


def _grave() -> Story:
    story = Story(chunk_size=4)
    story.approval = "more than 3 items"
    return story


def test_a_second_identity_lets_it_start_and_is_named() -> None:
    story = _grave().submit(4)
    assert story.job.status is JobStatus.AWAITING_APPROVAL
    assert story.job.reason == "awaits approval: more than 3 items"
    assert story.plan().job.open == {}
    story.approve("grace")
    (approved,) = [e for e in story.collect() if isinstance(e, JobApproved)]
    assert (approved.actor, approved.reason, approved.status) == ("grace", "seen", "pending")
    assert story.work().job.status is JobStatus.COMPLETED
    assert story.replayed() == story.job


def test_a_rejected_job_ends_with_its_items_skipped() -> None:
    story = _grave().submit(4).reject("grace")
    job = story.job
    assert (job.status, job.counts.skipped, len(job.dropped)) == (JobStatus.REJECTED, 4, 4)
    assert job.reason == "the wrong list"
    assert isinstance(story.collect()[-1], JobRejected)
    assert job.possible() == ["archive", "hold", "shred"]
    assert story.replayed() == job


@pytest.mark.parametrize("sealed", [True, False])
def test_what_was_cancelled_before_anybody_agreed_is_not_retried_into_effect(sealed: bool) -> None:
    story = _grave().submit(4) if sealed else _grave().open_draft()
    if not sealed:
        story.job.append(story.stamp, part=0, items=4, size=80, sha256="p0")
    story.cancel()
    assert story.job.possible() == ["archive", "hold", "shred", "undo"]
    with pytest.raises(WrongState, match="before it was sealed or approved"):
        story.retry(Ranges(), Ranges.span(0, 2))
    assert story.replayed() == story.job


def test_what_was_approved_and_cancelled_before_it_began_may_be_retried() -> None:
    story = _grave().submit(4).approve("grace").cancel().retry(Ranges(), Ranges.span(0, 2))
    assert story.work().job.counts.succeeded == 2


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_nobody_who_had_a_hand_in_it_decides(verb: str) -> None:
    story = _grave().open_draft()
    job = story.job
    job.append(replace(story.stamp, actor="bob"), part=0, items=4, size=80, sha256="p0")
    job.seal(replace(story.stamp, actor="carl"), 4, "more than 3 items")
    for actor in ("ada", "bob", "carl"):
        with pytest.raises(OwnJob, match=f"{actor} has submitted the job and cannot {verb} it"):
            getattr(story, verb)(actor)
    getattr(story, verb)("grace")
    assert job.status in (JobStatus.PENDING, JobStatus.REJECTED)


def test_what_needs_approval_is_said_by_size_and_by_operation() -> None:
    policy, plain, dry = ApprovalPolicy(10), JobOptions(), JobOptions(dry_run=True)
    assert policy.needed(keep, plain, 10) == ""
    assert policy.needed(keep, plain, 11) == "more than 10 items"
    assert policy.needed(drop, plain, 1) == "shop.drop is destructive"
    assert policy.needed(drop, dry, 11) == ""
    assert ApprovalPolicy().needed(drop, plain, 1000) == ""


def test_a_draft_that_would_run_before_it_is_refused() -> None:
    policy, eager = ApprovalPolicy(10), JobOptions(start=Start.EAGER)
    policy.check_eager(keep, eager, 10)
    policy.check_eager(drop, JobOptions(), 1)
    for kind, items in ((drop, 0), (keep, 11)):
        with pytest.raises(InvalidCommand, match="open it without start: eager"):
            policy.check_eager(kind, eager, items)
