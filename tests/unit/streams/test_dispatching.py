"""Which messages of a plan are short, by what is known of the job's pace."""

from __future__ import annotations

import pytest

from domain.events import Cause
from domain.planning import SHORT_ITEMS, SHORT_MS
from domain.registry import Registry
from streams.dispatching import Dispatcher
from streams.envelope import TAKE, Take
from streams.spreading import Spread
from tests.engine.stock import operations
from tests.unit.domain.story import Story

REGISTRY = Registry(operations)


def story(operation: str = "stock.create", **options: object) -> Story:
    told = Story(**options)
    told.spec = told.spec.model_copy(update={"operation": operation})
    return told


def taken(told: Story, room: int = 1) -> list[Take]:
    """How the messages of the next plan are to be taken."""
    before = set(told.job.open)
    told.collect()
    slow = REGISTRY.get(told.job.spec.operation).waits
    planned = told.job.plan(told.stamp, room=room, slow=slow)
    assert planned
    assert not before & {chunk.chunk for chunk in planned}
    dispatcher = Dispatcher(REGISTRY, Spread(lambda _topic: []))
    messages = dispatcher.messages(told.job, planned, {told.job.id: told.job})
    return [Take(dict(each.headers).get(TAKE, b"in_turn").decode()) for each in messages]


@pytest.mark.parametrize(
    ("items", "ms_an_item", "take"),
    [
        (10, SHORT_MS / 10, Take.BESIDE),
        (10, SHORT_MS / 10 + 0.1, Take.IN_TURN),
        (SHORT_ITEMS, 0.01, Take.BESIDE),
        (SHORT_ITEMS + 1, 0.01, Take.IN_TURN),
    ],
)
def test_work_is_short_by_its_items_and_by_what_they_take(
    items: int, ms_an_item: float, take: Take
) -> None:
    told = story(chunk_size=items).submit(3 * items).plan()
    told.done(0, ms=items * ms_an_item)
    (first, *_) = taken(told)
    assert first is take


def test_of_unknown_pace_one_message_at_a_time_is_short() -> None:
    told = story(chunk_size=SHORT_ITEMS).submit(1000)
    assert taken(told, room=2) == [Take.BESIDE, Take.IN_TURN]
    assert taken(told, room=2) == [Take.IN_TURN, Take.IN_TURN]


def test_part_of_what_has_killed_workers_is_taken_alone() -> None:
    """Whatever was beside it when it kills again would be blamed as well."""
    told = story(chunk_size=4).submit(8).plan(room=2).done(1, ms=0.1).died(0)
    assert taken(told) == [Take.ALONE]
    assert [chunk.cause for chunk in told.job.open.values()] == [Cause.BISECT]


def test_work_that_is_only_begun_is_short_whatever_it_takes() -> None:
    told = story("stock.wait").submit(300).plan(slow=True)
    told.done(0, ms=128 * 200.0)
    assert taken(told) == [Take.BESIDE]


def test_a_dry_run_of_it_is_not() -> None:
    """Its items are worked in the transaction, one after the other."""
    told = story("stock.wait", dry_run=True).submit(300).plan(slow=True)
    told.done(0, ms=128 * 200.0)
    assert taken(told) == [Take.IN_TURN]


def test_what_is_committed_as_a_whole_is_taken_in_its_turn() -> None:
    """It waits for the records of others, which the trial of its items did not."""
    told = story(atomic=True, chunk_size=5).submit(5).plan()
    told.prepared(0, ms=0.1)
    assert taken(told) == [Take.IN_TURN]
    assert [chunk.cause for chunk in told.job.open.values()] == [Cause.COMMIT]


@pytest.mark.parametrize(("items", "take"), [(5, Take.BESIDE), (500, Take.IN_TURN)])
def test_an_undo_is_taken_by_what_it_puts_back(items: int, take: Take) -> None:
    told = story(chunk_size=1000).submit(items).plan().done(0, ms=0.1).undo()
    assert taken(told) == [take]
