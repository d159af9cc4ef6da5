"""Parts: each stage and what it is made with, the same in every kind of process."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from eventsourcing.persistence import Recording

from domain import planning
from domain.approval import ApprovalPolicy
from domain.jobs import Jobs
from domain.ports import Clock
from domain.registry import Registry
from streams import answers, envelope, topics
from streams import app as faust_apps
from streams.agents import Binding, Sender, bind, one_at_a_time, two_at_a_time
from streams.answers import Answering
from streams.archiving import Archivist, Heads
from streams.awaiting import Waiting
from streams.bootstrap.tracing import tracing_of
from streams.broadcasts import Broadcasts
from streams.clock import SystemClock, TimeOrderedIds
from streams.completions import Completing, completions
from streams.coordinator import Coordinator, CoordinatorSettings, Decided, Stored
from streams.failpoints import Failpoint, Failpoints
from streams.gateway import Gateway
from streams.intake import Intake
from streams.limits import Limits
from streams.live import LiveHub
from streams.liveness import Lane
from streams.loops import at_news, every, until_done
from streams.messaging import Messaging
from streams.metrics import Metrics
from streams.outbox import Known, Outbox, Settled, at_once, known_to_nobody
from streams.places import Places
from streams.plans import Plans
from streams.projector import Projector
from streams.queries import Queries
from streams.relay import LiveRelay
from streams.retaining import LOOKS, Retained, Retainer
from streams.retention import Retention
from streams.settings import Settings
from streams.situation import Present, Situation
from streams.slow import SlowPool
from streams.stores import buckets
from streams.stores.database import Database
from streams.stores.events import EventRecorder, SnapshotRecorder
from streams.stores.log import JobLog
from streams.stores.workers import ResidentMemory
from streams.supervised import EXIT_HUNG
from streams.sweep import Look
from streams.systems.annotations import Platform
from streams.tail import LogTail
from streams.tracing import Tracing
from streams.trail import Trail
from streams.vitals import Vitals
from streams.waking import Wake
from streams.worker import Worker, WorkerSettings

log = structlog.get_logger(__name__)

PROJECTION_PAUSE = 0.15
"""Seconds by which the list of jobs may lag: a small job is done before it is listed, and
its commits do not wait for the list's."""
SLOW_DRAIN = 0.8
"""What slow items may have of the time that a process has to end."""
CRASHED_DRAIN = 1.0
"""Seconds that the handlers of an app have that has crashed: those that have begun something have
nobody left who could acknowledge for them. One that has nothing in hand ends, and says why."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What the edge needs of a running engine."""

    gateway: Gateway
    queries: Queries
    hub: LiveHub
    tail: LogTail
    broadcasts: Broadcasts
    situation: Situation
    messaging: Messaging
    registry: Registry
    clock: Clock
    database: Database
    vitals: Vitals
    tracing: Tracing
    trail: Trail

    @property
    def plans(self) -> Plans:
        """What dry runs have found."""
        return Plans(self.database, self.queries, self.registry)

    @property
    def retention(self) -> Retention:
        """How long jobs at rest are kept."""
        return Retention(self.database, self.registry, self.clock)

    @property
    def annotations(self) -> Platform:
        """The records of the annotation platform, one by one."""
        return Platform(self.database, self.clock)


@dataclass(frozen=True, kw_only=True)
class Base:
    """What nearly every part is given."""

    settings: Settings
    registry: Registry
    database: Database
    clock: Clock
    ids: TimeOrderedIds
    failpoints: Failpoints
    recorder: EventRecorder
    jobs: Jobs
    metrics: Metrics
    tracing: Tracing

    @classmethod
    def of(
        cls, settings: Settings, registry: Registry, database: Database, tracing: Tracing | None
    ) -> Base:
        """With the real clock and the real ids, and tracing as the settings say."""
        recorder = EventRecorder(database)
        return cls(
            settings=settings,
            registry=registry,
            database=database,
            clock=SystemClock(),
            ids=TimeOrderedIds(),
            failpoints=Failpoints(settings.failpoint),
            recorder=recorder,
            jobs=Jobs(
                recorder,
                SnapshotRecorder(database),
                target_ms=planning.LONG_MS if _has_express(database) else planning.TARGET_MS,
            ),
            metrics=Metrics(),
            tracing=tracing or tracing_of(settings),
        )


def _has_express(database: Database) -> bool:
    """Whether short work is done beside long work: not where a database has one writer."""
    return not database.is_sqlite


