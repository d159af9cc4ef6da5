"""Work in threads ends before whoever waits for it goes on; a start waits for what is away."""

from __future__ import annotations

import asyncio
import threading
from unittest import mock

import pytest
from structlog.testing import capture_logs

from domain.errors import StoreUnavailable
from streams.loops import LONGEST_PAUSE, in_thread, patiently, to_its_end


async def test_a_function_answers_and_refuses_as_it_would_by_itself() -> None:
    assert await in_thread(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("end", ["answer", "error"])
async def test_a_cancellation_waits_for_the_thread(end: str, times: int) -> None:
    begun, may_end = asyncio.Event(), threading.Event()
    loop, ended = asyncio.get_running_loop(), list[str]()

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        assert may_end.wait(timeout=10)
        ended.append(end)
        if end == "error":
            raise ValueError(end)

    task = asyncio.create_task(in_thread(work))
    await begun.wait()
    for _ in range(times):
        task.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [end]


async def test_of_what_fails_at_the_end_no_row_is_told() -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await may_end.wait()
        raise ValueError("refused\nDETAIL:  Failing row contains (canary).")

    task = asyncio.create_task(to_its_end(work()))
    await begun.wait()
    task.cancel()
    may_end.set()
    with capture_logs() as logged, pytest.raises(asyncio.CancelledError):
        await task

    assert [entry["reason"] for entry in logged] == ["ValueError: refused"]


async def test_a_start_waits_as_long_as_it_takes_and_says_once_for_what() -> None:
    reasons = ["it is away"] * 500 + ["it is locked"] * 500
    left, told, pauses = iter(reasons), list[str](), list[float]()

    async def step() -> str:
        for reason in left:
            raise StoreUnavailable(reason)
        return "there"

    async def waits(reason: str) -> None:
        told.append(reason)

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    with mock.patch.object(asyncio, "sleep", sleep), capture_logs() as logged:
        assert await patiently(step, waits) == "there"

    assert told == reasons
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE
    assert [entry["reason"] for entry in logged] == ["it is away", "it is locked"]


async def test_a_start_does_not_wait_for_what_is_wrong() -> None:
    async def step() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await patiently(step, mock.AsyncMock(side_effect=AssertionError("it waits")))
