"""Receiver: a real server at the other end of webhooks, and a post office that sends to it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web
from standardwebhooks import Webhook

from domain.registry import Registry
from domain.webhooks import MAX_WAITING, Subscription
from streams.bootstrap import prepare
from streams.callers import Caller
from streams.failpoints import Failpoints
from streams.stores.database import Database
from streams.webhooks import Addresses, Courier, Delivered, NewWebhook, Webhooks
from streams.webhooks.sending import Post
from tests.engine.stages import Counter, Stages
from tests.engine.stock import operations

LOCAL = Addresses.of("127.0.0.0/8", http=True)
ADMIN = Caller("local", "ada")

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Got:
    """A request that came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def document(self) -> Any:
        return orjson.loads(self.body)

    def is_signed_by(self, secret: str) -> bool:
        """By the word of another implementation, which knows no simulated time."""
        at = datetime.fromtimestamp(int(self.headers["webhook-timestamp"]), UTC)
        wanted = Webhook(secret).sign(self.id, at, self.body.decode())
        return wanted in self.headers["webhook-signature"].split(" ")


@dataclass
class Receiver:
    """What came, and what is answered; ``answering`` overrides the status."""

    url: str = ""
    status: int = 200
    answering: Answering | None = None
    got: list[Got] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        names = {name.lower(): value for name, value in request.headers.items()}
        self.got.append(Got(request.path, names, await request.read()))
        self.came.set()
        if self.answering is not None:
            return await self.answering(request)
        return web.Response(status=self.status)

    @property
    def ids(self) -> list[str]:
        return [one.id for one in self.got]


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A server on a free port."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield receiver
    finally:
        await runner.cleanup()


class Hex:
    """Ids as webhooks have them."""

    def __init__(self) -> None:
        self._ids = Counter()

    def new(self) -> str:
        return f"{int(self._ids.new().removeprefix('id-')):032x}"


class PostOffice:
    """Stages with a courier, under a clock that a test moves."""

    most_waiting = MAX_WAITING

    def __init__(self, database: Database, post: Post, addresses: Addresses = LOCAL) -> None:
        prepare(database, registry := Registry(operations))
        self.stages = Stages(database, registry)
        self.clock = self.stages.clock
        self.delivered = Delivered()
        self._post = post
        self._addresses = addresses
        self._ids = Hex()
        self._draw = random.Random(7).randbytes
        self.restart()

    def restart(self) -> None:
        """Another process: what was in memory is gone."""
        self.webhooks = Webhooks(
            database=self.stages.database,
            clock=self.clock,
            ids=self._ids,
            draw=self._draw,
            addresses=self._addresses,
            most_waiting=self.most_waiting,
        )
        self.news = asyncio.Event()
        self.courier = Courier(
            database=self.stages.database,
            recorder=self.stages.recorder,
            mapper=self.stages.jobs.job_mapper,
            clock=self.clock,
            draw=lambda: 0.5,
            post=self._post,
            delivered=self.delivered,
            news=self.news,
            failpoints=Failpoints(),
            most_waiting=self.most_waiting,
        )

    async def hook(self, url: str, *events: str, caller: Caller = ADMIN, **more: Any) -> NewWebhook:
        wanted = Subscription(url=url, events=events or ("job.finished",), **more)
        return await self.webhooks.create(caller, wanted)

    async def job(self, *names: str, operation: str = "stock.create", **fields: Any) -> str:
        """A job that has come to rest."""
        items = [{"name": name} for name in names or ("a",)]
        job_id = await self.stages.submit(operation, items, **fields)
        await self.stages.work_out()
        return job_id

    async def look(self, rounds: int = 20) -> None:
        """Deliver what is due, until nothing more is."""
        for _ in range(rounds):
            await self.courier.look()
            await self.courier.quiet()

    async def exhaust(self) -> None:
        """Let time pass and deliver, until nothing waits any more."""
        await self.look(2)
        while (due := await self._next_due()) is not None:
            self.clock.pass_seconds(max(0.0, due - self.clock.now().timestamp()))
            await self.look(2)

    async def _next_due(self) -> float | None:
        rows = await self.stages.rows(
            "SELECT min(due) FROM webhook_deliveries WHERE state = 'waiting'"
        )
        due: float | None = rows[0][0]
        return due

    async def states(self, webhook_id: str) -> list[tuple[str, int]]:
        """State and attempts of each delivery, in order."""
        rows = await self.stages.rows(
            "SELECT state, attempts FROM webhook_deliveries "
            f"WHERE webhook_id = '{webhook_id}' ORDER BY position"
        )
        return [(state, attempts) for state, attempts in rows]
