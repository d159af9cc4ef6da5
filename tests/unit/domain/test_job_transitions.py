"""Every status and every verb: refused as POSSIBLE says, or led where the document draws it."""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import get_args

import pytest

from domain.errors import CommandRefused, WrongState
from domain.events import EVENTS, JobStatus
from domain.options import MAX_CHUNK
from domain.portions import MAX_SPANS
from domain.ranges import Ranges
from domain.reversal import Part
from domain.verbs import AT_REST, NEEDS_ITEMS, POSSIBLE, Verb
from tests.unit.domain.drawing import LABELS, START, drawn_edges, edges_of
from tests.unit.domain.story import BEGIN, Story, eager
from tests.unit.domain.test_portions import every_other, worked


def _failed_items(story: Story) -> Ranges:
    """The stories below fail the last items of chunk 0, which has four."""
    return Ranges.span(4 - story.job.counts.failed, 4)


def _job(items: int = 10) -> Story:
    return Story(chunk_size=4).submit(items)


def _draft(items: int = 4) -> Story:
    return eager(chunk_size=4).open_draft().append(items)


def _undone(failed: int = 0, *, undo_failed: int = 0) -> Story:
    return _job(8).work(failed=failed).undo().put_back(failed=undo_failed)


def _patient() -> Story:
    """Its failed items are tried again."""
    return Story(chunk_size=4, retry={"delay": 10}).submit(10).plan()


def _grave(*, draft: bool = False) -> Story:
    """A second identity must approve it."""
    story = Story(chunk_size=4)
    story.approval = "more than 3 items"
    return story.open_draft().append(4) if draft else story.submit(4)


def _dry(items: int = 10) -> Story:
    """It changes nothing."""
    return Story(chunk_size=4, dry_run=True).submit(items)


def _strict(items: int = 10, *, then: str = "fail") -> Story:
    """It tolerates one failed item."""
    return Story(chunk_size=4, tolerate=[{"failed": 1, "then": then}]).submit(items)


def _whole(**options: object) -> Story:
    """It takes effect as a whole, or not at all."""
    return Story(chunk_size=4, atomic=True, **options).submit(8)


def _ready() -> Story:
    """Its commit is under way."""
    return _whole().plan(room=2).prepared(0).prepared(1).plan()


def _returning() -> Story:
    return Story(chunk_size=4, on_error="roll_back").submit(10)


def _timed(items: int = 10, **options: object) -> Story:
    """Its moments come while ``wait`` lasts."""
    return Story(chunk_size=4, deadline=BEGIN + timedelta(seconds=40), **options).submit(items)


def _behind(**after: object) -> Story:
    """It comes after another job."""
    return Story(chunk_size=4, after=[{"job_id": "job-0", **after}]).submit(10)


def _fed() -> Story:
    """Its items are the results of another job."""
    told = Story(chunk_size=4, after=[{"job_id": "job-0", "consume": {"id": "id"}}])
    return told.open_draft()


ONE = Ranges.of([1])

