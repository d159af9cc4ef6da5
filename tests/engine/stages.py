"""The real stages on a real database, with a bus on which a test decides what arrives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from eventsourcing.persistence import Recording

from domain.approval import ApprovalPolicy
from domain.commands import CancelJob, InlineItems, JobSpec, PauseJob, SubmitJob
from domain.job import Job
from domain.jobs import Jobs
from domain.registry import Registry
from streams import topics
from streams.coordinator import Coordinator, CoordinatorSettings
from streams.envelope import Outgoing, decode_command, decode_work, look_at
from streams.failpoints import Failpoints
from streams.limits import Limits
from streams.metrics import Metrics
from streams.places import LivePlaces
from streams.shared_places import SharedPlaces
from streams.slow import SlowPool
from streams.stores.database import Database
from streams.stores.decisions import Decision
from streams.stores.events import EventRecorder, SnapshotRecorder
from streams.sweep import Sweep, undriven
from streams.worker import Worker, WorkerSettings


class HandClock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        self._now += timedelta(microseconds=1)
        return self._now

    def monotonic(self) -> float:
        return self.now().timestamp()

    def pass_seconds(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


class Counter:
    """Ids in order."""

    def __init__(self) -> None:
        self._last = 0

    def new(self) -> str:
        self._last += 1
        return f"id-{self._last:06d}"


@dataclass
class Stages:
    """Coordinators and workers around one database; ``bus`` holds what was sent."""

    database: Database
    registry: Registry
    clock: HandClock = field(default_factory=HandClock)
    ids: Counter = field(default_factory=Counter)
    bus: list[Outgoing] = field(default_factory=list)
    decisions: dict[str, Decision] = field(default_factory=dict)
    hung: list[str] = field(default_factory=list)
    woken: list[tuple[str, float]] = field(default_factory=list)
    workers: int = 0
    heartbeat: float = 1.5
    moved: Callable[[], None] = field(default=lambda: None)
    told: Callable[[str], bool] = field(default=lambda _: False)
    failpoints: Failpoints = field(default_factory=Failpoints)
    """The coordinator's."""
    worker_failpoints: Failpoints = field(default_factory=Failpoints)
    shared: bool = False
    """Whether there may be others like these, on the same database."""
    draw: Callable[[], float] = field(default=lambda: 0.5)
    approval: ApprovalPolicy = field(default_factory=ApprovalPolicy)
    """As coordinators have it that begin from now on."""
    stored: Callable[[Iterable[Recording[str]]], None] = field(default=lambda recordings: None)
    """Told of what was committed."""

    def __post_init__(self) -> None:
        self.recorder = EventRecorder(self.database)
        self.jobs = Jobs(self.recorder, SnapshotRecorder(self.database))
        self.restart()

    def restart(self) -> None:
        """New processes: what was in memory is gone; the bus stays, as on a broker."""
        self.workers += 1
        self.metrics = Metrics()
        limits = Limits(self.registry, self.clock)
        places = (
            SharedPlaces(self.registry, self.clock, limits)
            if self.shared
            else LivePlaces(self.registry, self.clock, limits, slots=1)
        )
        self.coordinator = Coordinator(
            database=self.database,
            jobs=self.jobs,
            registry=self.registry,
            clock=self.clock,
            ids=self.ids,
            settings=CoordinatorSettings(claim_by=5.0, approval=self.approval),
            failpoints=self.failpoints,
            places=places,
            limits=limits,
            draw=self.draw,
            wake=lambda job_id, seconds: self.woken.append((job_id, seconds)),
            stored=self.stored,
            decided=self.decisions.__setitem__,
        )
        self.sweep = Sweep(
            database=self.database,
            registry=self.registry,
            clock=self.clock,
            claim_by=5.0,
            neglected=(
                places.entitled
                if isinstance(places, SharedPlaces)
                else undriven(self.coordinator, places)
            ),
            look=self._hint if self.shared else self.coordinator.look,
            metrics=self.metrics,
        )
        self.slow = SlowPool(
            database=self.database,
            clock=self.clock,
            ids=self.ids,
            failpoints=Failpoints(),
            send=self.send,
            lease=5.0,
            heartbeat=self.heartbeat,
            hung=self.hung.append,
            metrics=self.metrics,
        )
        self.worker = Worker(
            database=self.database,
            registry=self.registry,
            clock=self.clock,
            ids=self.ids,
            settings=WorkerSettings(name=f"worker-{self.workers}", heartbeat=self.heartbeat),
            failpoints=self.worker_failpoints,
            slow=self.slow,
            draw=self.draw,
            hung=self.hung.append,
            moved=self.moved,
            told=self.told,
            metrics=self.metrics,
        )

    async def _hint(self, job_id: str) -> list[Outgoing]:
        return [look_at(job_id, self.ids.new())]

    async def send(self, outgoing: Outgoing) -> None:
        """Put a message on the bus."""
        self.bus.append(outgoing)

    async def submit(
        self, operation: str, items: Iterable[Any], *, tenant: str = "local", **fields: Any
    ) -> str:
        job_id = self.ids.new()
        command = SubmitJob(
            command_id=f"{job_id}.submit",
            job_id=job_id,
            tenant=tenant,
            actor="tester",
            spec=JobSpec(operation=operation, **fields),
            source=InlineItems(items=tuple(items)),
        )
        self.bus += await self.coordinator.handle(command)
        return job_id

    async def command(
        self, kind: type[PauseJob | CancelJob] | Any, job_id: str, **fields: Any
    ) -> Decision:
        command = kind(
            command_id=self.ids.new(), job_id=job_id, tenant="local", actor="tester", **fields
        )
        self.bus += await self.coordinator.handle(command)
        return self.decisions[command.command_id]

    async def deliver(self, outgoing: Outgoing) -> None:
        """Hand one message to its stage; what the stage sends goes onto the bus."""
        if outgoing.topic == topics.COMMANDS:
            self.bus += await self.coordinator.handle(decode_command(outgoing.value))
        elif outgoing.topic.startswith("countermand.work."):
            self.bus += await self.worker.handle(decode_work(outgoing.value))

    async def run_dry(self) -> None:
        """Deliver, in order, until nothing is on the bus."""
        while self.bus:
            await self.deliver(self.bus.pop(0))

    async def work_out(self) -> None:
        """As ``run_dry``, with what the worker does in the background."""
        await self.run_dry()
        while self.slow.leased.in_flight:
            await self.slow.leased.quiet()
            await self.run_dry()

    async def mend(self, rounds: int = 60) -> None:
        """Let time pass and the sweep look, until all jobs are at rest."""
        for _ in range(rounds):
            await self.work_out()
            if not await self._unfinished():
                return
            self.clock.pass_seconds(6)
            await self.sweep.run(self.send)
        raise AssertionError(f"still unfinished: {await self._unfinished()}")

    async def _unfinished(self) -> list[Any]:
        return await self.rows("SELECT job_id FROM job_control WHERE open")

    async def job(self, job_id: str) -> Job:
        return await self.database.read(lambda _: self.jobs.load(job_id))

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        found = await self.database.read(lambda connection: connection.exec_driver_sql(sql).all())
        return [tuple(row) for row in found]

    async def kinds(self, job_id: str) -> list[str]:
        """The aliases of a job's events, in order."""
        rows = await self.rows(
            f"SELECT alias FROM events WHERE job_id = '{job_id}' ORDER BY version"
        )
        return [row[0] for row in rows]


async def told_nobody(job_id: str) -> None:
    """For a situation that changes nothing."""
    raise AssertionError(f"job {job_id} was told of something")


def document(outgoing: Outgoing) -> Any:
    """A message's JSON."""
    return orjson.loads(outgoing.value)
