"""Tasks of handlers, whose end is not the process's; all others are as they were."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any

import pytest

from streams.containing import contained

CAUSE: ContextVar[str] = ContextVar("cause", default="none")


async def _end() -> None:
    raise SystemExit(3)


async def _begin_another() -> None:
    await asyncio.create_task(_end())


async def _cause() -> str:
    await asyncio.sleep(0)
    return CAUSE.get()


@pytest.mark.parametrize("inner", [_end, _begin_another])
async def test_a_task_says_what_would_have_ended_the_process(
    inner: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    with contained():
        task = asyncio.create_task(inner(), name="inner")
    with pytest.raises(RuntimeError, match="a task of the handler raised SystemExit: 3"):
        await task
    assert task.get_name() == "inner"


async def test_tasks_that_are_begun_elsewhere_are_the_loops_own() -> None:
    with contained():
        pass
    coroutine = _cause()
    task = asyncio.create_task(coroutine)
    assert task.get_coro() is coroutine
    assert await task == "none"


@pytest.mark.parametrize("given", [None, Context()])
async def test_a_task_has_the_context_that_it_would_have_had(given: Context | None) -> None:
    def begin() -> asyncio.Task[str]:
        CAUSE.set("handler")
        with contained():
            return asyncio.create_task(_cause(), context=given)

    assert await copy_context().run(begin) == ("handler" if given is None else "none")


async def test_one_that_is_cancelled_before_it_begins_is_cancelled() -> None:
    with contained():
        task = asyncio.create_task(_end())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # What was never awaited would be told of here.
    del task
    gc.collect()


async def test_one_may_answer_its_cancellation() -> None:
    async def stay() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "stayed"
        raise AssertionError("nothing wakes it")

    with contained():
        task = asyncio.create_task(stay())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "stayed"


async def test_it_is_told_by_the_name_of_its_coroutine() -> None:
    with contained():
        task = asyncio.create_task(_cause())
    await asyncio.sleep(0)
    assert "_cause() running at" in repr(task)
    assert [frame.f_code.co_name for frame in task.get_stack()] == ["_cause"]
    await task


async def test_whoever_has_the_loop_make_tasks_still_does() -> None:
    made: list[str] = []

    def make(loop: asyncio.AbstractEventLoop, coroutine: Any, **given: Any) -> asyncio.Task[Any]:
        made.append(coroutine.__name__)
        return asyncio.Task(coroutine, loop=loop, **given)

    asyncio.get_running_loop().set_task_factory(make)
    with contained():
        task = asyncio.create_task(_end())
    with pytest.raises(RuntimeError, match="SystemExit: 3"):
        await task
    await asyncio.create_task(_cause())
    assert made == ["_end", "_cause"]
