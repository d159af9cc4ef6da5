"""Calls of slow operations: in the event loop, in threads, in processes of their own.

A thread cannot be stopped, unless it asks by ``Context.heartbeat``: its place is free when it
ends, not when its time is up, and when those that hang hold all places of an operation the whole
process is replaced. One hangs that goes on beyond the timeout of its operation: a job that is less
patient fails its item sooner, and must not end a process for it. A process can be stopped, and
each works one item at a time: whoever dies, hangs or eats memory in it takes nobody else along.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextvars import copy_context
from dataclasses import dataclass, replace
from decimal import localcontext
from functools import partial
from typing import Any

from domain.calling import apply_by_name, refusal, validated
from domain.execution import failure_of, words_of
from domain.operation import Context, Operation
from domain.outcomes import Failed
from domain.planning import MAX_STARTS
from streams.containing import contained

PROCESSES = 2
GRACE_SECONDS = 1.0
"""How long a thread whose time is up may take to end, once it has asked."""
START_SECONDS = 60.0
"""How long a process may take to import an operation's module."""


@dataclass(frozen=True, slots=True)
class _Process:
    """A process that works one item at a time."""

    pool: ProcessPoolExecutor
    pid: int

    def end(self) -> None:
        """Stop it, whatever it is doing."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.pool.shutdown(wait=False, cancel_futures=True)


class Calls:
    """Calls functions of slow operations, of each so many at once as it declares.

    ``hung`` is called with a reason when the threads of an operation all hang.
    """

    def __init__(self, hung: Callable[[str], None]) -> None:
        self._hung = hung
        self._places: dict[str, asyncio.Semaphore] = {}
        self._threads: dict[str, ThreadPoolExecutor] = {}
        self._idle: dict[str, list[_Process]] = {}
        self._busy: set[_Process] = set()
        self._hanging: dict[str, set[Future[Any]]] = {}
        self._closed = False

    def close(self) -> None:
        """End the processes; threads end when their calls do, and nobody is told of them."""
        self._closed = True
        for process in (*self._busy, *(one for idle in self._idle.values() for one in idle)):
            process.end()
        self._idle.clear()
        for threads in self._threads.values():
            threads.shutdown(wait=False, cancel_futures=True)

    @contextlib.asynccontextmanager
    async def place(
        self, operation: Operation, seconds: float | None = None
    ) -> AsyncIterator[Place]:
        """Wait for a place; what is called in it has a thread or a process at once.

        ``seconds`` is what a job gives an item, where that is less than its operation does.
        """
        room = min(operation.concurrency, PROCESSES) if operation.cpu_bound else None
        free = self._places.setdefault(
            operation.kind, asyncio.Semaphore(room or operation.concurrency)
        )
        await free.acquire()
        place = Place(self, operation, operation.within(seconds).timeout)
        try:
            yield place
        finally:
            _when_done(place.thread, free.release)

    async def in_thread(self, place: Place, function: Callable[[], Any]) -> Any:
        """What the function returns; who stops waiting for it leaves it going in its thread."""
        operation = place.operation
        threads = self._threads.setdefault(
            operation.kind,
            ThreadPoolExecutor(operation.concurrency, thread_name_prefix=operation.kind),
        )
        call = place.thread = threads.submit(copy_context().run, function)
        loop = asyncio.get_running_loop()
        watch = loop.call_later(operation.timeout + GRACE_SECONDS, self._look, operation, call)
        try:
            return await asyncio.wrap_future(call)
        finally:
            if call.done():
                watch.cancel()

    async def in_process(self, place: Place, context: Context, item: Any) -> Any:
        """What the function returns, or how often its process died of it."""
        operation, function = place.operation, place.operation.apply
        for _ in range(MAX_STARTS):
            process = await self._process(operation)
            self._busy.add(process)
            try:
                call = process.pool.submit(
                    apply_by_name, function.__module__, function.__name__, context, item
                )
                returned = await _result(call, place.timeout)
            except BrokenProcessPool:
                process.end()
                continue
            except (asyncio.CancelledError, TimeoutError):
                process.end()
                raise
            except BaseException:
                self._idle[operation.kind].append(process)
                raise
            finally:
                self._busy.discard(process)
            self._idle[operation.kind].append(process)
            return returned
        return Failed(
            "worker_died",
            f"its process died {MAX_STARTS} times while it worked it; mend what ends it (an exit, "
            "a fault in native code, memory), then retry",
        )

    async def _process(self, operation: Operation) -> _Process:
        idle = self._idle.setdefault(operation.kind, [])
        if idle:
            return idle.pop()
        pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        try:
            pid = await _result(pool.submit(_arrive, operation.apply.__module__), START_SECONDS)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return _Process(pool, pid)

    def _look(self, operation: Operation, call: Future[Any]) -> None:
        """A thread that still goes on, a moment after the time of its operation is over, hangs."""
        if call.done() or self._closed:
            return
        hanging = self._hanging.setdefault(operation.kind, set())
        hanging.add(call)
        _when_done(call, partial(hanging.discard, call))
        if len(hanging) >= operation.concurrency:
            self._hung(f"all {len(hanging)} threads of {operation.kind} hang")


class Place:
    """One of the places of an operation, for one call of ``timeout`` seconds."""

    def __init__(self, calls: Calls, operation: Operation, timeout: float) -> None:
        self._calls = calls
        self.operation = operation
        self.timeout = timeout
        self.thread: Future[Any] | None = None

    async def call(self, context: Context, item: Any) -> Any:
        """What the operation returns for an item, or the refusal of its validation."""
        try:
            return await self._call(context, item)
        except Exception:
            raise
        except BaseException as escaped:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return failure_of(escaped)

    async def _call(self, context: Context, item: Any) -> Any:
        if self.operation.cpu_bound:
            return await self._calls.in_process(self, context, item)
        # Contexts that are copied share that of decimals: who changes it would do so for all.
        with localcontext():
            return await self._in_time(context, item)

    async def _in_time(self, context: Context, item: Any) -> Any:
        left = threading.Event()
        heard = replace(context, heartbeat=partial(_beat, left))
        try:
            async with asyncio.timeout(self.timeout):
                if self.operation.is_async:
                    return await self._awaited(heard, item)
                work = partial(validated, self.operation, heard, item)
                return await self._calls.in_thread(self, work)
        finally:
            left.set()

    async def _awaited(self, context: Context, item: Any) -> Any:
        """Its validation is no coroutine, and would hold up the event loop."""
        operation = self.operation
        if operation.validate is not None:
            look = partial(refusal, operation, context, item)
            rejected = await self._calls.in_thread(self, look)
            if rejected is not None:
                return rejected
        with contained():
            return await operation.apply(context, item)


def _beat(left: threading.Event) -> None:
    if left.is_set():
        raise CancelledError(
            "nobody waits for this call any more: its time is up, its job was stopped, or another "
            "worker has the item; end it"
        )


async def _result(call: Future[Any], seconds: float) -> Any:
    async with asyncio.timeout(seconds):
        return await asyncio.wrap_future(call)


def _when_done(call: Future[Any] | None, then: Callable[[], object]) -> None:
    """Call ``then`` in this event loop, now or when the call has ended."""
    if call is None or call.done() or call.cancel():
        then()
        return
    loop = asyncio.get_running_loop()

    def ended(_: Future[Any]) -> None:
        # A loop that was closed meanwhile needs no places.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(then)

    call.add_done_callback(ended)


def _arrive(module: str) -> int:
    """In a new process: have the operation's module at hand; returns the process id.

    Raises ImportError with the words of whatever hinders that, which may be of no use elsewhere.
    """
    try:
        importlib.import_module(module)
    except BaseException as error:
        raise ImportError(words_of(error)) from error
    return os.getpid()
