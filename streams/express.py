"""Express: what takes a few milliseconds is taken beside what takes longer, not behind it.

A slot takes one message of a topic at a time, and beside a long one a short one. What belongs
to one job is never taken out of its order, nor two of it at a time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from streams.envelope import Take

E = TypeVar("E")

AHEAD = 32
"""Events that are read and not done, at most. Places for work in flight are three a slot over all
slots, but work in order goes where its job's key says, so that one slot may have more of it."""


class Lane(Enum):
    """Where an event is taken; each takes one at a time, a short one the first that is free."""

    SHORT = "short"
    ANY = "any"


@dataclass(frozen=True, slots=True, eq=False)
class Entry(Generic[E]):
    """An event that waits or is taken, of which job it is, and how it is to be taken."""

    event: E
    job_id: str
    take: Take


class Express(Generic[E]):
    """Takes the events of one stream, in two lanes.

    ``seen`` tells what an event is; ``take`` does what is to be done for it, acknowledges it, and
    raises nothing that does not end the process; ``let_go`` forgets one that has not been taken,
    and says so, if its time is over.
    """

    def __init__(
        self,
        seen: Callable[[E], Entry[E]],
        take: Callable[[E], Awaitable[object]],
        let_go: Callable[[E], bool],
    ) -> None:
        self._seen = seen
        self._take = take
        self._let_go = let_go
        self._waiting: deque[Entry[E]] = deque()
        self._taken: dict[Lane, Entry[E]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(AHEAD)

    async def run(self, events: AsyncIterable[E]) -> None:
        """Take events until there are no more, and all are done; of cancelled ones none is."""
        try:
            async for event in events:
                await self._room.acquire()
                self._waiting.append(self._seen(event))
                self._begin()
            while self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            # A group of tasks would raise once more what has ended the process already.
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self) -> None:
        for late in [each for each in self._waiting if self._let_go(each.event)]:
            self._waiting.remove(late)
            self._room.release()
        for lane in Lane:
            if lane not in self._taken and (entry := self._next(lane)) is not None:
                self._waiting.remove(entry)
                self._taken[lane] = entry
                task = asyncio.create_task(self._work(lane, entry))
                self._tasks.add(task)
                task.add_done_callback(self._ended)

    def _next(self, lane: Lane) -> Entry[E] | None:
        """The first that the lane takes, and that has nothing of its job before it."""
        if any(entry.take is Take.ALONE for entry in self._taken.values()):
            return None
        before = {entry.job_id for entry in self._taken.values()}
        for entry in self._waiting:
            if entry.take is Take.ALONE:
                # Those behind it wait as well, or it would never be alone.
                return entry if lane is Lane.ANY and not self._taken else None
            if entry.job_id not in before and (entry.take is Take.BESIDE or lane is Lane.ANY):
                return entry
            before.add(entry.job_id)
        return None

    async def _work(self, lane: Lane, entry: Entry[E]) -> None:
        await self._take(entry.event)
        del self._taken[lane]
        self._room.release()
        self._begin()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # What ended the process has been told; asyncio would complain that nobody asked.
            task.exception()
