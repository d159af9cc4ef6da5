"""Express: what takes a few milliseconds is worked beside what takes longer, not behind it.

A slot works one message of a topic at a time, and beside it one that is short. What belongs to
one job is never worked out of its order, nor two of it at a time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from streams.envelope import WorkMode

E = TypeVar("E")

AHEAD = 32
"""Events that are read and not done, but for one that waits for room. Places for work in flight are
three a slot over all slots, but work in order goes where its job's key says, so that one slot may
have more of it."""


class NotBegun(Exception):
    """Raised for a message of which nothing is begun, and whose time is over: others work it."""


class Line(Enum):
    """Where an event is worked; one at a time in each."""

    EXPRESS = "express"
    MAIN = "main"


@dataclass(frozen=True, slots=True, eq=False)
class Entry(Generic[E]):
    """An event that waits or is worked, of which job it is, and what may be worked beside it."""

    event: E
    job_id: str
    mode: WorkMode

    @property
    def line(self) -> Line:
        """Where it is worked."""
        return Line.EXPRESS if self.mode is WorkMode.CONCURRENT else Line.MAIN


class Express(Generic[E]):
    """Works the events of one stream, once, in two lines.

    ``classify`` tells what an event is. ``handle`` does what is to be done for it, and
    acknowledges it. ``forget_if_late`` is asked of events that wait: one whose time is over is
    forgotten, and handled by whoever has its partition now. ``guarded`` stands around whatever
    may fail in a task that nobody waits for.
    """

    def __init__(
        self,
        classify: Callable[[E], Entry[E]],
        handle: Callable[[E], Awaitable[object]],
        forget_if_late: Callable[[E], bool],
        guarded: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self._classify = classify
        self._handle = handle
        self._forget_if_late = forget_if_late
        self._guarded = guarded
        self._waiting: deque[Entry[E]] = deque()
        self._working: dict[Line, Entry[E]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(AHEAD)

    async def run(self, events: AsyncIterable[E]) -> None:
        """Work events until there are no more and all are done; who is cancelled ends them all."""
        try:
            async for event in events:
                await self._room.acquire()
                self._waiting.append(self._classify(event))
                self._begin()
            while self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            # A group of tasks would raise once more what has ended the process already.
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self) -> None:
        self._forget_late()
        for line in Line:
            if line not in self._working and (entry := self._next(line)) is not None:
                self._waiting.remove(entry)
                self._working[line] = entry
                task = asyncio.create_task(self._work(line, entry))
                self._tasks.add(task)
                task.add_done_callback(self._ended)

    def _forget_late(self) -> None:
        for entry in list(self._waiting):
            if self._forget_if_late(entry.event):
                self._waiting.remove(entry)
                self._room.release()

    def _next(self, line: Line) -> Entry[E] | None:
        """The first of the line that has nothing of its job before it."""
        if any(entry.mode is WorkMode.EXCLUSIVE for entry in self._working.values()):
            return None
        before = {entry.job_id for entry in self._working.values()}
        for entry in self._waiting:
            if entry.mode is WorkMode.EXCLUSIVE:
                # Those behind it wait as well, or there would always be something beside it.
                return entry if line is entry.line and not self._working else None
            if entry.line is line and entry.job_id not in before:
                return entry
            before.add(entry.job_id)
        return None

    async def _work(self, line: Line, entry: Entry[E]) -> None:
        with self._guarded():
            await self._handle(entry.event)
            del self._working[line]
            self._room.release()
            self._begin()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Whatever it was has ended the process; asyncio would say that nobody asked.
            task.exception()