SPECIMENS: dict[str, Callable[[], Story]] = {
    "draft, empty": lambda: Story().open_draft(),
    "draft": lambda: Story().open_draft().append(4),
    "draft, eager": _draft,
    "pending": _job,
    "running": lambda: _job().plan(),
    "running, nothing open": lambda: _job().plan().revoked(0),
    "running, last chunk": lambda: _job(4).plan(),
    "running, not sealed": lambda: _draft().plan(),
    "running, not sealed, all done": lambda: _draft().work(),
    "paused": lambda: _job().plan().done(0).pause(),
    "paused before the start": lambda: _job().pause(),
    "paused, not sealed": lambda: _draft().work().pause(),
    "paused, sealed, all done": lambda: _draft().work().pause().seal(),
    "cancelled": lambda: _job().plan().done(0).cancel(),
    "cancelled before the start": lambda: _job().cancel(),
    "completed": lambda: _job().work(),
    "completed without items": lambda: Story().selecting("none").submit(0),
    "completed_with_errors": lambda: _job().work(failed=2),
    "failed": lambda: _job(4).work(failed=4),
    "failed by a limit": lambda: _strict().work(failed=2),
    "running under a limit": lambda: _strict().plan(),
    "running under a limit that pauses": lambda: _strict(then="pause").plan(),
    "paused by a limit": lambda: _strict(then="pause").work(failed=2),
    "awaiting_approval": _grave,
    "draft that must be approved": lambda: _grave(draft=True),
    "draft that was sealed and must be approved": lambda: _grave(draft=True).seal(),
    "approved": lambda: _grave().approve(),
    "rejected": lambda: _grave().reject(),
    "pending behind another": _behind,
    "paused behind another": lambda: _behind().pause(),
    "skipped": lambda: _behind().heed(job_0="failed"),
    "draft that is fed": lambda: _fed().feed(),
    "draft that was fed": lambda: _fed().feed().seal_fed(),
    "running dry": lambda: _dry().plan(),
    "running dry, last chunk": lambda: _dry(4).plan(),
    "completed dry": lambda: _dry().work(),
    "completed_with_errors dry": lambda: _dry().work(failed=1),
    "failed dry": lambda: _dry(4).work(failed=4),
    "cancelled dry": lambda: _dry().plan().done(0).cancel(),
    "running, some wait for an attempt": lambda: _patient().failing(0, "later", retryable=True),
    "running, all wait for an attempt": lambda: (
        _patient().failing(0, "later", retryable=True).work()
    ),
    "paused, some wait for an attempt": lambda: (
        _patient().failing(0, "later", retryable=True).pause()
    ),
    "running atomic": lambda: _whole().plan(),
    "running atomic, last to prepare": lambda: _whole().plan(room=2).prepared(0),
    "running atomic, one failed": lambda: _whole().plan(room=2).prepared(0, failed=1),
    "running atomic, at its commit": _ready,
    "running atomic, commit called back": lambda: _ready().revoked(2),
    "paused atomic": lambda: _ready().revoked(2).pause(),
    "paused atomic, one failed": lambda: _whole(tolerate=[{"failed": 0, "then": "pause"}]).work(
        failed=1
    ),
    "completed atomic": lambda: _whole().work(),
    "failed atomic": lambda: _whole().work(failed=1),
    "cancelled atomic": lambda: _whole().plan().prepared(0).cancel(),
    "running, rolls back on errors": lambda: _returning().plan(),
    "rolling_back after a cancel": lambda: _job().plan().done(0).cancel(roll_back=True),
    "pending, scheduled": lambda: _timed(start_at=BEGIN + timedelta(seconds=30)),
    "pending, stops at its deadline": lambda: _timed(on_deadline="stop"),
    "running, has a deadline": lambda: _timed().plan(),
    "running, nothing open, stops at its deadline": lambda: (
        _timed(on_deadline="stop").plan().revoked(0)
    ),
    "cancelling": lambda: _job().plan().wind_down(),
    "cancelling, two open": lambda: _job().plan(room=2).done(0).plan().wind_down(),
    "cancelling, rolls back": lambda: _job().plan(room=2).done(0).wind_down(roll_back=True),
    "rolled_back in part": lambda: _job(8).work().undo(Part(target=0, items=ONE)).put_back(),
    "rolling_back": lambda: _job().work().undo(),
    "rolling_back, last chunk": lambda: _job(4).work().undo().plan(),
    "rolling_back from cancelled": lambda: _job().plan().done(0).cancel().undo().plan(),
    "applying again": lambda: _undone().undo(),
    "applying again, last chunk": lambda: _job(4).work().undo().put_back().undo().plan(),
    "applying again, of errors": lambda: _job(4).work(failed=1).undo().put_back().undo().plan(),
    "applying again, of a cancelled job": lambda: (
        _job().plan().done(0).cancel().undo().put_back().undo().plan()
    ),
    "applying again, of a job that hit a limit": lambda: (
        _strict(4).work(failed=2).undo().put_back().undo().plan()
    ),
    "rolled_back": _undone,
    "rolled_back, all in conflict": lambda: _job(4).work().undo().put_back(conflict=4),
    "rollback_incomplete": lambda: _undone(undo_failed=1),
    "rollback_incomplete when applying again": lambda: _undone().undo().put_back(failed=1),
    "archived": lambda: _job().work().archive(),
    "archived, held": lambda: _job().work().archive().hold(),
    "archived, shredded": lambda: _job().work().shred().archive(),
    "archived, emptied": lambda: _job().work().archive().empty(),
}


