"""What may be worked beside a message, by what is known of its work."""

from __future__ import annotations

import pytest

from domain.events import Cause
from domain.planning import SHORT_ITEMS, SHORT_MS
from domain.registry import Registry
from streams.dispatching import Dispatcher
from streams.envelope import WORK_MODE, WorkMode, mode_of
from streams.spreading import Spread
from tests.engine.post import Vendor
from tests.engine.stock import operations
from tests.unit.domain.story import Story

REGISTRY = Registry([*operations, *Vendor().operations()])


def story(operation: str = "stock.create", **options: object) -> Story:
    told = Story(**options)
    told.spec = told.spec.model_copy(update={"operation": operation})
    return told


def dispatcher() -> Dispatcher:
    return Dispatcher(REGISTRY, Spread(lambda _topic: []))


def modes(told: Story, room: int = 1, by: Dispatcher | None = None) -> list[WorkMode]:
    """Those of the messages of the next plan."""
    before = set(told.job.open)
    told.collect()
    operation = REGISTRY.get(told.job.spec.operation)
    planned = told.job.plan(told.stamp, room=room, slow=operation.waits)
    assert planned
    assert not before & {chunk.chunk for chunk in planned}
    sent = (by or dispatcher()).messages(told.job, planned, {told.job.id: told.job})
    return [mode_of(message.headers) for message in sent]


@pytest.mark.parametrize(
    ("items", "ms_an_item", "mode"),
    [
        (10, SHORT_MS / 10, WorkMode.CONCURRENT),
        (10, SHORT_MS / 10 + 0.1, WorkMode.SEQUENTIAL),
        (SHORT_ITEMS, 0.01, WorkMode.CONCURRENT),
        (SHORT_ITEMS + 1, 0.01, WorkMode.SEQUENTIAL),
    ],
)
def test_work_is_short_by_its_items_and_by_what_they_take(
    items: int, ms_an_item: float, mode: WorkMode
) -> None:
    told = story(chunk_size=items).submit(3 * items).plan()
    told.done(0, ms=items * ms_an_item)
    (first, *_) = modes(told)
    assert first is mode


def test_of_unknown_pace_one_message_at_a_time_is_short() -> None:
    told = story(chunk_size=SHORT_ITEMS).submit(1000)
    assert modes(told, room=2) == [WorkMode.CONCURRENT, WorkMode.SEQUENTIAL]
    assert modes(told, room=2) == [WorkMode.SEQUENTIAL, WorkMode.SEQUENTIAL]


def test_part_of_what_has_killed_workers_is_exclusive() -> None:
    told = story(chunk_size=4).submit(8).plan(room=2).done(1, ms=0.1).died(0)
    assert modes(told) == [WorkMode.EXCLUSIVE]
    assert [chunk.cause for chunk in told.job.open.values()] == [Cause.BISECT]


def test_work_that_is_only_begun_is_short_whatever_it_takes() -> None:
    told = story("stock.wait").submit(300).plan(slow=True)
    told.done(0, ms=128 * 200.0)
    assert modes(told) == [WorkMode.CONCURRENT]


def test_a_dry_run_of_it_is_not() -> None:
    """Its items are worked in the transaction, one after the other."""
    told = story("stock.wait", dry_run=True).submit(300).plan(slow=True)
    told.done(0, ms=128 * 200.0)
    assert modes(told) == [WorkMode.SEQUENTIAL]


def test_what_is_committed_as_a_whole_is_sequential() -> None:
    """It waits for the records of others, which the trial of its items did not."""
    told = story(atomic=True, chunk_size=5).submit(5).plan()
    told.prepared(0, ms=0.1)
    assert modes(told) == [WorkMode.SEQUENTIAL]
    assert [chunk.cause for chunk in told.job.open.values()] == [Cause.COMMIT]


@pytest.mark.parametrize(("items", "mode"), [(5, WorkMode.CONCURRENT), (500, WorkMode.SEQUENTIAL)])
def test_an_undo_is_judged_by_what_it_puts_back(items: int, mode: WorkMode) -> None:
    told = story(chunk_size=1000).submit(items).plan().done(0, ms=0.1).undo()
    assert modes(told) == [mode]


def test_a_suspect_is_exclusive_while_it_is_undone_too() -> None:
    told = story(chunk_size=1000).submit(8).plan().done(0, ms=0.1).undo()
    assert modes(told) == [WorkMode.CONCURRENT]
    (chunk,) = told.job.open
    assert modes(told.died(chunk)) == [WorkMode.EXCLUSIVE]


def test_a_compensation_is_only_begun_by_its_message() -> None:
    told = story("post.add", chunk_size=1000).submit(500).plan().done(0, ms=5000).undo()
    assert modes(told) == [WorkMode.CONCURRENT]


def test_a_job_begins_at_the_pace_that_its_operation_had_last() -> None:
    by = dispatcher()
    slow = story(chunk_size=50).submit(500).plan().done(0, ms=50 * 40.0)
    assert modes(slow, by=by) == [WorkMode.SEQUENTIAL]
    assert modes(story(chunk_size=50).submit(50), by=by) == [WorkMode.SEQUENTIAL]
    quick = story(chunk_size=50).submit(500).plan().done(0, ms=0.5)
    assert modes(quick, by=by) == [WorkMode.CONCURRENT]
    assert modes(story(chunk_size=50).submit(50), by=by) == [WorkMode.CONCURRENT]
    assert modes(story("stock.put", chunk_size=50).submit(50), by=by) == [WorkMode.CONCURRENT]


@pytest.mark.parametrize("said", [b"", b"later", b"\xff", b"sequential"])
def test_a_mode_that_nobody_here_knows_is_the_first(said: bytes) -> None:
    assert mode_of(((WORK_MODE, said),)) is WorkMode.SEQUENTIAL
    assert mode_of(()) is WorkMode.SEQUENTIAL
    assert mode_of(((WORK_MODE, b"exclusive"),)) is WorkMode.EXCLUSIVE
