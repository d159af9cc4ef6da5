"""Coordinator: commands in, work out. The stage that decides.

Called by :mod:`streams.agents` for every message of the commands topic, and by the sweep.
``handle`` takes one command and returns the messages to send; what it decided is stored
before it returns. One transaction holds events, chunk rows, grants, control row and
decision; the live aggregate is thrown away when that transaction does not commit.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import structlog
from eventsourcing.persistence import IntegrityError, Recording
from sqlalchemy import Connection

from domain.commands import Command, OpenJob, RecordOutcomes, SubmitJob
from domain.errors import CommandRefused, Unavailable, VersionConflict
from domain.events import PlannedChunk
from domain.job import Job, Stamp
from domain.jobs import Jobs
from domain.ports import Clock, Ids
from domain.registry import Registry
from streams.deciding import Decider
from streams.dispatching import Dispatcher, work_message
from streams.envelope import Outgoing
from streams.failpoints import Failpoint, Failpoints
from streams.killers import close_killer
from streams.stores import chunks as chunk_store
from streams.stores import outcomes
from streams.stores.chunks import Control
from streams.stores.database import Database
from streams.stores.decisions import Decision, find_decision, problem_of, store_decision
from streams.stores.overdue import Overdue, dispatch_again, overdue, still_late

log = structlog.get_logger(__name__)

CONFLICT_ATTEMPTS = 5
SNAPSHOT_EVERY = 200

Stored = Callable[[Iterable[Recording[str]]], None]
Decided = Callable[[str, Decision], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinatorSettings:
    """Seconds that a dispatched chunk waits for its claim; worker slots that are there."""

    claim_by: float = 5.0
    slots: int = 1


@dataclass(slots=True)
class _Step:
    """What one transaction brought about."""

    job: Job | None = None
    decision: Decision | None = None
    planned: tuple[PlannedChunk, ...] = ()
    recordings: list[Recording[str]] = field(default_factory=list)


class Coordinator:
    """Decides on commands; keeps the aggregates of jobs that are not at rest."""

    def __init__(  # noqa: PLR0913 - its ports, by name
        self,
        *,
        database: Database,
        jobs: Jobs,
        registry: Registry,
        clock: Clock,
        ids: Ids,
        settings: CoordinatorSettings,
        failpoints: Failpoints,
        stored: Stored,
        decided: Decided,
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._clock = clock
        self._settings = settings
        self._failpoints = failpoints
        self._stored = stored
        self._decided = decided
        self._registry = registry
        self._decider = Decider(registry, clock, ids)
        self._dispatcher = Dispatcher(registry, clock, slots=settings.slots)
        self._live: dict[str, Job] = {}
        self._sick: set[str] = set()
        # A lock lives as long as somebody holds it or waits for it.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    # -- what the agents call -------------------------------------------------------

    async def handle(self, command: Command) -> list[Outgoing]:
        """Decide on one command; returns what is to be sent."""
        if isinstance(command, RecordOutcomes) and self._knows_all(command.job_id):
            return []
        sent = await self._advance(command.job_id, command)
        return sent + await self._serve_others(command.job_id)

    async def recover(self) -> list[Outgoing]:
        """At the start of the only coordinator: void all leases, load what is under way."""
        await self._database.write(chunk_store.void_leases)
        return await self.sweep()

    async def sweep(self) -> list[Outgoing]:
        """Find what was lost: outcomes not recorded, chunks that nobody works, jobs idle."""
        late, unrecorded, open_jobs = await self._database.read(self._lost)
        sent: list[Outgoing] = []
        for job_id in dict.fromkeys([*unrecorded, *(j for j in open_jobs if j not in self._live)]):
            sent += await self._unless_sick(job_id, partial(self._advance, job_id, None))
        by_job: dict[str, list[Overdue]] = {}
        for chunk in late:
            by_job.setdefault(chunk.job_id, []).append(chunk)
        for job_id, chunks in by_job.items():
            sent += await self._unless_sick(job_id, partial(self._revive, job_id, chunks))
        return sent + await self._serve_others("")

    @property
    def in_flight(self) -> dict[str, int]:
        """Chunks in flight by job, for metrics."""
        return {job_id: len(job.open) for job_id, job in list(self._live.items()) if job.open}

    # -- one job, one lock, one transaction -----------------------------------------

    async def _advance(self, job_id: str, command: Command | None) -> list[Outgoing]:
        async with self._only(job_id):
            step = await self._committed(job_id, partial(self._transact, job_id, command))
            await self._after_commit(job_id, command, step)
        if step.job is None or not step.planned:
            return []
        return self._dispatcher.messages(step.job, step.planned)

    def _only(self, job_id: str) -> AbstractAsyncContextManager[None]:
        return self._locks.setdefault(job_id, asyncio.Lock())

    async def _committed(self, job_id: str, work: Callable[[Connection], _Step]) -> _Step:
        """The step, stored; reloads and decides again when another process was first."""
        tries = itertools.count()

        def fresh(connection: Connection) -> _Step:
            # The database may run this again, and then the live job has decided already.
            if next(tries):
                self._forget(job_id)
            return work(connection)

        for _attempt in range(CONFLICT_ATTEMPTS):
            try:
                return await self._database.write(fresh)
            except IntegrityError:
                self._forget(job_id)
            except BaseException:
                self._forget(job_id)
                raise
        raise VersionConflict(f"job {job_id} is being changed by another process; try again")

    async def _after_commit(self, job_id: str, command: Command | None, step: _Step) -> None:
        self._failpoints.reach(Failpoint.COORDINATOR_COMMITTED)
        if step.recordings:
            self._stored(step.recordings)
            self._failpoints.reach(Failpoint.HEADS_SIGNED)
        if command is not None and step.decision is not None:
            self._decided(command.command_id, _told(command, step.decision, step.job))
        job = step.job
        if job is None or job.version == 0:
            return
        if step.planned:
            self._dispatcher.served(job_id)
        if (
            step.recordings
            and job.version // SNAPSHOT_EVERY
            > (job.version - len(step.recordings)) // SNAPSHOT_EVERY
        ):
            await self._take_snapshot(job)
        self._keep(job)

    async def _take_snapshot(self, job: Job) -> None:
        """Only a shortcut: what was decided is sent whether or not it can be stored."""
        self._failpoints.reach(Failpoint.BEFORE_SNAPSHOT)
        try:
            await self._database.write(
                lambda connection: self._jobs.take_job_snapshot(job, connection=connection)
            )
        except Unavailable as error:
            log.warning("no_snapshot", job_id=job.id, version=job.version, reason=error.message)
        self._failpoints.reach(Failpoint.AFTER_SNAPSHOT)

    def _keep(self, job: Job) -> None:
        if job.resting:
            self._forget(job.id)
            return
        if job.id not in self._live and job.spec.operation not in self._registry:
            log.warning("operation_missing", job_id=job.id, operation=job.spec.operation)
        self._live[job.id] = job

    def _forget(self, job_id: str) -> None:
        self._live.pop(job_id, None)
        self._dispatcher.forget(job_id)

    def _transact(self, job_id: str, command: Command | None, connection: Connection) -> _Step:
        if command is not None and not isinstance(command, RecordOutcomes):
            known = find_decision(connection, command.command_id)
            if known is not None:
                return _Step(decision=known)
        version = chunk_store.lock_control(connection, job_id)
        job = self._load(job_id, version)
        problem = self._decide(connection, job, command)
        step = _Step(job=job, planned=self._plan(job))
        self._store(connection, job, step, is_new=version == 0)
        if command is not None and not isinstance(command, RecordOutcomes):
            self._failpoints.reach(Failpoint.BEFORE_DECISION)
            step.decision = Decision(job_id, job.version, problem)
            store_decision(
                connection, command.command_id, step.decision, self._clock.now().timestamp()
            )
            self._failpoints.reach(Failpoint.AFTER_DECISION)
        return step

    def _load(self, job_id: str, version: int) -> Job:
        """The job at its stored version: the live one, unless another process moved on."""
        live = self._live.get(job_id)
        if live is not None and live.version == version:
            return live
        return self._jobs.load(job_id) if version else Job(id=job_id)

    def _store(self, connection: Connection, job: Job, step: _Step, *, is_new: bool) -> None:
        self._failpoints.reach(Failpoint.BEFORE_APPEND)
        step.recordings = self._jobs.save(job, connection=connection)
        self._failpoints.reach(Failpoint.AFTER_APPEND)
        if not step.recordings:
            return
        control = _control_of(job)
        if is_new:
            chunk_store.insert_control(connection, control, open_=not job.resting)
        else:
            chunk_store.update_control(
                connection,
                job.id,
                epoch=job.epoch,
                version=job.version,
                open_=not job.resting,
            )
        if step.planned:
            now = self._clock.now().timestamp()
            chunk_store.dispatch(
                connection,
                control,
                step.planned,
                generation=job.generation,
                now=now,
                claim_by=now + self._settings.claim_by,
            )
            self._failpoints.reach(Failpoint.AFTER_CHUNK_ROWS)

    def _decide(
        self, connection: Connection, job: Job, command: Command | None
    ) -> dict[str, Any] | None:
        """Apply the command to the aggregate; the refusal as it is stored, or None."""
        self._decider.record(connection, job)
        if command is None or isinstance(command, RecordOutcomes):
            return None
        try:
            self._decider.apply(connection, job, command)
        except CommandRefused as refusal:
            return problem_of(refusal)
        return None

    def _plan(self, job: Job) -> tuple[PlannedChunk, ...]:
        if job.version == 0 or not job.wants_chunks():
            return ()
        live = {**self._live, job.id: job}.values()
        allotted = self._dispatcher.allotments(live).get(job.id, 0)
        return self._dispatcher.plan(job, Stamp("engine", "", self._clock.now()), allotted)

    async def _serve_others(self, job_id: str) -> list[Outgoing]:
        """Give free places to jobs that wait, other than the one just handled."""
        sent: list[Outgoing] = []
        for other in self._dispatcher.allotments(list(self._live.values())):
            if other != job_id:
                sent += await self._advance(other, None)
        return sent

    # -- what the sweep finds -------------------------------------------------------

    def _lost(self, connection: Connection) -> tuple[list[Overdue], list[str], list[str]]:
        now = self._clock.now().timestamp()
        return (
            overdue(connection, now),
            outcomes.jobs_with_unrecorded(connection),
            chunk_store.open_jobs(connection),
        )

    async def _unless_sick(
        self, job_id: str, work: Callable[[], Awaitable[list[Outgoing]]]
    ) -> list[Outgoing]:
        """What the work sends; a job that cannot be read or decided on stops no other."""
        try:
            return await work()
        except Unavailable:
            raise
        except Exception:
            if job_id not in self._sick:
                # Once a process: it is tried at every sweep, until it is well.
                self._sick.add(job_id)
                log.exception("job_left", job_id=job_id, remedy="run `countermand audit verify`")
            return []

    async def _revive(self, job_id: str, late: list[Overdue]) -> list[Outgoing]:
        """Dispatch overdue chunks again; close those that have killed their workers."""
        killers = [chunk for chunk in late if chunk.is_killer]
        # What no worker here knows is not sent again; see `Dispatcher.allotments`.
        others = [c for c in late if not c.is_killer and c.operation in self._registry]
        sent: list[Outgoing] = []
        now = self._clock.now().timestamp()
        if others:
            works = await self._database.write(
                lambda connection: dispatch_again(
                    connection, others, now=now, claim_by=now + self._settings.claim_by
                )
            )
            sent += [work_message(work) for work in works]
        if killers:
            await self._database.write(partial(self._close_killers, killers, now))
            sent += await self._advance(job_id, None)
        return sent

    def _close_killers(self, killers: list[Overdue], now: float, connection: Connection) -> None:
        for killer in still_late(connection, killers, now):
            close_killer(connection, killer, outcomes.sequence_at(self._clock.now()))

    def _knows_all(self, job_id: str) -> bool:
        """Whether no chunk of a job is open, so that a hint has nothing to say."""
        live = self._live.get(job_id)
        return live is not None and not live.open


def _told(command: Command, decision: Decision, job: Job | None) -> Decision:
    """The decision with a new job as it is now, which its sender would read at once."""
    if job is None or not isinstance(command, SubmitJob | OpenJob):
        return decision
    return replace(decision, job=job.model_copy(deep=True))


def _control_of(job: Job) -> Control:
    return Control(
        job_id=job.id,
        tenant=job.tenant,
        actor=job.created_by,
        operation=job.spec.operation,
        params=job.spec.params,
        epoch=job.epoch,
        version=job.version,
    )