def _held(name: str) -> Callable[[], Story]:
    """A specimen of which somebody says that nothing may be shredded."""
    make = SPECIMENS[name]
    return lambda: make().hold()


def _archived(name: str) -> Callable[[], Story]:
    """A specimen that was put away."""
    make = SPECIMENS[name]
    return lambda: make().archive()


_AT_REST = (
    *("cancelled", "completed", "completed_with_errors", "failed", "rejected"),
    *("rolled_back", "rollback_incomplete"),
)
SPECIMENS |= {f"{name}, held": _held(name) for name in _AT_REST}
SPECIMENS |= {
    "completed_with_errors, shredded": lambda: _job().work(failed=2).shred(),
    "completed dry, shredded": lambda: _dry().work().shred(),
}
SPECIMENS |= {f"{name}, archived": _archived(name) for name in _AT_REST}

VERBS: dict[str, Callable[[Story], object]] = {
    "append": lambda story: story.append(2, part=9),
    "seal": lambda story: story.seal(),
    "pause": lambda story: story.pause(),
    "resume": lambda story: story.resume(),
    "cancel": lambda story: story.cancel(),
    "retry": lambda story: story.retry(
        _failed_items(story),
        None if story.job.options.atomic else story.job.dropped or None,
    ),
    "undo": lambda story: story.undo(),
    "approve": lambda story: story.approve(),
    "reject": lambda story: story.reject(),
    "hold": lambda story: story.hold(),
    "release": lambda story: story.lift_hold(),
    "shred": lambda story: story.shred(),
    "archive": lambda story: story.archive(),
    "adjust": lambda story: story.adjust(rate=50),
    "edit": lambda story: story.edit(0),
    # Of the plan it is only asked; what it leads to is another job.
    "apply": lambda story: story.job.check("apply"),
}


FURTHER: dict[str, Callable[[Story], object]] = {
    "cancel and roll back": lambda story: story.cancel(roll_back=True),
    "wind down": lambda story: story.wind_down(),
}


def _scattered() -> Story:
    """Every other item has failed, and is told in more events than one that it is tried again."""
    items = 2 * MAX_SPANS + 2
    return worked(Story(chunk_size=MAX_CHUNK).submit(items)).retry(every_other(items))


FRESH: dict[str, Callable[[], Story]] = {
    "retried, scattered": _scattered,
    "submitted, some repeated": lambda: Story(key="/id").submit(4).skip(1, 2),
    "sealed, some repeated": lambda: _grave(draft=True).seal().skip(0),
}
"""What follows another event in its own transaction."""


def _record_all(how: Callable[[Story, int], object]) -> Callable[[Story], object]:
    def record(story: Story) -> None:
        for chunk in list(story.job.open):
            how(story, chunk)

    return record


def _succeed(story: Story, chunk: int) -> None:
    undoing = story.job.open[chunk].cause.undoing
    story.restored(chunk) if undoing else story.done(chunk)


def _fail(story: Story, chunk: int) -> None:
    opened = story.job.open[chunk]
    if opened.cause.undoing:
        story.restored(chunk, failed=1)
    else:
        story.done(chunk, failed=len(opened.items))


def _fail_in_part(story: Story, chunk: int) -> None:
    undoing = story.job.open[chunk].cause.undoing
    story.restored(chunk, conflict=1) if undoing else story.done(chunk, failed=1)


