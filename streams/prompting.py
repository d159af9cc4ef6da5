"""Prompting: a coordinator looks at a job as soon as little work of it is committed.

The hint that says so on the broker has a way of several milliseconds, which is a fifth of the
life of a job of one item. PostgreSQL tells of the commit itself. Whoever drives the job looks
then, once for all that it hears meanwhile; at one of which more is to be planned it has itself
look in turn, by a hint. What this one has missed is hinted at by the worker, a moment later
(:mod:`.reminding`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

import structlog

from domain.errors import Unavailable
from streams.envelope import Outgoing

log = structlog.get_logger(__name__)

AT_ONCE: Final = 4
"""Jobs that are looked at side by side."""
MOST_WAITING: Final = 1000
"""Of more than these the reminders tell."""


class Driving(Protocol):
    """A coordinator."""

    def drives(self, job_id: str) -> bool:
        """Whether this process keeps the job's aggregate."""
        ...

    async def prompted(self, job_id: str) -> Sequence[Outgoing]:
        """Record what was worked of a job, or say what has it recorded; returns what to send."""
        ...


class Prompter:
    """Looks at the jobs of which it hears, each once for all that it hears meanwhile."""

    def __init__(self, stage: Driving, send: Callable[[Outgoing], Awaitable[None]]) -> None:
        self._stage = stage
        self._send = send
        self._waiting: dict[str, None] = {}
        self._news = asyncio.Semaphore(0)

    def heard(self, job_id: str | None) -> None:
        """Little work of a job was committed; None: something may have been missed."""
        if job_id is None or job_id in self._waiting or len(self._waiting) >= MOST_WAITING:
            return
        if self._stage.drives(job_id):
            self._waiting[job_id] = None
            self._news.release()

    async def run(self) -> None:
        """Look, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._run())

    async def _run(self) -> None:
        while True:
            await self._news.acquire()
            job_id = next(iter(self._waiting))
            del self._waiting[job_id]
            await self._look(job_id)

    async def _look(self, job_id: str) -> None:
        outgoing: Sequence[Outgoing] = ()
        with _only_logged(job_id):
            outgoing = await self._stage.prompted(job_id)
        for one in outgoing:
            # What cannot be sent keeps nothing else back.
            with _only_logged(job_id):
                await self._send(one)


@contextmanager
def _only_logged(job_id: str) -> Iterator[None]:
    """One job that cannot be looked at here stops no other, and no coordinator."""
    try:
        yield
    except Unavailable as error:
        # A reminder has it looked at again, and the sweep what was not sent.
        log.warning("not_prompted", job_id=job_id, reason=error.message)
    except Exception:
        log.exception("not_prompted", job_id=job_id)
