"""Embedded: the whole engine in one process, over the broker in memory.

A database, and the same Faust agents that run on Kafka. The process locks of the data directory
and of the SQLite file prove that this is the only one, or its occupancy of the PostgreSQL database.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog
from eventsourcing.persistence import Recording

from domain.registry import Registry
from streams import app as faust_apps
from streams import defaults
from streams.agents import Sender
from streams.app import FaustSettings
from streams.awaiting import Waiting
from streams.bootstrap import parts
from streams.bootstrap.parts import Base, Engine, Readers
from streams.bootstrap.plugins import installed_operations, prepare
from streams.bootstrap.sending import deliver
from streams.bootstrap.tracing import closing
from streams.broadcasts import Broadcasts
from streams.envelope import Outgoing
from streams.gauging import Gauge
from streams.life import begin_life, last_life
from streams.limits import Limits
from streams.live import LiveHub
from streams.liveness import Lane
from streams.looking import LookingWorker
from streams.loops import background, every, in_thread, patiently
from streams.memory_messaging import InMemory
from streams.places import LivePlaces
from streams.process_lock import acquire_file
from streams.queries import Queries
from streams.relay import LiveRelay
from streams.retaining import Retained
from streams.settings import MOST_OF_HOST, Settings
from streams.situation import itself
from streams.stores import audit, sealing
from streams.stores.database import Database
from streams.stores.occupancy import Occupancy, Waits, tells_who_works
from streams.stores.sealing import InstallationKey
from streams.stores.workers import WorkerRow
from streams.sweep import Sweep, undriven
from streams.timers import Timers
from streams.topology import StageName, all_topics
from streams.tracing import Tracing
from streams.trail import Trail
from streams.transport.memory import MemoryBroker, memory_transport
from streams.vitals import Vitals
from streams.waking import Alarms
from streams.webhooks import Delivered

PUBLICATION_PAUSE = 0.02
"""Those who read live in this process have been shown its events before they are published."""

LONG_SECONDS = 10.0
"""After which a step of the start is said and answered for, as one that waits is: a migration of a
large database takes as long as it takes, and is not given up for that."""

log = structlog.get_logger(__name__)

T = TypeVar("T")
Meanwhile = Callable[[Vitals], contextlib.AbstractAsyncContextManager[None]]
"""What goes on while an engine cannot start; its vitals say what it waits for."""


class _Start:
    """The steps of a start: each is taken once what it needs is there."""

    def __init__(self, vitals: Vitals, meanwhile: Meanwhile | None) -> None:
        self._vitals = vitals
        self._meanwhile = meanwhile
        self._entered = contextlib.AsyncExitStack()

    async def take(self, step: Callable[[], Awaitable[T]], doing: str) -> T:
        """The result of a step; ``doing`` says what it does, should that take long."""
        return await patiently(lambda: self._told(step, doing), self._wait)

    async def wait(self, step: Callable[[Waits], Awaitable[None]]) -> None:
        """Take a step that only waits, and says itself for whom."""
        await patiently(lambda: step(self._wait), self._wait)

    async def aclose(self) -> None:
        """There is nothing to wait for any more."""
        await self._entered.aclose()

    async def _told(self, step: Callable[[], Awaitable[T]], doing: str) -> T:
        """The result of a step; whoever asks while it takes long is told what it does."""
        running = asyncio.ensure_future(step())
        try:
            await asyncio.wait({running}, timeout=LONG_SECONDS)
            if not running.done():
                log.info("starting", doing=doing)
                await self._answer(doing)
            return await running
        finally:
            if not running.done():
                running.cancel()
                await asyncio.wait({running})

    async def _wait(self, reason: str) -> None:
        await self._answer(f"it waits: {reason}")

    async def _answer(self, starting: str) -> None:
        self._vitals.starting = starting
        begin, self._meanwhile = self._meanwhile, None
        if begin is not None:
            await self._entered.enter_async_context(begin(self._vitals))


@contextlib.asynccontextmanager
async def embedded(
    settings: Settings,
    registry: Registry | None = None,
    tracing: Tracing | None = None,
    *,
    meanwhile: Meanwhile | None = None,
) -> AsyncIterator[Engine]:
    """A running engine; leaving the context drains and stops it.

    It starts when its database is there; until then it is within ``meanwhile``, and so it is while
    a step of the start takes long.

    Raises DataDirectoryUnusable when the directory is newer than this release or damaged, and when
    others work on its PostgreSQL database.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    operations = registry or installed_operations()
    named, own = settings.payload_key_file, settings.data_dir / sealing.FILE_NAME
    key = InstallationKey.load(named) if named else InstallationKey.load_or_create(own)
    with Database(settings.database_address, key=key) as database:
        base = Base.of(settings, operations, database, tracing)
        async with (
            closing(base.tracing),
            contextlib.aclosing(_Start(Vitals(database, []), meanwhile)) as start,
            _prepared(base, start),
            _engine(base, start) as engine,
        ):
            await start.aclose()
            yield engine