class Readers:
    """Outbox and projector: what follows the notification log, woken by each commit."""

    def __init__(
        self,
        base: Base,
        send: Sender,
        known: Known = known_to_nobody,
        settled: Settled = at_once,
    ) -> None:
        """``known`` and ``settled`` say what the outbox need not send (:class:`.Outbox`)."""
        self._unpublished, self._unprojected = asyncio.Event(), asyncio.Event()
        self._outbox = Outbox(
            database=base.database,
            recorder=base.recorder,
            mapper=base.jobs.job_mapper,
            send=send.together,
            failpoints=base.failpoints,
            known=known,
            settled=settled,
        )
        self._projector = Projector(
            database=base.database,
            recorder=base.recorder,
            mapper=base.jobs.job_mapper,
            failpoints=base.failpoints,
        )

    def tell(self, recordings: Iterable[Recording[str]]) -> None:
        """Events were just committed by this process."""
        self._outbox.offer(recordings)
        self.wake()

    def wake(self) -> None:
        """Events were committed, by whomever."""
        self._unpublished.set()
        self._unprojected.set()

    async def publish(self, *, pause: float = 0.0) -> None:
        """The outbox's work, for as long as this process owns it.

        ``pause`` gathers events for so many seconds, where no reader waits for the topic.
        """
        self._outbox.start_over()
        saving = asyncio.ensure_future(every(0.5, self._outbox.save))
        try:
            work = partial(until_done, self._outbox.publish)
            await at_news(self._unpublished, work, pause=pause)
        finally:
            saving.cancel()
            await asyncio.gather(saving, return_exceptions=True)

    async def project(self) -> None:
        """The projector's work, for as long as this process owns it."""
        self._projector.start_over()
        work = partial(until_done, self._projector.project)
        await at_news(self._unprojected, work, pause=PROJECTION_PAUSE)


def coordinator(
    base: Base,
    places: Places,
    limits: Limits,
    wake: Wake,
    stored: Stored,
    decided: Decided,
    *,
    answering: Answering = answers.answers,
) -> Coordinator:
    """The stage that decides."""
    return Coordinator(
        database=base.database,
        jobs=base.jobs,
        registry=base.registry,
        clock=base.clock,
        ids=base.ids,
        settings=CoordinatorSettings(
            claim_by=base.settings.claim_by, approval=ApprovalPolicy(base.settings.approval_above)
        ),
        failpoints=base.failpoints,
        places=places,
        limits=limits,
        draw=random.random,
        wake=wake,
        stored=stored,
        decided=decided,
        answering=answering,
        metrics=base.metrics,
        tracing=base.tracing,
    )


def slow_pool(base: Base, send: Sender) -> SlowPool:
    """Where slow operations run."""
    pool = SlowPool(
        database=base.database,
        clock=base.clock,
        ids=base.ids,
        failpoints=base.failpoints,
        send=send,
        lease=base.settings.lease,
        heartbeat=base.settings.heartbeat,
        hung=end_hung,
        metrics=base.metrics,
        tracing=base.tracing,
    )
    base.metrics.works_slowly(lambda: pool.leased.in_flight)
    return pool


def worker(
    base: Base,
    name: str,
    slow: SlowPool,
    lane: Lane,
    *,
    lasting: bool = True,
    told: Callable[[str], bool] = lambda _: False,
    completing: Completing = completions,
) -> Worker:
    """The stage that changes records; ``name`` must be that of no other, dead or alive.

    ``lasting``: see :class:`~streams.worker.WorkerSettings`; ``told``: see its :class:`Worker`.
    """
    return Worker(
        database=base.database,
        registry=base.registry,
        clock=base.clock,
        ids=base.ids,
        settings=WorkerSettings(
            name=name,
            lease=base.settings.lease,
            heartbeat=base.settings.heartbeat,
            lasting=lasting,
        ),
        failpoints=base.failpoints,
        slow=slow,
        draw=random.random,
        hung=end_hung,
        moved=lane.moved,
        told=told,
        completing=completing,
        metrics=base.metrics,
        tracing=base.tracing,
    )


async def seed_limits(base: Base) -> None:
    """Have the buckets say what the settings say, but for those that somebody has changed."""
    table, now = base.settings.limit_table, base.clock.now().timestamp()
    await base.database.write(lambda connection: buckets.seed(connection, table, now))


def intake(base: Base, slow: SlowPool) -> Intake:
    """What lets work into this process, by its memory."""
    return Intake(
        budget=base.settings.memory_budget,
        measure=ResidentMemory(base.clock),
        background=lambda: slow.leased.in_flight,
        clock=base.clock,
    )


def gateway(base: Base, send: Sender, waiting: Waiting) -> Gateway:
    """Commands in, from the edge."""
    return Gateway(
        database=base.database,
        registry=base.registry,
        clock=base.clock,
        ids=base.ids,
        send=send,
        decided=waiting,
        failpoints=base.failpoints,
        quotas=base.settings.quota_table,
    )


def tail(base: Base, hub: LiveHub) -> LogTail:
    """What follows the log for those who follow whole tenants."""
    return LogTail(database=base.database, log=JobLog(base.jobs.job_mapper), hub=hub)


