"""Bootstrap: the one place where everything is made and put together.

``embedded`` is the whole engine in one process: a database, the memory broker, and the
same Faust agents that run on Kafka.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from typing import Any, TypeVar

import structlog
from eventsourcing.persistence import Recording

from domain.errors import PluginInvalid, Unavailable
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
START_SECONDS = 60.0

T = TypeVar("T")


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
        await _in_time(lambda: asyncio.to_thread(prepare, database, operations))
        async with _engine(settings, operations, database) as engine:
            yield engine


async def _in_time(work: Callable[[], Awaitable[T]]) -> T:
    """The result of a step of the start, which waits for a database that is away."""
    end = asyncio.get_running_loop().time() + START_SECONDS
    while True:
        try:
            return await work()
        except Unavailable as error:
            if asyncio.get_running_loop().time() > end:
                raise
            log.warning("waiting", reason=error.message)
            await asyncio.sleep(1.0)


def prepare(database: Database, registry: Registry) -> None:
    """Bring the database to this release's schema, plug-ins' tables included.

    Raises PluginInvalid for a table that cannot hold records, before anything is made.
    """
    declared = {table.name: table for operation in registry for table in operation.tables}
    tables = [shape_of(table, database.engine.dialect).table for table in declared.values()]
    migrate.upgrade(database)
    migrate.create_missing(database, tables)


@contextlib.asynccontextmanager
async def _engine(
    settings: Settings, registry: Registry, database: Database
) -> AsyncIterator[Engine]:
    clock, ids = SystemClock(), TimeOrderedIds()
    failpoints = Failpoints(settings.failpoint)
    recorder = EventRecorder(database)
    jobs = Jobs(recorder, SnapshotRecorder(database))
    heads = await asyncio.to_thread(audit.open_heads, settings.data_dir, database)
    decided, hub, progress = Decided(), LiveHub(), Progress(clock)
    unpublished, unprojected = asyncio.Event(), asyncio.Event()
    broker = MemoryBroker()
    for topic in all_topics(registry.systems):
        broker.create_topic(topic, PARTITIONS)
    apps = {name: _app(name, broker) for name in StageName}
    send = Sender(apps[StageName.COORDINATOR])

    def stored(recordings: Iterable[Recording[str]]) -> None:
        heads.append(recorder.heads_of(recordings))
        outbox.offer(recordings)
        unpublished.set()
        unprojected.set()

    coordinator = Coordinator(
        database=database,
        jobs=jobs,
        registry=registry,
        clock=clock,
        ids=ids,
        settings=CoordinatorSettings(claim_by=settings.claim_by),
        failpoints=failpoints,
        stored=stored,
        decided=decided.tell,
    )
    slow = SlowPool(
        database=database,
        clock=clock,
        ids=ids,
        failpoints=failpoints,
        send=send,
        lease=settings.lease,
        heartbeat=settings.heartbeat,
        hung=_end_hung,
    )
    worker = Worker(
        database=database,
        registry=registry,
        clock=clock,
        ids=ids,
        settings=WorkerSettings(
            name=f"embedded-{ids.new()}", lease=settings.lease, heartbeat=settings.heartbeat
        ),
        failpoints=failpoints,
        slow=slow,
        hung=_end_hung,
    )
    gateway = Gateway(
        database=database,
        registry=registry,
        clock=clock,
        ids=ids,
        send=send,
        decided=decided,
        failpoints=failpoints,
    )
    mapper = jobs.job_mapper
    outbox = Outbox(
        database=database,
        recorder=recorder,
        mapper=mapper,
        send=send,
        failpoints=failpoints,
    )
    projector = Projector(
        database=database, recorder=recorder, mapper=mapper, failpoints=failpoints
    )
    timers = Timers(database=database, clock=clock, send=send)
    relay = LiveRelay(hub)
    _bind_coordinator(apps[StageName.COORDINATOR], coordinator, send, failpoints, progress)
    _bind_worker(apps[StageName.WORKER], worker, registry, send, failpoints, progress)
    _bind_live(apps[StageName.LIVE], relay, send, failpoints)
    queries = Queries(database, jobs)
    vitals = Vitals(
        database,
        progress,
        lambda: broker.lag(StageName.COORDINATOR.value),
        longest=max((one.timeout for one in registry if not one.slow), default=0.0),
    )
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(slow.close)
        for app in apps.values():
            await faust_apps.start(app)
            stack.push_async_callback(_stop, app, settings.drain)
        for message in await _in_time(coordinator.recover):
            await send(message)
        loops = [
            _at_news(unpublished, partial(_all, outbox.publish)),
            _at_news(unprojected, partial(_all, projector.project), pause=PROJECTION_PAUSE),
            _every(0.5, outbox.save),
            _every(settings.sweep, lambda: _sweep(coordinator, send)),
            _every(settings.sweep, timers.fire),
            _every(3600.0, timers.clean),
            _every(3600.0, lambda: asyncio.to_thread(heads.compact)),
            _every(5.0, lambda: _watch(vitals)),
            *(faust_apps.watch(app) for app in apps.values()),
        ]
        await stack.enter_async_context(_background(loops))
        yield Engine(
            gateway=gateway,
            queries=queries,
            hub=hub,
            registry=registry,
            clock=clock,
            database=database,
            coordinator=coordinator,
            vitals=vitals,
        )


def _app(name: StageName, broker: MemoryBroker) -> Any:
    return faust_apps.create_faust_app(
        app_id=name.value, broker_url=str(broker.url), transport=memory_transport(broker)
    )


def _bind_coordinator(
    app: Any, coordinator: Coordinator, send: Sender, failpoints: Failpoints, progress: Progress
) -> None:
    binding = Binding(
        topic=topics.COMMANDS,
        decode=envelope.decode_command,
        handle=coordinator.handle,
        before_send=Failpoint.BEFORE_DISPATCH_SEND,
        after_send=Failpoint.AFTER_DISPATCH_SEND,
        moved=progress.moved,
    )
    bind(app, binding, send, failpoints)


def _bind_worker(
    app: Any,
    worker: Worker,
    registry: Registry,
    send: Sender,
    failpoints: Failpoints,
    progress: Progress,
) -> None:
    for system in registry.systems:
        binding = Binding(
            topic=topics.work(system),
            decode=envelope.decode_work,
            handle=worker.handle,
            before_send=Failpoint.BEFORE_OUTCOME_SEND,
            after_send=Failpoint.AFTER_OUTCOME_SEND,
            moved=progress.moved,
        )
        bind(app, binding, send, failpoints)


def _bind_live(app: Any, relay: LiveRelay, send: Sender, failpoints: Failpoints) -> None:
    bind(
        app,
        Binding(topic=topics.EVENTS, decode=relay.decode_event, handle=relay.event),
        send,
        failpoints,
    )
    bind(
        app,
        Binding(topic=topics.OUTCOMES, decode=relay.decode_outcome, handle=relay.outcome),
        send,
        failpoints,
    )


# -- loops ------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _background(loops: list[Any]) -> AsyncIterator[None]:
    """Run loops until the context is left; the first that fails ends the engine."""
    main = asyncio.current_task()
    failed: list[BaseException] = []

    def ended(task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and task.exception() is not None and main is not None:
            failed.append(task.exception())  # type: ignore[arg-type]
            main.cancel()

    tasks = [asyncio.ensure_future(loop) for loop in loops]
    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield
    except asyncio.CancelledError:
        if failed:
            raise failed[0] from None
        raise
    finally:
        for task in tasks:
            task.remove_done_callback(ended)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _every(seconds: float, work: Callable[[], Awaitable[Any]]) -> None:
    """Repeat; what is unavailable now is tried again the next time."""
    while True:
        try:
            await work()
        except Unavailable as error:
            log.warning("waiting", reason=error.message)
        await asyncio.sleep(seconds)


async def _at_news(
    news: asyncio.Event, work: Callable[[], Awaitable[None]], *, pause: float = 0.0
) -> None:
    """Work at the start, ``pause`` seconds after news, and once a second without any."""
    while True:
        await asyncio.sleep(pause)
        news.clear()
        try:
            await work()
        except Unavailable as error:
            log.warning("waiting", reason=error.message)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await news.wait()


async def _all(step: Callable[[], Awaitable[bool]]) -> None:
    """Repeat a step until it says that there is no more to do."""
    while await step():
        pass


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
