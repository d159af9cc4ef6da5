"""Containing: what would end the process, raised in a task that a handler has begun.

A task that raises SystemExit or KeyboardInterrupt ends the event loop as well, and with it the
process, whoever waits for the task. For tasks of handlers (``gather``, ``wait_for``, a
``TaskGroup``) they are an error like any other, which reaches the handler and fails its item.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from domain.execution import words_of

ENDS = (SystemExit, KeyboardInterrupt)
"""What a task raises past whoever waits for it, out of the event loop."""
_HANDLING: ContextVar[bool] = ContextVar("countermand_handling", default=False)
"""Whether a handler is at work; the tasks that it begins, and those of theirs, inherit it."""


@contextmanager
def contained() -> Iterator[None]:
    """Within it, and in the tasks begun within it, nothing that is raised ends the event loop."""
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    if not isinstance(before, _Factory):
        loop.set_task_factory(_Factory(before))
    token = _HANDLING.set(True)
    try:
        yield
    finally:
        _HANDLING.reset(token)


@dataclass(frozen=True, slots=True)
class _Factory:
    """Makes tasks as the loop did ``before``; only those of handlers are contained."""

    before: Callable[..., asyncio.Future[Any]] | None

    def __call__(
        self, loop: asyncio.AbstractEventLoop, coroutine: Any, **given: Any
    ) -> asyncio.Future[Any]:
        begun = _Contained(coroutine) if _HANDLING.get() else coroutine
        if self.before is not None:
            return self.before(loop, begun, **given)
        return asyncio.Task(begun, loop=loop, **given)


class _Contained(Coroutine[Any, Any, Any]):
    """A coroutine, of which what would end the event loop comes out as an error.

    No coroutine around it: one that is cancelled before it begins would leave it unawaited.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def send(self, value: Any) -> Any:
        try:
            return self._inner.send(value)
        except ENDS as escaped:
            raise _error(escaped) from escaped

    def throw(self, *thrown: Any) -> Any:
        try:
            return self._inner.throw(*thrown)
        except ENDS as escaped:
            raise _error(escaped) from escaped

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield from self._inner.__await__())

    def __getattr__(self, name: str) -> Any:
        """Its name and its frames, as tracebacks and those who list tasks ask for them."""
        return getattr(self._inner, name)


def _error(escaped: BaseException) -> RuntimeError:
    return RuntimeError(f"a task of the handler raised {words_of(escaped)}")
