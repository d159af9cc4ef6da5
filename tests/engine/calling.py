"""Slow operations that die, hang or escape; in a file of their own, as a plug-in's are.

A process imports the file of its operation, and that of the tests brings the whole engine along.
"""

from __future__ import annotations

import asyncio
import decimal
import os
import threading
import time
from contextvars import ContextVar

from domain.operation import Context, operation
from domain.outcomes import Done, Failed, Restored, Result, UndoResult
from tests.engine.stock import Number

BEGUN, RELEASE = threading.Event(), threading.Event()


def _nothing(_ctx: Context, _item: object, _result: object) -> UndoResult:
    return Restored()


@operation("calls.die", item=Number, cpu_bound=True, inverse=_nothing)
def die(_ctx: Context, item: Number) -> Result:
    """Take the process down for the number 7."""
    if item.number == 7:
        os._exit(9)
    return Done(item.number)


@operation("calls.stick", item=Number, cpu_bound=True, inverse=_nothing)
def stick(_ctx: Context, item: Number) -> Result:
    """Never come back for even numbers."""
    while item.number % 2 == 0:
        time.sleep(0.05)
    return Done(item.number)


def _refuse_odd(_ctx: Context, item: Number) -> Failed | None:
    assert threading.current_thread() is not threading.main_thread(), "the loop waits"
    return Failed("odd", "odd numbers are refused") if item.number % 2 else None


@operation("calls.hang", item=Number, slow=True, concurrency=2, validate=_refuse_odd)
def hang(_ctx: Context, item: Number) -> Result:
    """Come back late from the number 0."""
    if item.number == 0:
        BEGUN.set()
        RELEASE.wait(30)
    return Done(item.number)


@operation("calls.ask", item=Number, slow=True, validate=_refuse_odd)
async def ask(_ctx: Context, item: Number) -> Result:
    """Ask somebody else."""
    return Done(item.number)


def _escape(item: Number) -> Result:
    escapes = {1: SystemExit(3), 2: KeyboardInterrupt(), 3: asyncio.CancelledError()}
    if item.number in escapes:
        raise escapes[item.number]
    return Done(item.number)


@operation("calls.escape_thread", item=Number, slow=True)
def escape_thread(_ctx: Context, item: Number) -> Result:
    """Raise what would end a thread's task."""
    return _escape(item)


@operation("calls.escape_loop", item=Number, slow=True)
async def escape_loop(_ctx: Context, item: Number) -> Result:
    """Raise what would end the event loop."""
    return _escape(item)


@operation("calls.escape_process", item=Number, cpu_bound=True, inverse=_nothing)
def escape_process(_ctx: Context, item: Number) -> Result:
    """Raise what would end a process."""
    return _escape(item)


class AnswerError(Exception):
    """Cannot be read back where it did not happen, as its words do not make one."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body}")


@operation("calls.answer", item=Number, cpu_bound=True)
def answer(_ctx: Context, item: Number) -> Result:
    """Raise, return or be told to fail with what no other process can read."""
    error = AnswerError(404, "gone")
    if item.number == 1:
        raise error
    if item.number == 2:
        return Failed("gone", "not there", details=error)
    return Done({"said": error})


_CAUSE: ContextVar[str] = ContextVar("cause", default="none")


@operation("calls.remember", item=Number, cpu_bound=True)
def remember(_ctx: Context, item: Number) -> Result:
    """What the call before it has left in its process."""
    found = [_CAUSE.get(), decimal.getcontext().prec]
    _CAUSE.set(str(item.number))
    decimal.getcontext().prec = 3
    return Done([os.getpid(), *found])


operations = (die, stick, hang, ask, escape_thread, escape_loop, escape_process, answer)
