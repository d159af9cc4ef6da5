"""Waking: a job that waits for a moment is looked at when it has come.

The timer is a row, written in the transaction that changes what the job waits for, so no
restart loses it. It is sent again and again until the job has taken it back. Moments that
are nearer than timers can tell apart are kept by alarms, in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

import structlog
from sqlalchemy import Connection

from domain.errors import CountermandError
from domain.job import Job
from domain.ports import Ids
from streams.envelope import Outgoing, look_at
from streams.stores.decisions import drop_timer, set_timer

log = structlog.get_logger(__name__)

Wake = Callable[[str, float], None]
"""Have a job looked at in so many seconds."""


def keep_timer(connection: Connection, job: Job, before: datetime | None) -> None:
    """Have the job's timer say when it must be looked at; ``before`` is what it said."""
    due = job.wakes_at
    if due == before:
        return
    timer_id = f"{job.id}.due"
    drop_timer(connection, timer_id)
    if due is not None:
        set_timer(connection, timer_id, due.timestamp(), look_at(job.id, timer_id).value)


class Alarms:
    """Hints to look at jobs, each sent at its moment; one a job, and lost with the process."""

    def __init__(self, ids: Ids, send: Callable[[Outgoing], Awaitable[None]]) -> None:
        self._ids = ids
        self._send = send
        self._set: dict[str, asyncio.TimerHandle] = {}
        self._ringing: set[asyncio.Task[None]] = set()

    def set(self, job_id: str, seconds: float) -> None:
        """Send the hint in so many seconds, instead of when an earlier call has said."""
        before = self._set.pop(job_id, None)
        if before is not None:
            before.cancel()
        loop = asyncio.get_running_loop()
        self._set[job_id] = loop.call_later(max(seconds, 0.0), self._ring, job_id)

    async def aclose(self) -> None:
        """Ring no more."""
        for handle in self._set.values():
            handle.cancel()
        self._set.clear()
        for task in self._ringing:
            task.cancel()
        await asyncio.gather(*self._ringing, return_exceptions=True)

    def _ring(self, job_id: str) -> None:
        del self._set[job_id]
        task = asyncio.ensure_future(self._hint(job_id))
        self._ringing.add(task)
        task.add_done_callback(self._ringing.discard)

    async def _hint(self, job_id: str) -> None:
        try:
            await self._send(look_at(job_id, self._ids.new()))
        except CountermandError as error:
            log.warning("alarm_not_sent", job_id=job_id, reason=error.message)
