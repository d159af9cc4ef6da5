"""Bootstrap: the one place where everything is made and put together.

``embedded`` is the whole engine in one process: a database, the memory broker, and the
same Faust agents that run on Kafka.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from typing import Any

import structlog
from eventsourcing.persistence import Recording

from domain.errors import PluginInvalid
from domain.jobs import Jobs
from domain.operation import Operation
from domain.registry import Registry
from streams import app as faust_apps
from streams import envelope, topics
from streams.agents import Binding, Sender, bind
from streams.clock import SystemClock, TimeOrderedIds
from streams.coordinator import Coordinator, CoordinatorSettings
from streams.failpoints import Failpoint, Failpoints
from streams.gateway import Decided, Gateway
from streams.live import LiveHub
from streams.liveness import Progress
from streams.loops import at_news, background, every, in_time, until_done
from streams.outbox import Outbox
from streams.projector import Projector
from streams.queries import Queries
from streams.relay import LiveRelay
from streams.settings import Settings
from streams.slow import SlowPool
from streams.stores import audit, migrate
from streams.stores.database import Database
from streams.stores.events import EventRecorder, SnapshotRecorder
from streams.stores.records.shape import shape_of
from streams.timers import Timers
from streams.topology import StageName, all_topics
from streams.transport.memory import MemoryBroker, memory_transport
from streams.vitals import Vitals
from streams.worker import Worker, WorkerSettings

log = structlog.get_logger(__name__)

ENTRY_POINTS = "countermand.operations"
PARTITIONS = 4
PROJECTION_PAUSE = 0.15
"""Seconds by which the list of jobs may lag: a small job is done before it is listed, and
its commits do not wait for the list's."""
EXIT_HUNG = 70


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What the edge needs of a running engine."""

    gateway: Gateway
    queries: Queries
    hub: LiveHub
    registry: Registry
    clock: SystemClock
    database: Database
    coordinator: Coordinator
    vitals: Vitals


def installed_operations() -> Registry:
    """All operations of the installed packages; raises PluginInvalid for a wrong one."""
    registry = Registry()
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name):
        try:
            loaded: Operation | Iterable[Operation] = entry.load()
            registry.register([loaded] if isinstance(loaded, Operation) else loaded)
        except (Exception, SystemExit) as error:  # a stranger's module may raise anything
            reason = error.message if isinstance(error, PluginInvalid) else repr(error)
            raise PluginInvalid(
                f"the plug-in {entry.name} ({entry.value}) cannot be used: {reason}; mend or "
                "uninstall its package"
            ) from error
    return registry


@contextlib.asynccontextmanager
async def embedded(settings: Settings, registry: Registry | None = None) -> AsyncIterator[Engine]:
    """A running engine; leaving the context drains and stops it.

    Raises DataDirectoryUnusable when the directory is newer than this release or damaged.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    operations = registry or installed_operations()
    with Database(settings.database) as database:
        await in_time(lambda: asyncio.to_thread(prepare, database, operations))
        async with _engine(settings, operations, database) as engine:
            yield engine


def prepare(database: Database, registry: Registry) -> None:
    """Bring the database to this release's schema, plug-ins' tables included.

    Raises PluginInvalid for a table that cannot hold records, before anything is made.
    """
    declared = {table.name: table for operation in registry for table in operation.tables}
    tables = [shape_of(table, database.engine.dialect).table for table in declared.values()]
    migrate.upgrade(database)
    migrate.create_missing(database, tables)


@dataclass(frozen=True, kw_only=True)
class _Base:
    """What nearly every part is given."""

    settings: Settings
    registry: Registry
    database: Database
    clock: SystemClock
    ids: TimeOrderedIds
    failpoints: Failpoints


