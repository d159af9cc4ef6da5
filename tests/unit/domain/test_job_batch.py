"""Batches: what they become as their children go on, and where the document draws it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from domain import progress
from domain.errors import CommandRefused, InvalidCommand, WrongState
from domain.events import JobStatus
from domain.outcomes import Counts
from domain.steps import Step, behind, check_steps, in_order, to_undo
from domain.views import listed, summary_after
from tests.unit.domain.drawing import drawn_edges, edges_of
from tests.unit.domain.family import STATUSES, STEPS, Batch

DONE = ("done", "done", "done")
SPECIMENS: dict[str, Callable[[], Batch]] = {
    "pending": Batch,
    "running": lambda: Batch().hear("runs"),
    "paused": lambda: _told(Batch().hear("runs"), "pause").hear("paused", "paused", "paused"),
    "paused before the start": lambda: _told(Batch(), "pause"),
    "cancelling": lambda: Batch().hear("done", "runs").stop(),
    "cancelled": lambda: Batch().hear("done").stop().hear("done", "skipped", "skipped"),
    "completed": lambda: Batch().hear(*DONE),
    "completed_with_errors": lambda: Batch().hear("done", "failed", "skipped"),
    "failed": lambda: Batch().hear("failed", "skipped", "skipped"),
    "rolling_back": lambda: Batch().hear(*DONE).undo_steps(),
    "rolled_back": lambda: _back("back", "back", "back"),
    "rollback_incomplete": lambda: _back("done", "done", "stuck"),
    "archived": lambda: _told(Batch().hear(*DONE), "archive"),
}
STEPS_OF: dict[str, Callable[[Batch], object]] = {
    **{
        how: lambda batch, how=how: batch.hear(how, "done", "done")  # type: ignore[misc]
        for how in STATUSES
    },
    "all fail": lambda batch: batch.hear("failed", "skipped", "skipped"),
    "all fail otherwise": lambda batch: batch.hear("stopped", "skipped", "skipped"),
    "all are put back but one": lambda batch: batch.hear("back but one", "back", "back"),
    "all are put back": lambda batch: batch.hear("back", "back", "back"),
    "pause": lambda batch: batch.pause(),
    "resume": lambda batch: batch.resume(),
    "cancel": lambda batch: batch.stop(),
    "undo": lambda batch: batch.undo_steps(),
    "archive": lambda batch: batch.archive(),
    "empty": lambda batch: batch.empty() if batch.job.awaits_file else batch,
    "end": lambda batch: batch.end_undo() if batch.job.status is JobStatus.ROLLING_BACK else batch,
    "end incomplete": lambda batch: (
        batch.hear("done", "done", "stuck").end_undo()
        if batch.job.status is JobStatus.ROLLING_BACK
        else batch
    ),
    "end well": lambda batch: (
        batch.hear("back", "back", "back").end_undo()
        if batch.job.status is JobStatus.ROLLING_BACK
        else batch
    ),
}


def _told(batch: Batch, verb: str) -> Batch:
    getattr(batch, verb)()
    return batch


def _back(*hows: str) -> Batch:
    return Batch().hear(*DONE).undo_steps().hear(*hows).end_undo()


def test_the_document_draws_what_a_batch_does() -> None:
    done = set()
    for make in SPECIMENS.values():
        done |= set(edges_of(None, make().collect()))
        for step in STEPS_OF.values():
            batch = make()
            batch.collect()
            before = batch.job.status
            with contextlib.suppress(CommandRefused):
                step(batch)
            done |= set(edges_of(before, batch.collect()))
    assert done == drawn_edges(1)


@pytest.mark.parametrize("name", SPECIMENS)
def test_a_specimen_is_what_it_is_called_and_is_read_as_it_was_stored(name: str) -> None:
    batch = SPECIMENS[name]()
    assert batch.job.status.value == name.partition(" ")[0]
    assert batch.replayed() == batch.job
    assert batch.job.resting
    total = sum(child.counts.total for child in batch.job.children)
    assert batch.job.counts.total == total


def test_the_counts_are_the_sum_of_all() -> None:
    batch = Batch().hear("done", "runs", "failed")
    assert batch.job.counts == Counts(pending=1, succeeded=3, failed=2)


def test_who_tells_nothing_new_is_not_recorded() -> None:
    batch = Batch().hear("runs")
    batch.collect()
    assert batch.hear("runs").collect() == []


def test_an_undo_begins_behind_and_goes_forward_as_those_behind_are_done() -> None:
    batch = Batch().hear(*DONE).undo_steps()
    assert batch.job.next_to_undo() == [2]
    assert batch.hear("done", "done", "rolling").job.next_to_undo() == []
    assert batch.hear("done", "done", "back").job.next_to_undo() == [1]
    batch.hear("done", "rolling", "back").hear("done", "back", "back")
    assert batch.job.next_to_undo() == [0]
    assert batch.end_undo().job.status is JobStatus.ROLLBACK_INCOMPLETE, "the first one stands"


def test_an_undo_ends_when_a_job_that_was_retried_meanwhile_has() -> None:
    batch = Batch().hear("done", "failed", "skipped").undo_steps().hear("back", "runs", "skipped")
    assert batch.end_undo().job.status is JobStatus.ROLLING_BACK
    assert batch.hear("back", "failed").end_undo().job.status is JobStatus.ROLLED_BACK


def test_what_is_stuck_keeps_what_is_before_it() -> None:
    batch = Batch().hear(*DONE).undo_steps().hear("done", "done", "rolling")
    assert batch.hear("done", "done", "stuck").job.next_to_undo() == []
    assert batch.end_undo().job.status is JobStatus.ROLLBACK_INCOMPLETE
    assert batch.undo_steps().job.next_to_undo() == [2]


def test_an_undo_waits_for_what_is_being_put_back() -> None:
    batch = Batch().hear(*DONE).undo_steps().hear("done", "done", "rolling").end_undo()
    assert batch.job.status is JobStatus.ROLLING_BACK


def test_nothing_standing_is_not_undone() -> None:
    batch = Batch().hear("done", "failed", "skipped")
    with pytest.raises(WrongState, match="nothing to undo"):
        batch.undo_steps(savepoint="loaded")
    assert batch.undo_steps(branch="load").job.undoing == [0]


def test_steps_have_an_order() -> None:
    steps = (
        Step(name="c", operation="x.y", after=("b", "a")),
        Step(name="b", operation="x.y", after=("a",)),
        Step(name="a", operation="x.y", savepoint="start"),
        Step(name="d", operation="x.y"),
    )
    check_steps(steps)
    order = in_order(steps)
    assert sorted(order) == [0, 1, 2, 3]
    assert order.index(2) < order.index(1) < order.index(0)
    assert behind(steps, [2]) == {0, 1}
    assert behind(steps, [1]) == {0}
    assert to_undo(steps, "start", "") == {0, 1}
    assert to_undo(steps, "", "b") == {0, 1}
    assert to_undo(steps, "", "") == {0, 1, 2, 3}


@pytest.mark.parametrize(("savepoint", "branch"), [("gone", ""), ("", "gone")])
def test_what_is_not_there_is_refused_with_what_is(savepoint: str, branch: str) -> None:
    known = "loaded" if savepoint else "load, price, tell"
    with pytest.raises(InvalidCommand, match=f"there are: {known}"):
        to_undo(STEPS, savepoint, branch)


def test_a_circle_is_named() -> None:
    steps = [Step(name=n, operation="x.y", after=(before,)) for n, before in ("ab", "bc", "ca")]
    with pytest.raises(InvalidCommand) as refused:
        check_steps(steps)
    circle = refused.value.message.partition(": ")[2].partition(";")[0].split(" -> ")
    assert circle[0] == circle[-1]
    assert set(circle) == {"a", "b", "c"}
    for name, before in itertools.pairwise(circle):
        assert next(step for step in steps if step.name == name).after == (before,)


@pytest.mark.parametrize(
    ("after", "pointer", "words"),
    [
        (["a", "b", "a"], "/steps/2/after/2", "step 'a' is named twice"),
        (
            [{"step": "a", "consume": {"id": "id"}}, {"step": "b", "consume": {"id": "id"}}],
            "/steps/2/after/1/consume",
            "this one from 'a' already",
        ),
    ],
)
def test_steps_that_a_step_comes_after_are_refused_as_the_caller_named_them(
    after: list[Any], pointer: str, words: str
) -> None:
    last = Step.model_validate({"name": "c", "operation": "x.y", "after": after})
    steps = [Step(name="a", operation="x.y"), Step(name="b", operation="x.y"), last]
    with pytest.raises(InvalidCommand, match=words) as refused:
        check_steps(steps)
    assert refused.value.pointer == pointer


def test_a_step_that_only_reads_keeps_no_other_from_being_put_back() -> None:
    reading = frozenset({2})
    batch = Batch().hear(*DONE)
    assert batch.job.standing(reading) == {0, 1}
    batch.undo_steps(reading=reading)
    assert batch.job.undoing == [0, 1]
    assert batch.job.next_to_undo(reading) == [1]
    batch.hear("back", "back", "done").end_undo(reading=reading)
    assert batch.job.status is JobStatus.ROLLED_BACK


def test_a_second_cancel_does_not_take_back_that_the_first_one_rolls_back() -> None:
    batch = Batch().hear("done", "runs").stop(roll_back=True)
    assert batch.stop().job.roll_back
    assert Batch().hear("done", "runs").stop().stop(roll_back=True).job.roll_back


def test_percent_of_an_undo_is_that_of_its_jobs_in_lists_as_well() -> None:
    batch = Batch().hear(*DONE).undo_steps()
    assert progress.of_job(batch.job, batch.stamp.at)["percent"] == 0.0
    batch.hear("done", "done", "back")
    assert progress.of_job(batch.job, batch.stamp.at)["percent"] == 33.33
    assert progress.of_event(batch.collect()[-1])["percent"] == 33.33


@pytest.mark.parametrize(
    ("savepoint", "reading"), [("", frozenset({0})), ("loaded", frozenset[int]())]
)
def test_percent_of_an_undo_is_of_the_steps_that_are_put_back(
    savepoint: str, reading: frozenset[int]
) -> None:
    batch = Batch().hear(*DONE).undo_steps(savepoint, reading=reading)
    percents = []
    for hows in (
        ("done", "done", "rolling"),
        ("done", "done", "stuck"),
        ("done", "done", "back"),
        ("done", "back", "back"),
    ):
        batch.hear(*hows)
        percents.append(progress.of_job(batch.job, batch.stamp.at)["percent"])
    assert percents == [0.0, 25.0, 50.0, 100.0]
    summary = None
    shown = []
    for event in batch.collect():
        summary = summary_after(summary, event)
        shown.append(listed(summary.model_dump())["percent"])
    assert shown[-4:] == percents
