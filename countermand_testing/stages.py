"""The engine's own stages around one SQLite file, and a bus on which faults decide what arrives.

Coordinator, workers, pool of slow calls, sweep and timers are those of a server. What is
not: time passes only when nothing else is left to do, ids are counted, and dice have a seed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from countermand_testing.faults import NONE, Deaths, Faults, Mortal, WorkerDiedError
from domain.jobs import Jobs
from domain.registry import Registry
from streams import topics
from streams.coordinator import Coordinator, CoordinatorSettings
from streams.envelope import Outgoing, decode_command, decode_work, look_at
from streams.failpoints import Failpoints
from streams.limits import Limits
from streams.metrics import Metrics
from streams.places import LivePlaces
from streams.slow import SlowPool
from streams.stores import chunks as chunk_store
from streams.stores.database import Database
from streams.stores.decisions import Decision
from streams.stores.events import EventRecorder, SnapshotRecorder
from streams.sweep import Sweep, undriven
from streams.timers import Timers
from streams.worker import Worker, WorkerSettings

LEASE = 5.0
AGAIN = 0.1
LOOKS = 400
"""How often the sweep looks before a job counts as one that never ends."""
WORKERS = 2
FIRST_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


class NeverEndsError(AssertionError):
    """A job has not come to rest, however often it was looked at."""


class BenchClock:
    """Time that passes only when the bench says so."""

    def __init__(self) -> None:
        self._now = FIRST_MOMENT

    def now(self) -> datetime:
        """The present moment."""
        return self._now

    def monotonic(self) -> float:
        """The same, in seconds."""
        return self._now.timestamp()

    def pass_seconds(self, seconds: float) -> None:
        """Let time pass."""
        self._now += timedelta(seconds=seconds)


class BenchIds:
    """Ids in order."""

    def __init__(self) -> None:
        self._last = 0

    def new(self) -> str:
        """The next one."""
        self._last += 1
        return f"bench-{self._last:06d}"


@dataclass(frozen=True, slots=True)
class _Process:
    """A worker with what dies along with it."""

    worker: Worker
    slow: SlowPool
    mortal: Mortal


class BenchStages:
    """One coordinator and two workers."""

    def __init__(self, database: Database, registry: Registry, seed: int) -> None:
        self.database = database
        self.registry = registry
        self.clock = BenchClock()
        self.ids = BenchIds()
        self.decisions: dict[str, Decision] = {}
        self.hung: list[str] = []
        self._bus: list[Outgoing] = []
        self._woken: list[str] = []
        self._chance = Random(seed)  # noqa: S311 - to be the same again
        self._faults, self._deaths = NONE, Deaths(())
        self.jobs = Jobs(EventRecorder(database), SnapshotRecorder(database))
        limits = Limits(registry, self.clock)
        # Nobody reads them; each set of them costs as much as a few items.
        self._metrics = Metrics()
        places = LivePlaces(registry, self.clock, limits, slots=WORKERS)
        self.coordinator = Coordinator(
            database=database,
            jobs=self.jobs,
            registry=registry,
            clock=self.clock,
            ids=self.ids,
            settings=CoordinatorSettings(claim_by=LEASE),
            failpoints=Failpoints(),
            places=places,
            limits=limits,
            draw=self._chance.random,
            wake=lambda job_id, _seconds: self._woken.append(job_id),
            stored=lambda _recordings: None,
            decided=self.decisions.__setitem__,
            metrics=self._metrics,
        )
        self._sweep = Sweep(
            database=database,
            registry=registry,
            clock=self.clock,
            claim_by=LEASE,
            neglected=undriven(self.coordinator, places),
            look=self.coordinator.look,
        )
        self._timers = Timers(database=database, clock=self.clock, send=self.send)
        self._processes = [self._process() for _ in range(WORKERS)]

    def suffer(self, faults: Faults) -> None:
        """Have these faults happen from now on, instead of those before."""
        self._faults, self._deaths = faults, Deaths(faults.crashes)
        self._processes = [self._process() for _ in range(WORKERS)]

    async def send(self, outgoing: Outgoing) -> None:
        """Put a message onto the bus."""
        self._bus.append(outgoing)

    @property
    def is_calling(self) -> bool:
        """Whether slow items are being worked."""
        return any(process.slow.leased.in_flight for process in self._processes)

    @property
    def deaths(self) -> int:
        """How many workers have died of the faults that happen now."""
        return self._deaths.happened

    async def step(self) -> bool:
        """Deliver one message; false when there is none. Slow work goes on meanwhile."""
        if not self._bus:
            return False
        await self._deliver(self._next())
        return True

    async def work_out(self) -> None:
        """Deliver until the bus is empty and no slow item is being worked."""
        while self._bus or self.is_calling:
            while await self.step():
                pass
            for number, process in enumerate(self._processes):
                await process.slow.leased.quiet()
                self._bury(number)

    async def settle(self) -> None:
        """Work, let time pass and look, until every job is at rest."""
        for _ in range(LOOKS):
            await self.work_out()
            if not await self.database.read(chunk_store.open_jobs):
                return
            self.clock.pass_seconds(LEASE + 1)
            await self._timers.fire()
            woken, self._woken = self._woken, []
            self._bus += [look_at(job_id, self.ids.new()) for job_id in dict.fromkeys(woken)]
            self._bus += await self._sweep.sweep()
        left = await self.database.read(chunk_store.open_jobs)
        raise NeverEndsError(f"after {LOOKS} looks still not at rest: {', '.join(left)}")

    async def drain(self, seconds: float) -> bool:
        """Stop all workers in an orderly way; whether they have stopped in time.

        Others take their place. ``seconds`` are real ones.
        """
        old, self._processes = self._processes, [self._process() for _ in range(WORKERS)]
        closing = [asyncio.ensure_future(process.slow.close()) for process in old]
        _, late = await asyncio.wait(closing, timeout=seconds)
        in_time = not late
        while late:
            # Who has swallowed a cancellation is told again, down to the call itself.
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            _, late = await asyncio.wait(late, timeout=AGAIN)
        return in_time

    # -- delivery ----------------------------------------------------------------------

    def _next(self) -> Outgoing:
        shuffled = self._happens(self._faults.shuffled)
        return self._bus.pop(self._chance.randrange(len(self._bus)) if shuffled else 0)

    async def _deliver(self, outgoing: Outgoing) -> None:
        if self._happens(self._faults.lost):
            return
        if self._happens(self._faults.repeated):
            self._bus.insert(self._chance.randrange(len(self._bus) + 1), outgoing)
        if outgoing.topic == topics.COMMANDS:
            self._bus += await self.coordinator.handle(decode_command(outgoing.value))
        elif outgoing.topic.startswith(topics.work("")):
            await self._work(outgoing)

    async def _work(self, outgoing: Outgoing) -> None:
        number = self._chance.randrange(WORKERS)
        process = self._processes[number]
        try:
            self._bus += await process.worker.handle(decode_work(outgoing.value))
        except WorkerDiedError:
            # Never acknowledged: a broker gives it to whoever is there now, before all others.
            self._bus.insert(0, outgoing)
        self._bury(number)
        if self._happens(self._faults.rebalanced):
            leaving, self._processes[number] = self._processes[number], self._process()
            await leaving.slow.close()

    def _bury(self, number: int) -> None:
        if self._processes[number].mortal.dead:
            self._processes[number] = self._process()

    def _happens(self, share: float) -> bool:
        return share > 0 and self._chance.random() < share

    def _process(self) -> _Process:
        mortal = Mortal(self._deaths)
        slow = SlowPool(
            database=self.database,
            clock=self.clock,
            ids=self.ids,
            failpoints=mortal,
            send=self.send,
            lease=LEASE,
            heartbeat=LEASE / 3,
            hung=self.hung.append,
            metrics=self._metrics,
        )
        worker = Worker(
            database=self.database,
            registry=self.registry,
            clock=self.clock,
            ids=self.ids,
            settings=WorkerSettings(name=self.ids.new()),
            failpoints=mortal,
            slow=slow,
            draw=self._chance.random,
            hung=self.hung.append,
            metrics=self._metrics,
        )
        return _Process(worker, slow, mortal)

    async def close(self) -> None:
        """End what still runs."""
        await self.drain(LEASE)
