"""Loops: what an engine does again and again beside its messages, and how it starts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import structlog

from domain.errors import Unavailable
from streams.logs import first_line

log = structlog.get_logger(__name__)

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 5.0

T = TypeVar("T")


async def _to_nobody(_reason: str) -> None: ...


async def patiently(
    step: Callable[[], Awaitable[T]],
    waits: Callable[[str], Awaitable[None]] = _to_nobody,
    *,
    longest: float = LONGEST_PAUSE,
) -> T:
    """The result of a step; what it needs may be away for as long as it likes.

    ``waits`` is told why after each try, the log when it is another reason; ``longest`` is the
    longest pause between two tries in seconds.
    """
    said, pause = "", min(FIRST_PAUSE, longest)
    while True:
        try:
            return await step()
        except Unavailable as error:
            reason = error.message
        if reason != said:
            log.warning("waiting", reason=reason)
        said = reason
        await waits(reason)
        await asyncio.sleep(pause)
        pause = min(pause * 2, longest)


async def in_thread(function: Callable[[], T]) -> T:
    """The result of a function that blocks; a cancellation waits for its end.

    A thread cannot be cancelled. One that went on by itself would use a database that is
    closed meanwhile, or a folder whose lock is given to somebody else.
    """
    return await to_its_end(asyncio.to_thread(function))


async def to_its_end(work: Awaitable[T]) -> T:
    """The result of what cannot be stopped, as a thread does it; a cancellation waits for its end.

    Whoever is cancelled may so change what the thread uses as well.
    """
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            # Told to end again, it waits all the same.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        if not running.cancelled() and (error := running.exception()) is not None:
            reason = f"{type(error).__name__}: {first_line(str(error))}"
            log.warning("failed_at_the_end", reason=reason)
        raise


@contextlib.asynccontextmanager
async def background(loops: list[Any]) -> AsyncIterator[None]:
    """Run loops until the context is left; the first that fails ends the engine."""
    main = asyncio.current_task()
    failed: list[BaseException] = []

    def ended(task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and task.exception() is not None and main is not None:
            failed.append(task.exception())  # type: ignore[arg-type]
            main.cancel()

    tasks = [asyncio.ensure_future(loop) for loop in loops]
    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield
    except asyncio.CancelledError:
        if failed:
            raise failed[0] from None
        raise
    finally:
        for task in tasks:
            task.remove_done_callback(ended)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def every(seconds: float, work: Callable[[], Awaitable[Any]]) -> None:
    """Repeat; what is unavailable now is tried again the next time."""
    while True:
        try:
            await work()
        except Unavailable as error:
            log.warning("waiting", reason=error.message)
        await asyncio.sleep(seconds)


async def at_news(
    news: asyncio.Event, work: Callable[[], Awaitable[None]], *, pause: float = 0.0
) -> None:
    """Work at the start, ``pause`` seconds after news, and once a second without any."""
    while True:
        await asyncio.sleep(pause)
        news.clear()
        try:
            await work()
        except Unavailable as error:
            log.warning("waiting", reason=error.message)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await news.wait()


async def until_done(step: Callable[[], Awaitable[bool]]) -> None:
    """Repeat a step until it says that there is no more to do."""
    while await step():
        pass
