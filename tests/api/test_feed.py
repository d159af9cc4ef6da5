"""What a client of a job's stream is sent: everything once, in order, whatever the hub does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api import sse
from api.feed import Feed
from api.limits import Limits
from api.problems import RequestRefused
from domain.commands import JobSpec
from domain.errors import StoreUnavailable
from domain.events import JobEvent
from domain.registry import Registry
from streams.callers import Caller
from streams.live import QUEUED, TOGETHER, LiveEvent, Subscription
from tests.api.conftest import double
from tests.api.engine import MemoryEngine
from tests.api.reading import ids, seen

LIMITS = Limits(heartbeat=0.02, replay_page=3)
LOCAL = Caller("local", "local")


async def submitted(engine: MemoryEngine, items: int = 4) -> str:
    async def lines() -> AsyncIterator[bytes]:
        yield b'{"n":1}\n' * items

    spec = JobSpec.model_validate({"operation": "test.double", "options": {"chunk_size": 1}})
    return (await engine.submit(LOCAL, spec, lines(), key=None)).job_id


def feed(engine: MemoryEngine, job_id: str, after: int = 0) -> Feed:
    return Feed(engine, engine.hub, LIMITS, tenant="local", job_id=job_id, after=after)


async def everything(of: Feed) -> bytes:
    async with asyncio.timeout(5):
        return b"".join([frames async for frames in of.frames()])


async def test_a_job_at_rest_is_replayed_and_the_stream_ends(engine: MemoryEngine) -> None:
    job_id = await submitted(engine)
    engine.work(job_id)
    events = list(seen(await everything(feed(engine, job_id))))
    assert ids(events) == list(range(1, len(engine.events_of[job_id]) + 1))
    assert [event.name for event in events] == [e.alias for e in engine.events_of[job_id]]
    assert events[-1].data["status"] == "completed"
    assert {"job_id", "version", "status", "counts", "percent"} <= events[0].data.keys()


async def test_a_client_that_has_seen_all_gets_nothing(engine: MemoryEngine) -> None:
    job_id = await submitted(engine)
    engine.work(job_id)
    assert await everything(feed(engine, job_id, len(engine.events_of[job_id]))) == b""


async def test_an_event_that_never_was_is_refused(engine: MemoryEngine) -> None:
    job_id = await submitted(engine)
    with pytest.raises(RequestRefused, match="no event 2"):
        await everything(feed(engine, job_id, 2))
    assert engine.hub.readers == 0


@pytest.mark.parametrize("after", range(6))
async def test_a_client_that_comes_back_gets_the_rest(engine: MemoryEngine, after: int) -> None:
    job_id = await submitted(engine)
    engine.work(job_id)
    latest = len(engine.events_of[job_id])
    assert after < latest
    events = seen(await everything(feed(engine, job_id, after)))
    assert ids(events) == list(range(after + 1, latest + 1))


async def test_events_before_and_after_the_subscription_are_seen_once(
    engine: MemoryEngine,
) -> None:
    job_id = await submitted(engine)
    text = b""
    async with aclosing(feed(engine, job_id).frames()) as frames:
        text += await anext(frames)
        engine.work(job_id)
        async with asyncio.timeout(5):
            async for frame in frames:
                text += frame
    assert ids(seen(text)) == list(range(1, len(engine.events_of[job_id]) + 1))


async def test_a_job_undone_after_its_end_is_replayed_to_its_end(engine: MemoryEngine) -> None:
    job_id = await submitted(engine)
    engine.work(job_id)
    engine.undo(job_id)
    events = list(seen(await everything(feed(engine, job_id))))
    assert ids(events) == list(range(1, len(engine.events_of[job_id]) + 1))
    assert [e.data["status"] for e in events].count("completed") == 1
    assert events[-1].data["status"] == "rolled_back"


async def test_an_event_that_the_hub_lost_is_fetched_with_the_next_heartbeat(
    engine: MemoryEngine,
) -> None:
    job_id = await submitted(engine)
    text = b""
    async with aclosing(feed(engine, job_id).frames()) as frames:
        text += await anext(frames)
        engine.work(job_id, publish=False)
        async with asyncio.timeout(5):
            async for frame in frames:
                text += frame
    assert sse.HEARTBEAT in text
    assert ids(seen(text)) == list(range(1, len(engine.events_of[job_id]) + 1))


async def test_a_reader_that_was_too_slow_goes_on_from_the_store(engine: MemoryEngine) -> None:
    job_id = await submitted(engine, items=QUEUED)
    text = b""
    async with aclosing(feed(engine, job_id).frames()) as frames:
        text += await anext(frames)
        engine.work(job_id)  # more events than the queue holds, while nobody reads
        assert len(engine.events_of[job_id]) > QUEUED
        async with asyncio.timeout(5):
            async for frame in frames:
                text += frame
    assert ids(seen(text)) == list(range(1, len(engine.events_of[job_id]) + 1))
    assert engine.hub.readers == 0


async def test_progress_has_no_id_and_is_only_shown_when_it_is_of_now(
    engine: MemoryEngine,
) -> None:
    job_id = await submitted(engine)
    async with aclosing(feed(engine, job_id).frames()) as frames:
        await anext(frames)
        first = asyncio.ensure_future(anext(frames))
        await asyncio.sleep(0)
        engine.progress(job_id, pending=3, succeeded=1)
        (event,) = seen(await first)
        assert (event.name, event.id) == ("progress", None)
        assert event.data["counts"]["succeeded"] == 1

        stale = LiveEvent(job_id, None, "progress", {**event.data, "version": 0})
        engine.hub.publish(stale)
        assert await anext(frames) == sse.HEARTBEAT


async def test_a_stream_that_is_left_gives_its_subscription_back(engine: MemoryEngine) -> None:
    job_id = await submitted(engine)
    async with aclosing(feed(engine, job_id).frames()) as frames:
        await anext(frames)
        assert engine.hub.readers == 1
    assert engine.hub.readers == 0


async def test_what_one_transaction_stores_is_one_write(engine: MemoryEngine) -> None:
    job_id = await submitted(engine, items=3)
    async with aclosing(feed(engine, job_id).frames()) as frames:
        await anext(frames)
        engine.work(job_id)
        together = await anext(frames)
    assert ids(seen(together)) == list(range(2, len(engine.events_of[job_id]) + 1))


async def test_of_what_waits_one_write_takes_so_much(engine: MemoryEngine) -> None:
    job_id = await submitted(engine, items=2 * TOGETHER)
    async with aclosing(feed(engine, job_id).frames()) as frames:
        await anext(frames)
        engine.work(job_id)
        assert ids(seen(await anext(frames))) == list(range(2, TOGETHER + 3))


class Silent(MemoryEngine):
    """Its log cannot be read."""

    async def events(self, tenant: str, job_id: str, after: int, limit: int) -> list[JobEvent]:
        raise StoreUnavailable("the database is away")


async def test_a_job_that_has_just_begun_is_shown_without_the_log() -> None:
    engine = Silent(Registry([double]))
    job_id = await submitted(engine)
    (first,) = engine.events_of[job_id]
    engine.hub.beginnings.keep(first)
    async with aclosing(feed(engine, job_id).frames()) as frames:
        assert ids(seen(await anext(frames))) == [1]
    with pytest.raises(StoreUnavailable):
        await everything(Feed(engine, engine.hub, LIMITS, tenant="b", job_id=job_id, after=0))


class Unreliable:
    """A hub that loses, doubles and reorders, as told."""

    def __init__(self, engine: MemoryEngine, order: list[int]) -> None:
        self._engine = engine
        self._order = order

    def offer_to(self, subscription: Subscription, events: list[JobEvent]) -> None:
        from domain.progress import of_event

        for index in self._order:
            event = events[index % len(events)]
            version = event.originator_version
            subscription.offer(
                LiveEvent(event.originator_id, version, event.alias, of_event(event))
            )


@settings(max_examples=60, deadline=None)
@given(
    order=st.lists(st.integers(0, 30), max_size=40),
    after=st.integers(0, 6),
    stored=st.integers(1, 6),
    begun=st.integers(0, 6),
)
async def test_each_event_is_seen_once_and_in_order_whatever_the_hub_does(
    order: list[int], after: int, stored: int, begun: int
) -> None:
    engine = MemoryEngine(Registry([double]))
    job_id = await submitted(engine)
    engine.work(job_id)
    everything_stored = engine.events_of[job_id]
    latest = len(everything_stored)
    engine.events_of[job_id] = everything_stored[:stored]
    for event in everything_stored[: min(begun, stored)]:
        engine.hub.beginnings.keep(event)
    text = b""
    async with aclosing(feed(engine, job_id, min(after, stored)).frames()) as frames:
        waiting = asyncio.ensure_future(anext(frames, b""))
        await asyncio.sleep(0)
        engine.events_of[job_id] = everything_stored
        for subscription in engine.hub._subscriptions.get(job_id, ()):
            Unreliable(engine, order).offer_to(subscription, everything_stored)
        async with asyncio.timeout(5):
            text += await waiting
            async for frame in frames:
                text += frame
    assert ids(seen(text)) == list(range(min(after, stored) + 1, latest + 1))
