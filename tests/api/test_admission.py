"""Admission: a shutdown ends every live stream, whatever one of them does at that moment."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from api.admission import Bodies, Streams
from api.limits import Limits
from api.problems import RequestRefused


async def _stream(streams: Streams, scope: asyncio.Timeout, opening: float = 0.0) -> None:
    """One that has its place while it is still being opened, as a WebSocket has."""
    with streams.admitted(scope, "acme"):
        if opening:
            await asyncio.sleep(opening)
        async with scope:
            await asyncio.sleep(3600)


async def test_a_wait_that_ends_in_the_same_turn_keeps_no_other_from_its_end() -> None:
    streams = Streams(Limits())
    scopes = [asyncio.timeout(None) for _ in range(9)]
    tasks = [asyncio.create_task(_stream(streams, scope)) for scope in scopes]
    await asyncio.sleep(0)
    # Its timer fires, and its task has not run yet.
    scopes[4].reschedule(asyncio.get_running_loop().time())
    await asyncio.sleep(0)

    streams.close()

    async with asyncio.timeout(10):
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in ended] == [TimeoutError] * len(scopes)
    assert len(streams) == 0


async def test_a_stream_that_is_being_opened_ends_once_it_is_open() -> None:
    streams = Streams(Limits())
    task = asyncio.create_task(_stream(streams, asyncio.timeout(None), opening=0.02))
    await asyncio.sleep(0)
    assert len(streams) == 1

    streams.close()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(task, 10)
    assert len(streams) == 0


def test_bodies_of_one_tenant_leave_room_to_others() -> None:
    bodies = Bodies(Limits(bodies=400, small_body=10))
    with ExitStack() as stack:
        mine, other, third = (
            stack.enter_context(bodies.admitted(tenant)) for tenant in ("acme", "other", "third")
        )
        mine(310)
        with pytest.raises(RequestRefused) as caught:
            mine(1)
        assert (caught.value.problem.status, caught.value.problem.code) == (429, "quota_exceeded")
        assert caught.value.problem.headers["Retry-After"] == "1"
        other(110)
        third(10)  # a small one is always taken
        with pytest.raises(RequestRefused) as caught:
            third(1)
        assert (caught.value.problem.status, caught.value.problem.code) == (503, "too_many_bodies")
    with bodies.admitted("acme") as mine:
        mine(310)
