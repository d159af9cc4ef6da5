"""Threads: work of the caller's that may block for ever, beside the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context, copy_context
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
_Asked = tuple[Future[Any], Context, Callable[[], Any]]


class Unawaited:
    """A thread for one thing after another, that nobody waits for.

    Those of an executor are waited for: where its loop ends, and where Python does.
    """

    def __init__(self) -> None:
        self._asked: SimpleQueue[_Asked | None] = SimpleQueue()
        threading.Thread(
            target=_serve, args=(self._asked,), name="countermand-items", daemon=True
        ).start()

    async def do(self, work: Callable[[], T]) -> T:
        """What ``work`` gives; cancelled, it goes on, and what it gives is thrown away."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        self._asked.put((future, copy_context(), work))
        try:
            return await asyncio.wrap_future(future)
        finally:
            # It knows what was raised, which knows this frame by its traceback: no cycle is left.
            del future

    def end(self) -> None:
        """Do no more."""
        self._asked.put(None)


def _serve(asked: SimpleQueue[_Asked | None]) -> None:
    while (one := asked.get()) is not None:
        _settle(*one)
        del one


def _settle(future: Future[Any], context: Context, work: Callable[[], Any]) -> None:
    try:
        result = context.run(work)
    except BaseException as error:  # it is raised where it is waited for
        future.set_exception(error)
    else:
        future.set_result(result)
    finally:
        del future
