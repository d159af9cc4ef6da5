"""Buckets: what they let through is shared, and what they hold back is said."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from domain.buckets import Claim, Shared, SharedLimit, changed, names_of, possible, share_of
from domain.caps import NO_END, UNLIMITED, Allowance, Bucket, Calls, Ration
from domain.commands import Cap
from domain.errors import InvalidCommand
from domain.operation import Context, Operation, operation
from domain.options import Caps
from domain.outcomes import Done, Result
from tests.unit.domain.story import BEGIN, Story


class Thing(BaseModel):
    n: int


def _kind(kind: str, provider: str = "") -> Operation:
    def apply(ctx: Context, item: Thing) -> Result:
        return Done()

    return operation(kind, item=Thing, provider=provider)(apply)


def _shared(caps: Caps, *, tokens: float = 0.0, calls: int = 0, ahead: int = 0) -> Shared:
    return Shared("provider:openai", caps, Bucket(tokens=tokens, at=BEGIN), calls, ahead)


def test_an_operation_draws_from_its_queue_and_from_whom_it_calls() -> None:
    assert names_of(_kind("shop.a")) == ("queue:shop",)
    assert names_of(_kind("shop.b", "openai")) == ("provider:openai", "queue:shop")
    kinds = [_kind("shop.a"), _kind("shop.b", "openai"), _kind("mail.c", "openai")]
    assert possible(kinds) == ["provider:openai", "queue:mail", "queue:shop"]


def test_a_change_says_something_and_nothing_twice() -> None:
    caps = changed(Caps(rate=5), SharedLimit(concurrency=3))
    assert caps == Caps(rate=5, concurrency=3)
    assert changed(caps, SharedLimit(rate=7, lift=(Cap.CONCURRENCY,))) == Caps(rate=7)
    for wrong in (SharedLimit(), SharedLimit(rate=3, lift=(Cap.RATE,))):
        with pytest.raises(InvalidCommand):
            changed(caps, wrong)


def test_a_share_is_that_of_the_tenant_among_those_that_wait_and_of_the_job_among_its_own() -> None:
    assert share_of("a", [], {}) == 1.0
    assert share_of("a", ["a", "b"], {}) == 0.25
    assert share_of("b", ["a", "a"], {"b": 3.0}) == 0.75


def _claim(**fields: Any) -> Claim:
    return Claim(**{"bucket": Bucket(tokens=1000.0, at=BEGIN), **fields})


@pytest.mark.parametrize(
    ("tokens", "own", "share", "items"),
    [
        (6.0, 6.0, 1.0, 6),
        (2.0, 9.0, 1.0, 0),
        (2.5, 9.0, 1.0, 2),
        (6.0, 4.0, 0.5, 4),
        (6.0, 0.0, 0.5, 0),
        (10.0, 0.0, 0.5, 5),
        (10.0, 1.0, 0.05, 1),
        (10.0, 0.9, 0.05, 0),
        (0.5, 9.0, 0.01, 0),
        (3.0, 1.0, 0.01, 1),
    ],
)
def test_a_job_has_its_part_of_the_tokens_and_more_when_others_leave_theirs(
    tokens: float, own: float, share: float, items: int
) -> None:
    shared = _shared(Caps(rate=10), tokens=tokens)
    claim = Claim(share=share, bucket=Bucket(tokens=own, at=BEGIN))
    assert shared.allows(BEGIN, claim, waiting=100, slow=True).items == items


def test_the_last_items_need_no_more_tokens_than_they_are() -> None:
    shared = _shared(Caps(rate=100), tokens=2.0)
    assert shared.allows(BEGIN, _claim(), waiting=2, slow=True).items == 2
    assert shared.allows(BEGIN, _claim(), waiting=50, slow=True).items == 0


def test_a_part_is_used_up_and_grows_again() -> None:
    claim = Claim(share=0.5, bucket=Bucket(tokens=4.0, at=BEGIN))
    left = claim.without(10.0, BEGIN, 3)
    assert left.level(5.0, BEGIN + timedelta(seconds=0.4)) == pytest.approx(3.0)
    assert claim.without(10.0, BEGIN, 9).tokens == 0.0


def test_fast_work_is_sent_two_seconds_ahead_at_most() -> None:
    shared = _shared(Caps(rate=10), tokens=10.0, ahead=18)
    assert shared.allows(BEGIN, _claim(), waiting=100, slow=False).items == 2
    assert shared.allows(BEGIN, _claim(), waiting=100, slow=True).items == 10


def test_a_concurrency_counts_items_of_slow_work_and_chunks_of_any_other() -> None:
    shared = _shared(Caps(concurrency=10), calls=4)
    assert shared.allows(BEGIN, _claim(), waiting=9, slow=True) == Allowance(items=6)
    assert shared.allows(BEGIN, _claim(), waiting=9, slow=False) == Allowance(chunks=6)
    full = _shared(Caps(concurrency=10), calls=12)
    assert not full.allows(BEGIN, _claim(), waiting=9, slow=True)


@pytest.mark.parametrize(
    ("calls", "own", "turn", "items"),
    [
        (9, 0, True, 1),
        (9, 0, False, 0),
        (9, 7, True, 1),
        (4, 1, True, 4),
        (4, 1, False, 4),
        (4, 4, False, 1),
    ],
)
def test_scarce_calls_go_to_those_who_were_served_longest_ago(
    calls: int, own: int, turn: bool, items: int
) -> None:
    shared = _shared(Caps(concurrency=10), calls=calls)
    claim = _claim(share=0.5, calls=own, turn=turn, jobs=2)
    assert shared.allows(BEGIN, claim, waiting=99, slow=True).items == items


def test_who_gets_nothing_looks_again_when_it_may_and_the_less_often_the_more_there_are() -> None:
    empty = _shared(Caps(rate=1), tokens=0.0)
    assert empty.look_at(BEGIN, _claim(), waiting=9) == BEGIN + timedelta(seconds=1)
    busy = _shared(Caps(concurrency=1), calls=1)
    waits = [busy.look_at(BEGIN, _claim(jobs=jobs), waiting=9) - BEGIN for jobs in (1, 8, 80)]
    assert [wait.total_seconds() for wait in waits] == [0.25, 0.25, 2.5]


def test_what_holds_is_said_in_words() -> None:
    assert _shared(Caps(rate=10), tokens=10.0).holds(BEGIN) == ""
    assert "provider openai is held to 10 items" in _shared(Caps(rate=10), tokens=3.0).holds(BEGIN)
    assert "4 of 4 calls at once" in _shared(Caps(concurrency=4), calls=4).holds(BEGIN)
    assert _shared(Caps(concurrency=4), calls=3).holds(BEGIN) == ""


# -- in the aggregate ------------------------------------------------------------------


def test_a_job_plans_no_more_than_its_ration() -> None:
    story = Story(chunk_size=4).submit(20)
    assert story.job.rationed
    ration = Ration(Allowance(items=6), Caps(rate=8))
    planned = story.job.plan(story.stamp, room=10, slow=False, ration=ration)
    assert [len(chunk.items) for chunk in planned] == [4, 2]
    assert story.job.calls == Calls(items=6, chunks=2)
    nothing = Ration(Allowance(items=0), Caps(rate=8))
    assert story.job.plan(story.stamp, room=10, slow=False, ration=nothing) == ()


def test_chunks_of_slow_work_are_cut_for_the_limits_that_it_shares() -> None:
    story = Story().submit(500)
    ration = Ration(UNLIMITED, Caps(concurrency=32))
    room = story.job.room(1, slow=True, shared=ration.caps)
    planned = story.job.plan(story.stamp, room=room, slow=True, ration=ration)
    assert {len(chunk.items) for chunk in planned} == {2}
    assert len(planned) == 64


def test_an_undo_is_not_held_back() -> None:
    story = Story(chunk_size=2).submit(4).work().undo()
    assert not story.job.rationed
    ration = Ration(Allowance(items=0, chunks=0), Caps(rate=1))
    assert story.job.plan(story.stamp, room=10, slow=False, ration=ration)
    assert story.job.calls == Calls()


def test_caps_are_the_lower_of_each() -> None:
    assert Caps(rate=5).within(Caps(rate=7, concurrency=2)) == Caps(rate=5, concurrency=2)
    assert Caps().within(Caps()) == Caps()
    assert Allowance(3, NO_END).within(Allowance(NO_END, 2)) == Allowance(3, 2)