def situation(base: Base, vitals: Vitals, present: Present, send: Sender) -> Situation:
    """What is around jobs, for those who ask; ``present`` finds the workers that live."""
    return Situation(
        database=base.database,
        registry=base.registry,
        clock=base.clock,
        present=present,
        broker_away=lambda: vitals.broker_away,
        hint=lambda job_id: send(envelope.look_at(job_id, base.ids.new())),
    )


def bind_coordinator(app: Any, stage: Coordinator, send: Sender, base: Base, lane: Lane) -> None:
    """Have ``app`` hand commands to the coordinator."""
    binding = Binding(
        topic=topics.COMMANDS,
        decode=envelope.decode_command,
        handle=stage.handle,
        before_send=Failpoint.BEFORE_DISPATCH_SEND,
        after_send=Failpoint.AFTER_DISPATCH_SEND,
        moved=lane.moved,
        handled=lane.handled,
        buried=answers.buried,
        metrics=base.metrics,
        tracing=base.tracing,
    )
    bind(app, binding, send, base.failpoints)


def bind_worker(
    app: Any,
    handle: Callable[[envelope.Work], Awaitable[list[envelope.Outgoing]]],
    send: Sender,
    base: Base,
    lane: Lane,
    *,
    systems: Iterable[str],
    intake: Intake,
) -> None:
    """Have ``app`` hand the work of some systems to the worker, as far as there is memory."""
    for system in systems:
        binding = Binding(
            topic=topics.work(system),
            decode=envelope.decode_work,
            handle=partial(
                intake.through, handle, lane.moved, is_late=partial(faust_apps.is_leaving, app)
            ),
            before_send=Failpoint.BEFORE_OUTCOME_SEND,
            after_send=Failpoint.AFTER_OUTCOME_SEND,
            moved=lane.moved,
            handled=lane.handled,
            metrics=base.metrics,
            tracing=base.tracing,
            reader=two_at_a_time if _has_express(base.database) else one_at_a_time,
        )
        bind(app, binding, send, base.failpoints)


def bind_live(app: Any, relay: LiveRelay, send: Sender, base: Base, lane: Lane) -> None:
    """Have ``app`` hand what is published to those who read live in this process."""
    told: dict[str, Any] = {
        "moved": lane.moved,
        "handled": lane.handled,
        "metrics": base.metrics,
    }
    events: Binding[Any] = Binding(
        topic=topics.EVENTS, decode=relay.decode_event, handle=relay.event, **told
    )
    outcomes: Binding[Any] = Binding(
        topic=topics.OUTCOMES, decode=relay.decode_outcome, handle=relay.outcome, **told
    )
    bind(app, events, send, base.failpoints)
    bind(app, outcomes, send, base.failpoints)


def hinting(ids: TimeOrderedIds) -> Look:
    """For a sweep: have the job looked at by the process that drives it."""

    async def look(job_id: str) -> list[envelope.Outgoing]:
        return [envelope.look_at(job_id, ids.new())]

    return look


def retaining(base: Base, send: Sender, heads: Heads, retained: Retained) -> list[Any]:
    """What is done by the rules of retention, and for jobs that were put away, for ever.

    Loops that do not wait for one another: files may take their time, and shredding must not.
    """
    retainer = Retainer(
        database=base.database,
        registry=base.registry,
        clock=base.clock,
        send=send,
        retained=retained,
    )
    looks: list[Callable[[], Awaitable[object]]] = [retainer.look]
    if base.settings.archive_dir is not None:
        archivist = Archivist(
            database=base.database,
            registry=base.registry,
            folder=base.settings.archive_dir,
            heads=heads,
            ids=base.ids,
            send=send,
            failpoints=base.failpoints,
            retained=retained,
        )
        looks.append(archivist.look)
    return [every(LOOKS * base.settings.sweep, look) for look in looks]


def drain_of(base: Base, apps: Iterable[Any]) -> float:
    """Seconds that what is in flight has to end."""
    drain = base.settings.drain
    return min(drain, CRASHED_DRAIN) if any(app.crashed for app in apps) else drain


async def drain_slow(slow: SlowPool, seconds: float) -> float:
    """Let slow items that have begun end; returns what is left of the seconds for all else."""
    began = time.monotonic()
    await slow.drain(seconds * SLOW_DRAIN)
    return seconds - min(time.monotonic() - began, seconds * SLOW_DRAIN)


async def stop(app: Any, drain: float) -> None:
    """Stop an app when its handlers are done; a process in which they are not ends hard."""
    if not await faust_apps.stop(app, drain=drain):
        log.error("drain_timed_out", app=app.conf.id)
        os._exit(EXIT_HUNG)


async def watch(vitals: Vitals) -> None:
    """The watchdog: a process whose stages stand still is replaced."""
    await vitals.measure()
    if vitals.stuck:
        end_hung("; ".join((await vitals.health()).reasons))


def end_hung(reason: str) -> None:
    """A thread that hangs cannot be stopped: the supervisor replaces the process."""
    log.critical("hung", reason=reason)
    os._exit(EXIT_HUNG)
