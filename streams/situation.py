"""Situation: what is around jobs, for those who ask why one waits. Reads, and decides nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial

import psutil  # type: ignore[import-untyped]  # it ships no types
from sqlalchemy import Connection

from domain.job import Job
from domain.ports import Clock
from domain.registry import Registry
from domain.waiting import Surroundings, Waiting, by_itself, waiting
from streams.intake import MIB
from streams.stores import grants, waits
from streams.stores.ahead import working
from streams.stores.database import Database
from streams.stores.workers import WorkerRow, measured, slots_of

Present = Callable[[Connection, float], Sequence[WorkerRow]]
"""The workers that are alive at a time."""
Told = Callable[[WorkerRow], WorkerRow]


def _no_more(row: WorkerRow) -> WorkerRow:
    return row


class Situation:
    """Who works, whose work they have, and what a job therefore waits for."""

    def __init__(
        self,
        *,
        database: Database,
        registry: Registry,
        clock: Clock,
        present: Present,
        broker_away: Callable[[], str],
    ) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self._present = present
        self._broker_away = broker_away

    async def waiting(self, job: Job) -> Waiting | None:
        """Why the job waits, if it does; most jobs can be answered without a question."""
        if job.spec.steps or job.status.terminal or by_itself(job) is not None:
            return by_itself(job)
        around = await self._database.read(partial(self._around, job))
        return waiting(job, self._clock.now(), around)

    async def workers(self) -> list[WorkerRow]:
        """Workers that are alive, by name."""
        now = self._clock.now().timestamp()
        return list(await self._database.read(lambda found: self._present(found, now)))

    async def weights(self) -> dict[str, float]:
        """The shares of tenants that were given one; all others have 1."""
        return await self._database.read(grants.weights)

    async def weigh(self, tenant: str, weight: float) -> None:
        """Give a tenant another share of the places for which tenants compete."""
        await self._database.write(lambda found: grants.weigh(found, tenant, weight))

    def _around(self, job: Job, connection: Connection) -> Surroundings:
        if job.awaited:
            named = frozenset(after.job_id for after in job.awaited)
            return Surroundings(going_on=named - waits.ends_of(connection, named).keys())
        kind, away = job.spec.operation, self._broker_away()
        if kind not in self._registry:
            return Surroundings(slow=None, broker_away=away)
        operation = self._registry.get(kind)
        present = self._present(connection, self._clock.now().timestamp())
        ahead = working(connection, operation.system) if not job.open else []
        return Surroundings(
            slow=operation.waits,
            broker_away=away,
            slots=slots_of(present, operation.system),
            ahead=ahead,
            memory=_short_of_memory(present, operation.system),
        )


def _short_of_memory(present: Sequence[WorkerRow], system: str) -> str:
    """The workers of a system, if work waits at each of them until it has less memory."""
    working = [worker for worker in present if system in worker.systems]
    if not working or any(worker.held_since is None for worker in working):
        return ""
    said = [f"{w.host} {w.rss // MIB} of {w.memory_budget // MIB} MiB" for w in working[:3]]
    more = len(working) - len(said)
    return ", ".join([*said, f"{more} more"] if more else said)


def itself(here: WorkerRow, told: Told = _no_more) -> Present:
    """Of a process that works alone: itself; ``told`` adds what it says of its memory."""
    began = float(psutil.Process().create_time())

    def present(_connection: Connection, now: float) -> list[WorkerRow]:
        return [dataclasses.replace(told(measured(here)), started_at=began, seen_at=now)]

    return present
