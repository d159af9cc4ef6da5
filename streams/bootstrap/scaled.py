"""Scaled: the same stages in processes of their own, over Kafka and PostgreSQL.

Any number of each kind may run. A process says at once that it is there, and waits with
growing pauses for whatever it needs; its vitals say for what.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import structlog
from eventsourcing.persistence import Recording

from domain.errors import SettingsInvalid, Unavailable
from domain.registry import Registry
from streams import app as faust_apps
from streams import broadcasts
from streams.agents import Sender
from streams.app import FaustSettings
from streams.awaiting import Waiting
from streams.bootstrap import parts
from streams.bootstrap.parts import Base, Engine, Readers
from streams.bootstrap.plugins import installed_operations, prepare
from streams.bootstrap.sending import deliver
from streams.bootstrap.tracing import closing
from streams.broadcasts import Broadcasts
from streams.clock import TimeOrderedIds
from streams.gauging import Gauge
from streams.intake import Intake
from streams.kafka_messaging import InKafka
from streams.limits import Limits
from streams.live import LiveHub
from streams.live_reader import LiveReader
from streams.liveness import MEASURE_EVERY, Lane
from streams.loops import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    at_news,
    background,
    every,
    in_thread,
    to_its_end,
)
from streams.process_lock import SIGNS, ProcessLock, attempt
from streams.prompting import Prompter
from streams.queries import Queries
from streams.relay import LiveRelay
from streams.reminding import Reminder
from streams.retaining import Retained
from streams.settings import Settings
from streams.shared_clock import ClockWatch
from streams.shared_places import SharedPlaces
from streams.slow import SlowPool
from streams.stores import audit, decisions, event_order, grants, outcomes
from streams.stores.database import Database
from streams.stores.listening import listening
from streams.stores.occupancy import unserved
from streams.stores.ownership import LeasedOwner
from streams.stores.sealing import InstallationKey
from streams.stores.workers import (
    WorkerRow,
    beat,
    beat_pause,
    end_frozen,
    forget,
    live_workers,
    measured,
)
from streams.sweep import Sweep
from streams.timers import Timers
from streams.topology import StageName, all_topics
from streams.tracing import Tracing
from streams.trail import Trail
from streams.transport.kafka import admin
from streams.vitals import Vitals
from streams.waking import Alarms
from streams.webhooks import Delivered

log = structlog.get_logger(__name__)

STARTING = "it has just begun"
HEARTBEATS = 10
"""In a session: with its next one a member learns that another has gone, and takes over."""
CLOCK_SECONDS = 1.5
"""Between two looks at the clocks: as often as a worker says that it is there."""
WANTED_SECONDS = 5.0
"""Between two looks at whose work there is: more often than anybody asks for metrics."""

GATHERING = 0.1
"""Seconds: who serves readers is told of commits by the database; the broker tells the rest."""
PUBLICATION_PAUSE = 0.04
"""Seconds between a commit and its events on the broker; those of a busy time go together."""
SIGNING_PAUSE = 0.2
"""Seconds between a commit and its signature; those of a busy time share a write."""

Step = Callable[[], Awaitable[Any]]


@contextlib.asynccontextmanager
async def api(
    settings: Settings, registry: Registry | None = None, tracing: Tracing | None = None
) -> AsyncIterator[Engine]:
    """The edge: commands in, answers and live events out. Decides and works nothing."""
    async with _opened(settings, registry, tracing) as (base, clocks):
        app = app_of(base.settings, StageName.LIVE, instance=base.ids.new())
        send, waiting, hub = Sender(app, base.tracing), Waiting(), LiveHub()
        lane, relay = _lane(base, app), LiveRelay(hub)
        parts.bind_live(app, relay, send, base, lane)
        reader = LiveReader(
            database=base.database,
            recorder=base.recorder,
            mapper=base.jobs.job_mapper,
            hub=hub,
            relay=relay,
        )
        tail, spoken = parts.tail(base, hub), Broadcasts(hub, base.clock, base.database)
        vitals = Vitals(
            base.database, [lane], starting=STARTING, clocks=clocks, metrics=base.metrics
        )

        def stored(payload: str | None) -> None:
            """Somebody has stored events."""
            reader.heard(payload)
            tail.heard()

        def decided(payload: str | None) -> None:
            """A decision was stored; one that was missed is found by who waits for it."""
            if payload is not None:
                waiting.hear(*decisions.heard_decision(payload))

        channels = {
            decisions.CHANNEL: decided,
            event_order.CHANNEL: stored,
            broadcasts.CHANNEL: spoken.heard,
        }
        heard = listening(base.settings.database_address, channels, lost=reader.lost)
        loops = [reader.run(), tail.run()]
        async with _running(base, [app], vitals, loops, heard, clocks=clocks):
            queries = Queries(base.database, base.jobs, base.registry, hub.beginnings)
            yield Engine(
                gateway=parts.gateway(base, send, waiting),
                queries=queries,
                trail=Trail(base.database, queries, partial(audit.live_heads, settings.data_dir)),
                hub=hub,
                tail=tail,
                broadcasts=spoken,
                situation=parts.situation(base, vitals, live_workers, send),
                messaging=InKafka(settings.broker_address, base.registry.systems),
                registry=base.registry,
                clock=base.clock,
                database=base.database,
                vitals=vitals,
                tracing=base.tracing,
            )


@contextlib.asynccontextmanager
async def coordinator(
    settings: Settings, registry: Registry | None = None, tracing: Tracing | None = None
) -> AsyncIterator[Vitals]:
    """A coordinator: decides on the commands of its partitions.

    It also stands for what one process at a time does for the whole installation.
    Raises DataDirectoryUnusable when there is no place for the signed heads.
    """
    async with _opened(settings, registry, tracing) as (base, clocks):
        held = attempt(base.settings.data_dir)
        instance = f"{base.settings.instance}-coordinator"
        app = app_of(base.settings, StageName.COORDINATOR, instance=instance)
        send, lane = Sender(app, base.tracing), _lane(base, app)
        readers = Readers(base, send)
        limits = Limits(base.registry, base.clock)
        places = SharedPlaces(base.registry, base.clock, limits)

        def stored(recordings: Iterable[Recording[str]]) -> None:
            readers.tell(recordings)

        alarms = Alarms(base.ids, send)
        stage = parts.coordinator(
            base, places, limits, alarms.set, stored, lambda _id, _decision: None
        )
        parts.bind_coordinator(app, stage, send, base, lane)
        faust_apps.tell_of_leaving(app, stage.leave_all)
        retained = Retained()
        vitals = Vitals(
            base.database,
            [lane],
            starting=STARTING,
            retained=retained,
            clocks=clocks,
            metrics=base.metrics,
        )
        unsigned, unsent, delivered = asyncio.Event(), asyncio.Event(), Delivered()
        base.metrics.delivers(delivered.counts)

        def committed(_last: str | None) -> None:
            readers.wake()
            unsigned.set()
            unsent.set()

        prompter = Prompter(stage, send)
        channels = {event_order.CHANNEL: committed, outcomes.CHANNEL: prompter.heard}
        heard = listening(base.settings.database_address, channels)
        # One for all, so that all leases of this process are renewed at once.
        owner = LeasedOwner(base.database, instance)
        owned = _owned(base, owner, readers, places, send, retained)
        sending = owner.own("webhooks", lambda: deliver(base, unsent, delivered))
        loops = [
            *(parts.seed_limits(base), *owned, sending),
            *(_signing(base, unsigned, held), prompter.run()),
            every(WANTED_SECONDS, lambda: _tell_wanted(base)),
        ]
        async with (
            contextlib.aclosing(alarms),
            _running(base, [app], vitals, loops, heard, clocks=clocks),
        ):
            yield vitals


@contextlib.asynccontextmanager
async def worker(
    settings: Settings, registry: Registry | None = None, tracing: Tracing | None = None
) -> AsyncIterator[Vitals]:
    """A worker: ``settings.slots`` times one message of each system, and a short one beside it."""
    identity = TimeOrderedIds().new()
    async with _opened(settings, registry, tracing, session=identity) as (base, clocks):
        systems = _systems(base)
        base.metrics.works_on(systems)
        name = f"{base.settings.instance}-{identity}"
        slots = range(base.settings.slots)
        instance = f"{base.settings.instance}-worker"
        apps = [
            app_of(base.settings, StageName.WORKER, instance=f"{instance}-{slot}") for slot in slots
        ]
        send = Sender(apps[0], base.tracing)
        reminder = Reminder(base.database, base.ids, send.together)
        slow = parts.slow_pool(base, send)
        intake = parts.intake(base, slow)
        lanes = [_lane(base, app, f"slot {slot}") for slot, app in enumerate(apps)]
        for slot, app, lane in zip(slots, apps, lanes, strict=True):
            # A name of its own for each: two slots must not take a chunk from one another.
            stage = parts.worker(base, f"{name}-{slot}", slow, lane, told=reminder.note)
            # A sender of its own as well: one that is busy ends after another has closed its own.
            own = Sender(app, base.tracing)
            parts.bind_worker(app, stage.handle, own, base, lane, systems=systems, intake=intake)
        vitals = Vitals(
            base.database,
            lanes,
            starting=STARTING,
            intake=intake,
            clocks=clocks,
            metrics=base.metrics,
        )
        here = WorkerRow(
            name=name,
            systems=tuple(systems),
            slots=len(slots),
            process=os.getpid(),
        )
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(_leave, base, here, vitals)
            # While all else drains as well: whoever is silent counts as dead, and as frozen.
            joined = asyncio.Event()
            beating = _beating(base, joined, lambda: _beat(base, intake, here, apps))
            await stack.enter_async_context(background([beating]))
            stack.push_async_callback(slow.close)
            gauge = Gauge(base.database, base.clock, here)
            loops = [gauge.run(), reminder.run()]
            running = _running(base, apps, vitals, loops, slow=slow, clocks=clocks, joined=joined)
            await stack.enter_async_context(running)
            stack.callback(intake.close)
            yield vitals


# -- what all kinds do ------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _opened(
    settings: Settings, registry: Registry | None, tracing: Tracing | None, *, session: str = ""
) -> AsyncIterator[tuple[Base, ClockWatch]]:
    if settings.database.startswith("sqlite"):
        raise SettingsInvalid(
            "processes of their own need a database that they can share: set COUNTERMAND_DATABASE "
            "to postgresql://USER:PASSWORD@HOST/NAME, or run `countermand serve`"
        )
    if not settings.broker_address.is_kafka:
        raise SettingsInvalid(
            "processes of their own need a broker that they can share: set COUNTERMAND_BROKER "
            "to kafka://HOST:PORT, or run `countermand serve`"
        )
    named = settings.payload_key_file
    key = InstallationKey.load(named) if named else None
    with Database(settings.database_address, session=session, key=key) as database:
        own = Base.of(settings, registry or installed_operations(), database, tracing)
        clocks = ClockWatch(database, own.clock)
        own.metrics.knows(own.registry.systems)
        own.metrics.goes_by(lambda: 0.0 - clocks.clock.added)
        async with closing(own.tracing):
            yield replace(own, clock=clocks.clock), clocks


@contextlib.asynccontextmanager
async def _running(
    base: Base,
    apps: Sequence[Any],
    vitals: Vitals,
    loops: Sequence[Any],
    heard: contextlib.AbstractAsyncContextManager[None] | None = None,
    *,
    clocks: ClockWatch,
    slow: SlowPool | None = None,
    joined: asyncio.Event | None = None,
) -> AsyncIterator[None]:
    """Start in the background, run until left, then stop the apps within the drain.

    ``joined`` is set when the start is over.
    """
    started: list[Any] = []

    async def run() -> None:
        await _start(base, apps, vitals, started, clocks)
        if joined is not None:
            joined.set()
        async with heard or contextlib.nullcontext():
            watching = [faust_apps.watch(app) for app in apps]
            measuring = every(MEASURE_EVERY, lambda: parts.watch(vitals))
            comparing = every(CLOCK_SECONDS, clocks.look)
            await _together([*loops, *watching, measuring, comparing])

    try:
        async with background([run()]):
            yield
    finally:
        for loop in loops:
            # Nothing but a warning comes of one that was left before it was started.
            loop.close()
        drain = parts.drain_of(base, started)
        if slow is not None:
            # While the apps still send: what has ended is told.
            drain = await parts.drain_slow(slow, drain)
        await asyncio.gather(*(parts.stop(app, drain) for app in started))


async def _start(
    base: Base, apps: Sequence[Any], vitals: Vitals, started: list[Any], clocks: ClockWatch
) -> None:
    """Wait for database, clocks, topics and broker, in this order, and say for what.

    Ends where a `serve` has the database: before anything there is changed, and also when it has
    begun while this process waited.
    """
    database, registry = base.database, base.registry
    nobody_serves = partial(unserved, database, partial(_waits, vitals))
    await _patiently(vitals, nobody_serves)
    await _patiently(vitals, lambda: asyncio.to_thread(prepare, database, registry))
    await _patiently(vitals, clocks.look)
    wanted = all_topics(registry.systems)
    await _patiently(vitals, lambda: admin.require(base.settings.broker_address, wanted))
    groups = sorted({app.conf.id for app in apps})
    await _patiently(vitals, lambda: admin.allowed(base.settings.broker_address, groups))
    await _patiently(vitals, nobody_serves)
    for app in apps:
        app.topics_seen = frozenset(wanted)
        vitals.starting = "it joins the others"
        started.append(app)
        await faust_apps.start(app)
    vitals.starting = ""
    log.info("ready", apps=[app.conf.id for app in apps])


async def _patiently(vitals: Vitals, step: Step) -> None:
    """Take a step of the start; what it needs may be away for as long as it likes."""
    pause = FIRST_PAUSE
    while True:
        try:
            await step()
        except Unavailable as error:
            await _waits(vitals, error.message)
            log.warning("waiting", reason=error.message)
        else:
            return
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


async def _waits(vitals: Vitals, reason: str) -> None:
    vitals.starting = f"it waits: {reason}"


async def _together(work: Sequence[Any]) -> None:
    """Until one fails, with what the first has said: the others fail of the same."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