@contextlib.asynccontextmanager
async def _prepared(base: Base, start: _Start) -> AsyncIterator[None]:
    """The database is as this release needs it, and nobody else works on it meanwhile.

    Alone first, so that whoever is refused has changed nothing; where there is no table yet that
    says who is there, nobody's work is changed either.
    """
    database = base.database
    first = database.is_sqlite or await start.take(
        lambda: database.read(tells_who_works), "it looks whether others work on the database"
    )
    async with _alone(base, start) if first else contextlib.nullcontext():
        await start.take(
            lambda: asyncio.to_thread(prepare, database, base.registry),
            "it brings the database to the schema of this release",
        )
        async with contextlib.nullcontext() if first else _alone(base, start):
            yield


@contextlib.asynccontextmanager
async def _alone(base: Base, start: _Start) -> AsyncIterator[None]:
    """Nobody else works on the database meanwhile; of a SQLite file its own lock says so.

    Another data directory may name the same file.
    """
    if base.database.is_sqlite:
        with await start.take(
            lambda: in_thread(partial(_file_lock, base.settings.database_file)),
            "it looks whether others have the database",
        ):
            yield
        return
    folder = base.settings.data_dir
    name = f"{socket.gethostname()[:MOST_OF_HOST]}-{base.ids.new()}"
    before = await in_thread(partial(last_life, folder))
    occupancy = Occupancy(base.database, name, before=before)
    await start.wait(occupancy.take)
    async with occupancy.kept():
        # Not before it is held: whoever was refused here would be taken for the last to hold it.
        await in_thread(partial(begin_life, folder, name))
        yield


def _file_lock(file: Path | None) -> contextlib.AbstractContextManager[object]:
    """Of a database in memory there is none, nor anybody else."""
    return contextlib.nullcontext() if file is None else acquire_file(file)


