"""A whole embedded engine in the test's own process, with the stock plug-in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest

from domain.commands import JobSpec
from domain.events import JobStatus
from domain.job import Job
from domain.registry import Registry
from streams.bootstrap import Engine, embedded
from streams.callers import Caller
from streams.settings import Settings
from tests.databases import database_url
from tests.engine.stock import operations
from tests.memory import ENOUGH_MIB

__all__ = ["database_url"]

CALLER = Caller("local", "tester")


async def lines(items: Iterable[Any]) -> AsyncIterator[bytes]:
    """Items as the edge hands them on."""
    yield b"\n".join(orjson.dumps(item) for item in items) + b"\n"


class Desk:
    """What tests ask of an engine, in few words."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def submit(self, operation: str, items: Iterable[Any], **fields: Any) -> str:
        spec = JobSpec(operation=operation, **fields)
        decision = await self.engine.gateway.submit(CALLER, spec, lines(items), key=None)
        return decision.job_id

    async def command(self, job_id: str, verb: Any) -> None:
        await self.engine.gateway.command(CALLER, job_id, verb, "")

    async def job(self, job_id: str) -> Job:
        return await self.engine.queries.job("local", job_id)

    async def settle(self, job_id: str, seconds: float = 60.0) -> Job:
        """The job once it has come to rest."""
        async with asyncio.timeout(seconds):
            while True:
                job = await self.job(job_id)
                if job.status.terminal:
                    return job
                await asyncio.sleep(0.01)

    async def until(self, job_id: str, status: JobStatus, seconds: float = 30.0) -> Job:
        async with asyncio.timeout(seconds):
            while True:
                job = await self.job(job_id)
                if job.status is status:
                    return job
                await asyncio.sleep(0.005)

    async def when(self, sql: str, seconds: float = 30.0) -> None:
        """Return once the query finds something."""
        async with asyncio.timeout(seconds):
            while True:
                if await self.rows(sql):
                    return
                await asyncio.sleep(0.01)

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        found = await self.engine.database.read(
            lambda connection: connection.exec_driver_sql(sql).all()
        )
        return [tuple(row) for row in found]


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """One process with the memory broker, on either database."""
    return Settings(data_dir=tmp_path, database=database_url, worker_memory_budget=ENOUGH_MIB)


@pytest.fixture
async def desk(settings: Settings) -> AsyncIterator[Desk]:
    async with embedded(settings, Registry(operations)) as engine:
        yield Desk(engine)
