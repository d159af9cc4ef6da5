"""Operation stream: the server-sent events of one bulk operation, in the platform's words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Final

import orjson
from aiohttp import web

from api import sse
from api.edge import Edge
from api.live import Telling, frames_of
from api.systems.annotations.alerts import MEMORY_ALERT, Alerts
from api.systems.annotations.operation_documents import figures
from api.systems.annotations.pace import Pace
from api.systems.annotations.seats import Seats
from api.systems.annotations.updates import LOOK_SECONDS, type_of, update, update_of_reading
from domain.events import JobStatus
from domain.job import Job
from streams.callers import Caller
from streams.live import LiveEvent
from streams.systems.annotations.load import Figures
from streams.systems.annotations.numbers import Numbered
from streams.systems.annotations.readings import Reading

PRESENT_SECONDS: Final = 5.0
"""Of an event that is older nobody knows any more what the workers used then."""


class OperationStream:
    """One client: what it is told of an operation, as on the platform's WebSocket."""

    def __init__(self, own: Edge, who: Caller, number: Numbered) -> None:
        self._own = own
        self._tenant = who.tenant
        self._number = number
        self._started_at: datetime | None = None
        self._running: dict[str, int] = {}
        self._alerts = Alerts(own)
        self._seats = Seats(own, who)
        self._pace: Pace | None = None

    def telling(self, job: Job) -> Telling:
        """What the live stream of the job needs for that."""
        self._started_at = job.started_at
        if not job.status.terminal:
            self._running = {self._number.job_id: self._number.operation_id}
        return Telling(self._worded, self._beside)

    async def from_reading(
        self, request: web.Request, reading: Reading
    ) -> AsyncGenerator[bytes, None]:
        """How its file is read; and then the events of its job, if one comes of it."""
        last: Reading | None = None
        now: Reading | None = reading
        waited = 0.0
        while now is not None:
            await self._seats.check(self._number.operation_id)
            if now != last:
                yield await self._told_of(now)
                last, waited = now, 0.0
            elif waited >= self._own.limits.heartbeat:
                yield sse.HEARTBEAT
                waited = 0.0
            if now.fault is not None:
                return
            await asyncio.sleep(LOOK_SECONDS)
            waited += LOOK_SECONDS
            now = await self._own.annotations.files.reading(self._number, self._tenant)
        job = await self._own.queries.job(self._tenant, self._number.job_id)
        async with aclosing(frames_of(request, job.id, self.telling(job))) as frames:
            async for frame in frames:
                yield frame

    async def _told_of(self, reading: Reading) -> bytes:
        load = await self._load(reading.seen_at)
        name, told = update_of_reading(self._number, reading, load)
        return sse.frame(name, orjson.dumps(told), None)

    async def _worded(self, event: LiveEvent) -> bytes:
        at = datetime.fromisoformat(event.data["at"])
        load, pace = await self._load(at), self._pace_at(event, at)
        told = update(event, self._number.operation_id, load, pace)
        name = type_of(JobStatus(event.data["status"]))
        return sse.frame(name, orjson.dumps(told), event.version)

    async def _beside(self) -> list[bytes]:
        await self._seats.check(self._number.operation_id)
        new = await self._alerts.new(self._running)
        return [sse.frame(MEMORY_ALERT, alert.model_dump_json().encode(), None) for alert in new]

    def _pace_at(self, event: LiveEvent, at: datetime) -> Pace:
        """From the first event that this client is told of."""
        if self._pace is None:
            told = event.data
            processed = figures(told["counts"])["processed"]
            self._pace = Pace(self._started_at, at, processed, told["items_per_second"])
        return self._pace

    async def _load(self, at: datetime) -> Figures | None:
        if (self._own.clock.now() - at).total_seconds() > PRESENT_SECONDS:
            return None
        return await self._own.annotations.load.lately(self._own.situation.workers)