@contextlib.asynccontextmanager
async def _engine(base: Base, start: _Start) -> AsyncIterator[Engine]:
    heads = await start.take(
        lambda: in_thread(partial(audit.open_heads, base.settings.data_dir, base.database)),
        "it compares the signed heads with the trail",
    )
    broker = _broker(base.registry)
    apps = {name: _app(name, broker) for name in StageName}
    send = Sender(apps[StageName.COORDINATOR], base.tracing)
    waiting, hub, lane = Waiting(), LiveHub(), _lane(base, apps[StageName.COORDINATOR])
    relay, tail = LiveRelay(hub), parts.tail(base, hub)

    async def settled() -> None:
        await coordinator.settled()

    # Its topic is read here alone, by who was offered what is stored.
    readers = Readers(base, send, known=relay.take_offered, settled=settled)
    unsent, delivered = asyncio.Event(), Delivered()
    base.metrics.delivers(delivered.counts)

    def stored(recordings: Iterable[Recording[str]]) -> None:
        heads.append(base.recorder.heads_of(recordings))
        relay.offer(recordings)
        readers.tell(recordings)
        tail.heard()
        unsent.set()

    limits = Limits(base.registry, base.clock)
    places = LivePlaces(base.registry, base.clock, limits, slots=1)
    alarms = Alarms(base.ids, send)
    coordinator = parts.coordinator(
        base, places, limits, alarms.set, stored, waiting.tell, answering=_to_nobody
    )
    sweep = Sweep(
        database=base.database,
        registry=base.registry,
        clock=base.clock,
        claim_by=base.settings.claim_by,
        neglected=undriven(coordinator, places),
        look=coordinator.look,
        metrics=base.metrics,
    )
    slow = parts.slow_pool(base, send)
    intake = parts.intake(base, slow)
    worker = parts.worker(
        base,
        f"embedded-{base.ids.new()}",
        slow,
        lane,
        lasting=False,
        completing=_to_nobody,
    )
    parts.bind_coordinator(apps[StageName.COORDINATOR], coordinator, send, base, lane)
    # Steps beside the coordinator's own read what others keep; SQLite has one writer at a time.
    looking = LookingWorker(worker.handle, coordinator)
    works = looking.handle if base.database.is_sqlite else worker.handle
    parts.bind_worker(
        apps[StageName.WORKER],
        works,
        send,
        base,
        lane,
        systems=base.registry.systems,
        intake=intake,
    )
    parts.bind_live(apps[StageName.LIVE], relay, send, base, lane)
    base.metrics.knows(base.registry.systems)
    base.metrics.works_on(base.registry.systems)
    retained = Retained()
    vitals = Vitals(base.database, [lane], retained=retained, intake=intake, metrics=base.metrics)
    here = WorkerRow(
        name=f"embedded-{base.ids.new()}",
        systems=tuple(base.registry.systems),
        slots=1,
        process=os.getpid(),
    )
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(slow.close)
        stack.push_async_callback(alarms.aclose)
        for app in apps.values():
            await faust_apps.start(app)
            stack.push_async_callback(parts.stop, app, base.settings.drain)
        await start.take(lambda: parts.seed_limits(base), "it stores the limits of its settings")
        for message in await start.take(sweep.recover, "it takes up what was under way"):
            await send(message)
        loops = [
            readers.publish(pause=PUBLICATION_PAUSE),
            readers.project(),
            tail.run(),
            deliver(base, unsent, delivered),
            *_upkeep(base, sweep, send, heads, vitals),
            Gauge(base.database, base.clock, here).run(),
            *parts.retaining(base, send, lambda: heads, retained),
            *(faust_apps.watch(app) for app in apps.values()),
        ]
        await stack.enter_async_context(background(loops))
        stack.push_async_callback(parts.drain_slow, slow, base.settings.drain)
        stack.callback(intake.close)
        queries = Queries(base.database, base.jobs, base.registry)
        yield Engine(
            gateway=parts.gateway(base, send, waiting),
            queries=queries,
            trail=Trail(base.database, queries, lambda: heads),
            hub=hub,
            tail=tail,
            broadcasts=Broadcasts(hub, base.clock),
            situation=parts.situation(base, vitals, itself(here, intake.told), send),
            messaging=InMemory(broker, send, base.registry.systems),
            registry=base.registry,
            clock=base.clock,
            database=base.database,
            vitals=vitals,
            tracing=base.tracing,
        )


def _upkeep(
    base: Base, sweep: Sweep, send: Sender, heads: audit.HeadsFile, vitals: Vitals
) -> list[Any]:
    """What looks after the engine: sweep, timers, clean-up and watchdog."""
    timers = Timers(database=base.database, clock=base.clock, send=send)
    rules = audit.RuleSigner(base.settings.data_dir, base.database)
    base.metrics.signs(lambda: heads.unwritten + rules.unwritten)
    return [
        every(base.settings.sweep, lambda: sweep.run(send)),
        every(base.settings.sweep, timers.fire),
        every(3600.0, timers.clean),
        every(base.settings.sweep, lambda: in_thread(rules.sign)),
        # Heads that a full disk did not take wait for the next commit, which may be far off.
        every(base.settings.sweep, lambda: in_thread(heads.make_up)),
        every(3600.0, lambda: in_thread(heads.compact)),
        every(5.0, lambda: parts.watch(vitals)),
    ]


def _to_nobody(*_told: object) -> list[Outgoing]:
    """What the outcomes topic says of a decision or of chunks, where nobody else can read it."""
    return []


def _broker(registry: Registry) -> MemoryBroker:
    broker = MemoryBroker()
    for topic in all_topics(registry.systems):
        broker.create_topic(topic, defaults.PARTITIONS)
    return broker


def _lane(base: Base, coordinator: Any) -> Lane:
    return Lane("the engine", base.clock, lambda: faust_apps.backlog(coordinator))


def _app(name: StageName, broker: MemoryBroker) -> Any:
    return faust_apps.create_faust_app(
        app_id=name.value,
        broker_url=str(broker.url),
        transport=memory_transport(broker),
        # Positions die with the broker; a commit only makes room, which a sender can ask for.
        settings=FaustSettings(commit_every=1000),
    )