def app_of(settings: Settings, stage: StageName, *, instance: str) -> Any:
    """The app of a stage, as a member of its group that bears this name."""
    live = stage is StageName.LIVE
    chosen = FaustSettings(
        session_timeout=settings.session_timeout,
        heartbeat_interval=settings.session_timeout / HEARTBEATS,
        # Each process that serves readers is a group of its own, and has no past.
        instance_id=None if live else instance,
        from_start=not live,
        gathering=GATHERING if live else 0.0,
    )
    group = f"{stage.value}-{instance}" if live else stage.value
    return faust_apps.create_faust_app(
        app_id=group, broker_url=settings.broker_address, settings=chosen
    )


def _lane(base: Base, app: Any, name: str = "the broker's partitions") -> Lane:
    return Lane(name, base.clock, lambda: faust_apps.backlog(app))


# -- a coordinator's ---------------------------------------------------------------------


def _owned(
    base: Base,
    owner: LeasedOwner,
    readers: Readers,
    places: SharedPlaces,
    send: Sender,
    retained: Retained,
) -> list[Any]:
    """What one process at a time does for the whole installation."""
    timers = Timers(database=base.database, clock=base.clock, send=send)
    sweep = Sweep(
        database=base.database,
        registry=base.registry,
        clock=base.clock,
        claim_by=base.settings.claim_by,
        neglected=places.entitled,
        look=parts.hinting(base.ids),
        metrics=base.metrics,
    )
    seconds, signed = base.settings.sweep, partial(audit.known_heads, base.settings.data_dir)
    return [
        owner.own("outbox", lambda: readers.publish(pause=PUBLICATION_PAUSE)),
        owner.own("projector", readers.project),
        owner.own("sweep", lambda: every(seconds, lambda: sweep.run(send))),
        owner.own("frozen", lambda: every(seconds, lambda: _end_frozen(base))),
        owner.own("timers", lambda: every(seconds, timers.fire)),
        owner.own("clean-up", lambda: every(3600.0, timers.clean)),
        owner.own("retention", lambda: _together(parts.retaining(base, send, signed, retained))),
    ]


