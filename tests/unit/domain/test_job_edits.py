"""Drafts that are edited: until they begin, and for good."""

from __future__ import annotations

import pytest

from domain.commands import Editing
from domain.contradictions import check_editing
from domain.editing import Edited
from domain.errors import InvalidCommand, WrongState
from domain.events import JobStatus
from domain.outcomes import Counts
from domain.ranges import Ranges
from tests.unit.domain.story import Story, eager

BODY = Edited(edition=1, items=Ranges.of([5]), lines=2, size=30, sha256="e1")


def _draft(items: int = 8, **options: object) -> Story:
    return Story(**options).open_draft().append(items)


def test_what_is_dropped_is_skipped_and_the_others_are_worked() -> None:
    story = _draft().edit(0, 3, edited=BODY)
    assert story.job.counts == Counts(pending=6, skipped=2)
    assert story.job.edits == 1
    story.append(2, part=1).seal(10).work()
    assert (story.job.status, story.job.counts) == (
        JobStatus.COMPLETED,
        Counts(succeeded=8, skipped=2),
    )
    assert story.replayed() == story.job


def test_nobody_edits_what_is_not_there_or_is_dropped() -> None:
    story = _draft()
    for position in (8, 99):
        with pytest.raises(InvalidCommand, match=f"has no item {position} that is to be worked"):
            story.edit(position)
    with pytest.raises(InvalidCommand, match="no item 2"):
        story.edit(2).edit(2)


def test_a_draft_without_items_to_work_is_not_sealed() -> None:
    with pytest.raises(InvalidCommand, match="all items of the draft were dropped"):
        _draft(2).edit(0, 1).seal()


def test_only_drafts_that_have_not_begun_are_edited() -> None:
    with pytest.raises(WrongState, match="edit is not possible"):
        _draft().seal().edit(0)
    with pytest.raises(WrongState, match="edit is not possible"):
        eager(chunk_size=4).open_draft().append(8).plan().edit(7)
    with pytest.raises(InvalidCommand, match="a dry run is of what was sent"):
        _draft(dry_run=True).edit(0)


def test_what_was_dropped_is_not_retried() -> None:
    story = _draft().edit(0).seal().cancel()
    with pytest.raises(WrongState, match="item 0 has neither failed"):
        story.retry(Ranges(), Ranges.of([0]))
    story.retry(Ranges(), story.job.dropped).work()
    assert story.job.counts == Counts(succeeded=7, skipped=1)


@pytest.mark.parametrize(
    ("editing", "pointer"),
    [
        ({}, "/edits"),
        ({"edits": [{"item": 1, "body": 1}, {"item": 1, "body": 2}]}, "/edits"),
        ({"edits": [{"item": 1, "body": 1}], "drop": [1]}, "/drop"),
    ],
)
def test_edits_that_contradict_one_another_are_refused(
    editing: dict[str, object], pointer: str
) -> None:
    with pytest.raises(InvalidCommand) as refused:
        check_editing(Editing.model_validate(editing))
    assert refused.value.pointer == pointer
