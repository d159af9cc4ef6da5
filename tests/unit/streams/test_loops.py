"""Work in threads ends before whoever waits for it goes on."""

from __future__ import annotations

import asyncio
import threading

import pytest

from streams.loops import in_thread


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