async def _end_frozen(base: Base) -> None:
    now = base.clock.now().timestamp()
    ended = await base.database.write(lambda connection: end_frozen(connection, now))
    if ended:
        log.warning("frozen_worker", transactions=ended)


async def _tell_wanted(base: Base) -> None:
    """Show whose work waits or is under way: a system that nobody uses needs no worker."""
    base.metrics.wants(await base.database.read(grants.systems), base.registry.systems)


async def _signing(base: Base, unsigned: asyncio.Event, held: ProcessLock | None) -> None:
    """Sign what all coordinators commit; of those that share a data directory, one does."""
    folder = base.settings.data_dir
    while held is None:
        await asyncio.sleep(1.0)
        held = attempt(folder)
    with held:
        log.info("signing", folder=str(folder))
        signer = audit.Signer(folder, base.database)
        rules = audit.RuleSigner(folder, base.database)
        base.metrics.signs(lambda: signer.unwritten + rules.unwritten)
        sign = partial(_sign, signer, held)
        await _together(
            [
                at_news(unsigned, sign, pause=SIGNING_PAUSE),
                every(base.settings.sweep, partial(in_thread, rules.sign)),
                every(3600.0, partial(in_thread, signer.compact)),
            ]
        )


async def _sign(signer: audit.Signer, held: ProcessLock) -> None:
    """Sign what there is; from then on an `api` that shares the directory looks at the heads."""
    await in_thread(signer.sign)
    # Not in the thread, which may go on when the lock was released.
    held.note(SIGNS)


