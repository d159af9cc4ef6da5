"""What a client is sent of all jobs of its tenant: everything once, in the order of the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api import sse
from api.limits import Limits
from api.log_feed import OPENED, LogFeed
from api.problems import RequestRefused
from domain.commands import JobSpec
from domain.registry import Registry
from streams.callers import Caller
from streams.live import QUEUED
from tests.api.conftest import double
from tests.api.engine import MemoryEngine
from tests.api.reading import Seen, ids, seen
from tests.api.tail import MemoryTail

LIMITS = Limits(heartbeat=0.02, replay_page=3)
OURS, THEIRS = Caller("local", "local"), Caller("other", "eve")


async def submitted(engine: MemoryEngine, *tags: str, items: int = 2, caller: Caller = OURS) -> str:
    async def lines() -> AsyncIterator[bytes]:
        yield b'{"n":1}\n' * items

    options = {"operation": "test.double", "options": {"chunk_size": 1}, "tags": tags}
    spec = JobSpec.model_validate(options)
    return (await engine.submit(caller, spec, lines(), key=None)).job_id


def feed(engine: MemoryEngine, after: int | None = None, *tags: str) -> LogFeed:
    return LogFeed(
        engine,
        engine.tail,
        engine.hub,
        LIMITS,
        tenant="local",
        wanted=(frozenset(tags),),
        after=after,
    )


def places(engine: MemoryEngine, job_ids: set[str], after: int = 0) -> list[int]:
    """Where the events of these jobs are."""
    logged = engine.tail.logged
    behind = [one for one in logged if one.position > after]
    return [one.position for one in behind if one.event.originator_id in job_ids]


async def until_silent(frames: AsyncIterator[bytes]) -> list[Seen]:
    """What comes before a heartbeat, without the opening."""
    text = b""
    async with asyncio.timeout(5):
        async for frame in frames:
            if frame == sse.HEARTBEAT:
                break
            text += frame
    return [event for event in seen(text) if event.name != OPENED]


async def test_all_jobs_of_the_tenant_are_followed_and_nobody_elses(engine: MemoryEngine) -> None:
    first = await submitted(engine)
    async with aclosing(feed(engine).frames()) as frames:
        (opening,) = seen(await anext(frames))
        assert (opening.name, opening.id) == (OPENED, engine.tail.position)
        second, theirs = await submitted(engine), await submitted(engine, caller=THEIRS)
        for job_id in (first, theirs, second):
            engine.work(job_id)
        events = await until_silent(frames)
    assert ids(events) == places(engine, {first, second}, opening.id)
    assert {event.data["job_id"] for event in events} == {first, second}
    assert engine.hub.readers == 0


async def test_a_tag_chooses_jobs(engine: MemoryEngine) -> None:
    red, both = await submitted(engine, "red"), await submitted(engine, "blue", "red")
    blue, none = await submitted(engine, "blue"), await submitted(engine)
    theirs = await submitted(engine, "red", caller=THEIRS)
    async with aclosing(feed(engine, 0, "red", "green").frames()) as frames:
        events = await until_silent(frames)
        for job_id in (red, both, blue, none, theirs):
            engine.work(job_id)
        events += await until_silent(frames)
    assert ids(events) == places(engine, {red, both})


@pytest.mark.parametrize("after", [0, 3, 4, 9, 12])
async def test_a_client_that_comes_back_gets_the_rest(engine: MemoryEngine, after: int) -> None:
    job_id = await submitted(engine)
    engine.work(job_id)
    assert after <= engine.tail.position
    async with aclosing(feed(engine, after).frames()) as frames:
        assert ids(await until_silent(frames)) == places(engine, {job_id}, after)


async def test_a_place_that_is_not_there_yet_is_refused(engine: MemoryEngine) -> None:
    await submitted(engine)
    with pytest.raises(RequestRefused) as refusal:
        await anext(feed(engine, engine.tail.position + 1).frames())
    assert (refusal.value.problem.status, refusal.value.problem.code) == (400, "bad_last_event_id")


async def test_who_was_cut_before_the_first_event_comes_back_to_where_it_was(
    engine: MemoryEngine,
) -> None:
    async with aclosing(feed(engine).frames()) as frames:
        (opening,) = seen(await anext(frames))
    job_id = await submitted(engine)
    async with aclosing(feed(engine, opening.id).frames()) as frames:
        assert ids(await until_silent(frames)) == places(engine, {job_id})


async def test_a_reader_that_was_too_slow_goes_on_from_the_log(engine: MemoryEngine) -> None:
    job_id = await submitted(engine, items=QUEUED)
    async with aclosing(feed(engine, 0).frames()) as frames:
        text = await anext(frames) + await anext(frames)
        engine.work(job_id)
        assert len(engine.tail.logged) > QUEUED
        events = [*seen(text), *await until_silent(frames)]
    assert ids(events)[1:] == places(engine, {job_id})
    assert engine.hub.readers == 0


async def test_progress_has_no_id(engine: MemoryEngine) -> None:
    job_id = await submitted(engine, "red")
    async with aclosing(feed(engine, None, "red").frames()) as frames:
        await anext(frames)
        engine.progress(job_id, pending=1, succeeded=1)
        (event,) = await until_silent(frames)
    assert (event.name, event.id, event.data["counts"]["succeeded"]) == ("progress", None, 1)


async def test_the_document_of_an_event_is_the_same_object_for_all(engine: MemoryEngine) -> None:
    job_id = await submitted(engine)
    stored = engine.events_of[job_id][0]
    assert engine.hub.shown(stored) is engine.hub.shown(stored.model_copy())
    with engine.hub.subscribe(job_id) as one:
        async with engine.tail.follow("local", lambda _: True) as (all_of_them, _):
            engine.work(job_id)
            alone, placed = await one.next(1), await all_of_them.next(1)
    assert alone is not None
    assert placed is not None
    assert alone.text is placed.event.text


@settings(max_examples=60, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 4), max_size=12),
    lost=st.sets(st.integers(0, 12)),
)
async def test_each_event_is_seen_once_however_a_client_is_cut(
    cuts: list[int], lost: set[int]
) -> None:
    """Cut after some events; those of some places come before, others after the way is open."""
    engine = MemoryEngine(Registry([double]))
    job_id = await submitted(engine, items=4)
    engine.work(job_id, publish=False)
    rest = engine.events_of[job_id][1:]
    last: int | None = 0
    found: list[int] = []
    for turn, cut in enumerate([*cuts, 10**6]):
        if turn in lost and rest:
            engine.tail.store(rest.pop(0), (), hand_out=False)
        async with aclosing(feed(engine, last).frames()) as frames:
            await anext(frames)
            if rest:
                engine.tail.store(rest.pop(0), ())
            if cut == 10**6:
                for event in rest:
                    engine.tail.store(event, ())
            for event in (await until_silent(frames))[:cut]:
                assert event.id is not None
                found.append(event.id)
        last = found[-1] if found else last
    assert found == [MemoryTail.STRIDE * n for n in range(1, len(engine.tail.logged) + 1)]
