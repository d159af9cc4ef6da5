"""Situation: what is around jobs, for those who ask why one waits. Reads, and decides nothing."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import psutil  # type: ignore[import-untyped]  # it ships no types
import structlog
from sqlalchemy import Connection

from domain.buckets import SharedLimit, changed, names_of, possible
from domain.errors import InvalidCommand
from domain.job import Job
from domain.options import NO_CAPS
from domain.ports import Clock
from domain.registry import Registry
from domain.waiting import Surroundings, Waiting, by_itself, waiting
from streams.intake import MIB
from streams.limits import KNOWN_SECONDS
from streams.stores import buckets, grants, waits
from streams.stores.ahead import working
from streams.stores.buckets import BucketRow, Use
from streams.stores.chunks import open_jobs_of
from streams.stores.database import Database
from streams.stores.workers import WorkerRow, measured, slots_of

log = structlog.get_logger(__name__)

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
        hint: Callable[[str], Awaitable[None]],
    ) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self._present = present
        self._broker_away = broker_away
        self._hint = hint

    async def waiting(self, job: Job) -> Waiting | None:
        """Why the job waits, if it does; most jobs can be answered without a question."""
        told = by_itself(job, self._clock.now())
        if job.spec.steps or job.status.terminal or told is not None:
            return told
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

    async def limits(self) -> list[LimitView]:
        """The limits of providers and queues that somebody has set, by name."""
        return await self._database.read(_limits)

    async def limit(self, name: str, wanted: SharedLimit, *, by: str) -> LimitView:
        """Change a limit that jobs share; raises InvalidCommand for one that cannot be.

        Returns when every coordinator knows of it, and has been asked to look at its jobs.
        """
        names = possible([*self._registry])
        if name not in names:
            raise InvalidCommand(
                f"no operation draws from {name!r}; possible: {', '.join(names)}", pointer="/name"
            )
        now = self._clock.now().timestamp()
        work = partial(_configure, name=name, wanted=wanted, by=by, now=now)
        view = await self._database.write(work)
        log.info("limit_changed", bucket=name, by=by, **wanted.model_dump(exclude_defaults=True))
        await asyncio.sleep(KNOWN_SECONDS)
        kinds = self._registry.kinds(lambda operation: name in names_of(operation))
        for job_id in await self._database.read(partial(open_jobs_of, kinds=kinds)):
            await self._hint(job_id)
        return view

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
            limit=self._limit_on(connection, names_of(operation)),
            system=operation.system,
        )

    def _limit_on(self, connection: Connection, names: Sequence[str]) -> str:
        """What the first of the buckets that holds jobs back holds them to, in words."""
        known = buckets.known(connection)
        rows = [known[name] for name in names if name in known]
        uses = buckets.uses(connection, names) if rows else []
        now = self._clock.now()
        return next((said for row in rows if (said := row.shared(uses).holds(now))), "")


@dataclasses.dataclass(frozen=True, slots=True)
class LimitView:
    """A limit that jobs share, with what is under way; ``waiting`` jobs want more of it."""

    row: BucketRow
    calls: int
    jobs: int
    waiting: int


def _limits(connection: Connection) -> list[LimitView]:
    rows = buckets.known(connection)
    uses = buckets.uses(connection, [*rows])
    return [_view(row, [use for use in uses if use.name == row.name]) for row in rows.values()]


def _configure(
    connection: Connection, name: str, wanted: SharedLimit, by: str, now: float
) -> LimitView:
    before = buckets.known(connection).get(name)
    caps = changed(before.caps if before else NO_CAPS, wanted)
    row = buckets.configure(connection, name, caps, by=by, now=now)
    return _view(row, buckets.uses(connection, [name]))


def _view(row: BucketRow, uses: Sequence[Use]) -> LimitView:
    calls, waiting = sum(use.calls for use in uses), sum(use.waits for use in uses)
    return LimitView(row, calls, len(uses), waiting)


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
