"""The edge on a real socket, over an engine in memory."""

from __future__ import annotations

import itertools
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from pydantic import BaseModel
from sqlalchemy import Column, Integer, MetaData, String, Table

from api.app import create_app
from api.edge import Services
from api.limits import Limits
from api.ports import Callers
from api.server import serving
from domain.operation import Context, operation
from domain.outcomes import Done
from domain.registry import Registry
from streams.clock import SystemClock
from streams.rates import Rate
from tests.api.engine import MemoryEngine
from tests.api.hooks import NoPlatform, NoWebhooks


class Number(BaseModel):
    n: int


class Scale(BaseModel):
    factor: int = 1


numbers = Table(
    "numbers",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("tenant", String(100), nullable=False),
    Column("version", Integer, nullable=False),
    Column("n", Integer),
)


@operation("test.double", item=Number, params=Scale, tables=[numbers])
def double(ctx: Context, item: Number) -> Done:
    """Doubles a number."""
    return Done({"n": item.n * 2})


class CountingIds:
    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def new(self) -> str:
        return f"request-{next(self._numbers)}"


@dataclass
class Site:
    """A served edge: its address, a client, and the engine behind it."""

    url: str
    port: int
    client: aiohttp.ClientSession
    engine: MemoryEngine
    limits: Limits


@asynccontextmanager
async def site_of(
    engine: MemoryEngine,
    limits: Limits | None = None,
    *,
    send_buffer: int | None = None,
    callers: Callers | None = None,
    rate: Rate | None = None,
) -> AsyncIterator[Site]:
    """The edge, served; ``send_buffer`` is what the kernel holds for a client, in bytes."""
    limits = limits or Limits()
    services = Services(
        gateway=engine,
        queries=engine,
        hub=engine.hub,
        tail=engine.tail,
        broadcasts=engine.broadcasts,
        situation=engine,
        messaging=engine,
        vitals=engine,
        registry=engine.registry,
        plans=engine,
        trail=engine,
        retention=engine.rules_kept,
        webhooks=NoWebhooks(),
        annotations=NoPlatform(),
    )
    app = create_app(
        services,
        clock=SystemClock(),
        ids=CountingIds(),
        metrics=CollectorRegistry(),
        limits=limits,
        callers=callers,
        rate=rate,
    )
    with socket.socket() as listener:
        if send_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        async with serving(app, listener, drain=5.0), aiohttp.ClientSession(url) as client:
            yield Site(url, port, client, engine, limits)


@pytest.fixture
def engine() -> MemoryEngine:
    return MemoryEngine(Registry([double]))


@pytest.fixture
async def site(engine: MemoryEngine) -> AsyncIterator[Site]:
    async with site_of(engine) as served:
        yield served