# -- a worker's ----------------------------------------------------------------------------


def _systems(base: Base) -> list[str]:
    installed = list(base.registry.systems)
    wanted = [name for name in base.settings.systems.split(",") if name]
    unknown = sorted(set(wanted) - set(installed))
    if unknown:
        raise SettingsInvalid(
            f"no installed package has the system {', '.join(unknown)}; installed: "
            f"{', '.join(installed)}"
        )
    return wanted or installed


async def _beating(base: Base, joined: asyncio.Event, say: Step) -> None:
    """Say that the worker is there, from when it has joined the others until cancelled."""
    await joined.wait()
    await every(beat_pause(base.settings.heartbeat), say)


async def _beat(base: Base, intake: Intake, here: WorkerRow, apps: Sequence[Any]) -> None:
    """Say that the worker is there, what it uses, and what each slot holds.

    A slot that ends takes nothing more, so nothing is sent to what it still holds.
    """
    holds = tuple({} if app.should_stop else faust_apps.held(app) for app in apps)
    now, row = base.clock.now().timestamp(), replace(intake.told(measured(here)), holds=holds)
    # What is on its way when the worker has ended would come after it was taken away.
    await to_its_end(base.database.write_beside(lambda connection: beat(connection, row, now)))


async def _leave(base: Base, here: WorkerRow, vitals: Vitals) -> None:
    """No longer count; when the database is away, the silence says it a little later.

    One that is still starting was never counted, and there may be no table of workers yet.
    """
    if vitals.starting:
        return
    with contextlib.suppress(Unavailable):
        await base.database.write(lambda connection: forget(connection, here.name))
