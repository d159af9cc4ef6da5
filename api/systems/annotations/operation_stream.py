"""Operation stream: the server-sent events of one bulk operation, in the platform's words."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import orjson

from api import sse
from api.edge import Edge
from api.live import Telling
from api.systems.annotations.alerts import MEMORY_ALERT, Alerts
from api.systems.annotations.operation_documents import figures
from api.systems.annotations.pace import Pace
from api.systems.annotations.updates import type_of, update
from domain.events import JobStatus
from domain.job import Job
from streams.live import LiveEvent
from streams.systems.annotations.load import Figures
from streams.systems.annotations.numbers import Numbered

PRESENT_SECONDS: Final = 5.0
"""Of an event that is older nobody knows any more what the workers used then."""


class OperationStream:
    """One client: what it is told of an operation, as on the platform's WebSocket."""

    def __init__(self, own: Edge, number: Numbered, job: Job) -> None:
        self._own = own
        self._number = number
        self._started_at = job.started_at
        self._running = {} if job.status.terminal else {number.job_id: number.operation_id}
        self._alerts = Alerts(own)
        self._pace: Pace | None = None

    @property
    def telling(self) -> Telling:
        """What the live stream of the job needs for that."""
        return Telling(self._worded, self._beside)

    async def _worded(self, event: LiveEvent) -> bytes:
        at = datetime.fromisoformat(event.data["at"])
        load, pace = await self._load(at), self._pace_at(event, at)
        told = update(event, self._number.operation_id, load, pace)
        name = type_of(JobStatus(event.data["status"]))
        return sse.frame(name, orjson.dumps(told), event.version)

    async def _beside(self) -> list[bytes]:
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