@contextlib.asynccontextmanager
async def _engine(
    settings: Settings, registry: Registry, database: Database
) -> AsyncIterator[Engine]:
    base = _Base(
        settings=settings,
        registry=registry,
        database=database,
        clock=SystemClock(),
        ids=TimeOrderedIds(),
        failpoints=Failpoints(settings.failpoint),
    )
    recorder = EventRecorder(database)
    jobs = Jobs(recorder, SnapshotRecorder(database))
    heads = await asyncio.to_thread(audit.open_heads, settings.data_dir, database)
    broker = _broker(registry)
    apps = {name: _app(name, broker) for name in StageName}
    send = Sender(apps[StageName.COORDINATOR])
    decided, hub, progress = Decided(), LiveHub(), Progress(base.clock)
    readers = _Readers(base, recorder, jobs, send)

    def stored(recordings: Iterable[Recording[str]]) -> None:
        heads.append(recorder.heads_of(recordings))
        readers.tell(recordings)

    coordinator = _coordinator(base, jobs, stored, decided)
    slow = _slow_pool(base, send)
    _bind_coordinator(apps[StageName.COORDINATOR], coordinator, send, base, progress)
    _bind_worker(apps[StageName.WORKER], _worker(base, slow), send, base, progress)
    _bind_live(apps[StageName.LIVE], LiveRelay(hub), send, base)
    vitals = Vitals(database, progress, lambda: broker.lag(StageName.COORDINATOR.value))
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(slow.close)
        for app in apps.values():
            await faust_apps.start(app)
            stack.push_async_callback(_stop, app, settings.drain)
        for message in await in_time(coordinator.recover):
            await send(message)
        loops = [
            *readers.loops(),
            *_upkeep(base, coordinator, send, heads, vitals),
            *(faust_apps.watch(app) for app in apps.values()),
        ]
        await stack.enter_async_context(background(loops))
        yield Engine(
            gateway=_gateway(base, send, decided),
            queries=Queries(database, jobs),
            hub=hub,
            registry=registry,
            clock=base.clock,
            database=database,
            coordinator=coordinator,
            vitals=vitals,
        )


class _Readers:
    """Outbox and projector: what follows the notification log, woken by each commit."""

    def __init__(self, base: _Base, recorder: EventRecorder, jobs: Jobs, send: Sender) -> None:
        self._unpublished, self._unprojected = asyncio.Event(), asyncio.Event()
        self._outbox = Outbox(
            database=base.database,
            recorder=recorder,
            mapper=jobs.job_mapper,
            send=send,
            failpoints=base.failpoints,
        )
        self._projector = Projector(
            database=base.database,
            recorder=recorder,
            mapper=jobs.job_mapper,
            failpoints=base.failpoints,
        )

    def tell(self, recordings: Iterable[Recording[str]]) -> None:
        """Events were just committed."""
        self._outbox.offer(recordings)
        self._unpublished.set()
        self._unprojected.set()

    def loops(self) -> list[Any]:
        """Their work, for as long as the engine runs."""
        project = partial(until_done, self._projector.project)
        return [
            at_news(self._unpublished, partial(until_done, self._outbox.publish)),
            at_news(self._unprojected, project, pause=PROJECTION_PAUSE),
            every(0.5, self._outbox.save),
        ]


def _upkeep(
    base: _Base, coordinator: Coordinator, send: Sender, heads: audit.HeadsFile, vitals: Vitals
) -> list[Any]:
    """What looks after the engine: sweep, timers, clean-up and watchdog."""
    timers = Timers(database=base.database, clock=base.clock, send=send)
    return [
        every(base.settings.sweep, lambda: _sweep(coordinator, send)),
        every(base.settings.sweep, timers.fire),
        every(3600.0, timers.clean),
        every(3600.0, lambda: asyncio.to_thread(heads.compact)),
        every(5.0, lambda: _watch(vitals)),
    ]


# -- the parts --------------------------------------------------------------------------


def _broker(registry: Registry) -> MemoryBroker:
    broker = MemoryBroker()
    for topic in all_topics(registry.systems):
        broker.create_topic(topic, PARTITIONS)
    return broker


