"""The real engine, served: what tests of the edge over it do with it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Self

import aiohttp
import orjson

from api.app import create_app
from api.callers import LocalCallers
from api.edge import Services
from api.limits import Limits
from api.ports import Callers
from api.server import serving
from streams.bootstrap import Engine
from streams.bootstrap.sending import webhooks_of
from streams.clock import TimeOrderedIds
from streams.settings import Settings
from tests.api.engines import Start
from tests.api.reading import Seen, seen

JOBS = "/api/v1/jobs"
SSE = {"Accept": "text/event-stream"}
WAIT = 20.0


class Shop:
    """A served engine, and a client that speaks to it."""

    engine: Engine
    client: aiohttp.ClientSession
    port: int

    def __init__(
        self,
        start: Start,
        *,
        callers: Callable[[Engine], Callers] = lambda _: LocalCallers(),
        settings: Settings | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._start = start
        self._settings = settings or Settings()
        self._limits = limits or Limits()
        self._callers = callers
        self._open = AsyncExitStack()

    async def open(self) -> None:
        """Start an engine and serve it on a free port."""
        self.engine = engine = await self._open.enter_async_context(self._start())
        services = Services(
            gateway=engine.gateway,
            queries=engine.queries,
            hub=engine.hub,
            tail=engine.tail,
            broadcasts=engine.broadcasts,
            situation=engine.situation,
            messaging=engine.messaging,
            vitals=engine.vitals,
            registry=engine.registry,
            plans=engine.plans,
            trail=engine.trail,
            retention=engine.retention,
            webhooks=webhooks_of(self._settings, engine),
            annotations=engine.annotations,
        )
        app = create_app(
            services,
            clock=engine.clock,
            ids=TimeOrderedIds(),
            metrics=engine.vitals.metrics.registry,
            callers=self._callers(engine),
            limits=self._limits,
            tracing=engine.tracing,
        )
        listener = self._open.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        await self._open.enter_async_context(serving(app, listener, drain=5.0))
        session = aiohttp.ClientSession(f"http://127.0.0.1:{self.port}")
        self.client = await self._open.enter_async_context(session)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End it; what it has done stays."""
        await self._open.aclose()

    async def post(self, path: str, *, status: int = 202, **options: Any) -> Any:
        async with self.client.post(path, **options) as response:
            assert response.status == status, await response.text()
            return orjson.loads(await response.read())

    async def get(self, path: str, *, status: int = 200, **options: Any) -> Any:
        async with self.client.get(path, **options) as response:
            assert response.status == status, await response.text()
            return orjson.loads(await response.read())

    async def create(self, count: int, **fields: Any) -> Any:
        items = [{"name": f"thing {n}", "amount": 1} for n in range(count)]
        body = {"operation": "stock.create", "items": items, **fields}
        return await self.post("/api/v1/jobs", json=body)

    async def jobs(self) -> set[str]:
        """All that were ever stored, past the engine."""
        rows = await self.engine.database.read(
            lambda connection: connection.exec_driver_sql("SELECT job_id FROM job_control").all()
        )
        return {job_id for (job_id,) in rows}

    async def watched(
        self, job: Any, after: int = 0, *, headers: Mapping[str, str] | None = None
    ) -> list[Seen]:
        """All events behind a version, to the end of the stream."""
        headers = {**(headers or {}), **SSE, "Last-Event-ID": str(after)}
        async with (
            asyncio.timeout(WAIT),
            self.client.get(job["links"]["events"], headers=headers) as response,
        ):
            return list(seen(await response.read()))

    async def settled(
        self, job: Any, after: int = 0, *, headers: Mapping[str, str] | None = None
    ) -> Any:
        await self.watched(job, after, headers=headers)
        return await self.get(job["links"]["self"], headers=headers)