STEPS: dict[str, Callable[[Story], object]] = {
    "the other succeeds": lambda story: story.heed(job_0="completed"),
    "the other fails": lambda story: story.heed(job_0="failed"),
    "plan": lambda story: story.plan(),
    "wait": lambda story: story.wait(60),
    "succeed": _record_all(_succeed),
    "fail": _record_all(_fail),
    "fail in part": _record_all(_fail_in_part),
}


def _is_quiet(story: Story) -> bool:
    return not story.job.open


def _attempt(story: Story, step: Callable[[Story], object]) -> None:
    with contextlib.suppress(CommandRefused):
        step(story)


def test_every_status_has_a_specimen() -> None:
    assert {make().job.status for make in SPECIMENS.values()} == set(JobStatus)


def test_the_tables_name_every_status_every_verb_and_every_event() -> None:
    assert set(POSSIBLE) == set(JobStatus)
    assert set(VERBS) == set(get_args(Verb))
    assert set(LABELS) == set(EVENTS)


@pytest.mark.parametrize(("name", "verb"), list(itertools.product(SPECIMENS, VERBS)))
def test_a_verb_is_possible_or_refused_with_what_is(name: str, verb: Verb) -> None:
    story = SPECIMENS[name]()
    if verb in story.job.possible():
        return
    options = story.job.options
    fed = options.consumed is not None and verb in ("append", "seal", "edit")
    # How it is kept forbids it.
    kept = verb in AT_REST or (bool(story.job.shredded) and verb in NEEDS_ITEMS)
    assert verb not in POSSIBLE[story.job.status] or options.dry_run or fed or kept
    story.collect()
    before = copy.deepcopy(story.job)

    with pytest.raises(WrongState) as refused:
        VERBS[verb](story)

    possible = ", ".join(story.job.possible()) or "nothing"
    assert refused.value.message == (
        f"the job is {story.job.status.value}{story.job.kept}: {verb} is not possible; "
        f"possible: {possible}"
    )
    assert story.collect() == []
    assert story.job == before


def test_nothing_refused_was_possible_and_nothing_possible_refused_but_for_want_of_items() -> None:
    refused: set[tuple[str, str]] = set()
    for name, verb in itertools.product(SPECIMENS, VERBS):
        story = SPECIMENS[name]()
        if verb not in story.job.possible() or not _is_quiet(story):
            continue
        assert not (story.job.options.dry_run and verb in ("retry", "undo"))
        try:
            VERBS[verb](story)
        except CommandRefused:
            refused.add((name, verb))
    assert refused == {
        ("draft, empty", "seal"),
        ("draft, empty", "edit"),
        ("cancelled before the start", "undo"),
        ("completed without items", "undo"),
        ("skipped", "undo"),
        ("cancelled atomic", "undo"),
        ("failed", "undo"),
        ("failed, held", "undo"),
        ("failed atomic", "undo"),
        ("rolled_back, all in conflict", "undo"),
    }


def test_the_document_draws_what_the_aggregate_does() -> None:
    done = {edge for make in FRESH.values() for edge in edges_of(None, make().collect())}
    for make in SPECIMENS.values():
        done |= set(edges_of(None, make().collect()))
        for verb, step in (VERBS | FURTHER | STEPS).items():
            story = make()
            if verb in ("pause", "cancel", "cancel and roll back") and not _is_quiet(story):
                continue
            story.collect()
            before = story.job.status
            _attempt(story, step)
            done |= set(edges_of(before, story.collect()))
    assert done == drawn_edges()


def test_the_document_draws_every_status() -> None:
    assert {status for edge in drawn_edges() for status in (edge[0], edge[2])} == {
        START,
        *JobStatus,
    }


def test_terminal_statuses_leave_nothing_to_do() -> None:
    for make in SPECIMENS.values():
        job = make().job
        if job.status.terminal:
            assert not job.wants_chunks()
            assert job.open == {}
            assert job.finished_at is not None
            assert job.finished_at > BEGIN
        else:
            assert job.finished_at is None