def _coordinator(
    base: _Base,
    jobs: Jobs,
    stored: Callable[[Iterable[Recording[str]]], None],
    decided: Decided,
) -> Coordinator:
    return Coordinator(
        database=base.database,
        jobs=jobs,
        registry=base.registry,
        clock=base.clock,
        ids=base.ids,
        settings=CoordinatorSettings(claim_by=base.settings.claim_by),
        failpoints=base.failpoints,
        stored=stored,
        decided=decided.tell,
    )


def _slow_pool(base: _Base, send: Sender) -> SlowPool:
    return SlowPool(
        database=base.database,
        clock=base.clock,
        ids=base.ids,
        failpoints=base.failpoints,
        send=send,
        lease=base.settings.lease,
        heartbeat=base.settings.heartbeat,
        hung=_end_hung,
    )


def _worker(base: _Base, slow: SlowPool) -> Worker:
    return Worker(
        database=base.database,
        registry=base.registry,
        clock=base.clock,
        ids=base.ids,
        settings=WorkerSettings(
            name=f"embedded-{base.ids.new()}",
            lease=base.settings.lease,
            heartbeat=base.settings.heartbeat,
        ),
        failpoints=base.failpoints,
        slow=slow,
        hung=_end_hung,
    )


def _gateway(base: _Base, send: Sender, decided: Decided) -> Gateway:
    return Gateway(
        database=base.database,
        registry=base.registry,
        clock=base.clock,
        ids=base.ids,
        send=send,
        decided=decided,
        failpoints=base.failpoints,
    )


def _app(name: StageName, broker: MemoryBroker) -> Any:
    return faust_apps.create_faust_app(
        app_id=name.value, broker_url=str(broker.url), transport=memory_transport(broker)
    )


def _bind_coordinator(
    app: Any, coordinator: Coordinator, send: Sender, base: _Base, progress: Progress
) -> None:
    binding = Binding(
        topic=topics.COMMANDS,
        decode=envelope.decode_command,
        handle=coordinator.handle,
        before_send=Failpoint.BEFORE_DISPATCH_SEND,
        after_send=Failpoint.AFTER_DISPATCH_SEND,
        moved=progress.moved,
    )
    bind(app, binding, send, base.failpoints)


def _bind_worker(app: Any, worker: Worker, send: Sender, base: _Base, progress: Progress) -> None:
    for system in base.registry.systems:
        binding = Binding(
            topic=topics.work(system),
            decode=envelope.decode_work,
            handle=worker.handle,
            before_send=Failpoint.BEFORE_OUTCOME_SEND,
            after_send=Failpoint.AFTER_OUTCOME_SEND,
            moved=progress.moved,
        )
        bind(app, binding, send, base.failpoints)


def _bind_live(app: Any, relay: LiveRelay, send: Sender, base: _Base) -> None:
    bind(
        app,
        Binding(topic=topics.EVENTS, decode=relay.decode_event, handle=relay.event),
        send,
        base.failpoints,
    )
    bind(
        app,
        Binding(topic=topics.OUTCOMES, decode=relay.decode_outcome, handle=relay.outcome),
        send,
        base.failpoints,
    )


async def _sweep(coordinator: Coordinator, send: Sender) -> None:
    for message in await coordinator.sweep():
        await send(message)


async def _stop(app: Any, drain: float) -> None:
    if not await faust_apps.stop(app, drain=drain):
        log.error("drain_timed_out", app=app.conf.id)
        os._exit(EXIT_HUNG)


async def _watch(vitals: Vitals) -> None:
    """The watchdog: a process whose stages stand still is replaced."""
    if vitals.stuck:
        _end_hung("; ".join((await vitals.health()).reasons))


def _end_hung(reason: str) -> None:
    """A thread that hangs cannot be stopped: the supervisor replaces the process."""
    log.critical("hung", reason=reason)
    os._exit(EXIT_HUNG)
