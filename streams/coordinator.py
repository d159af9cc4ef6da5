"""Coordinator: commands in, work out. The stage that decides.

Called by :mod:`streams.agents` for every message of the commands topic. ``handle`` takes
one command and returns the messages to send; what it decided is stored before it returns.
One transaction holds events, chunk rows, grants, control row and decision; the live
aggregate is thrown away when that transaction does not commit.

Any process may handle any job: the control row is locked while one decides, and a live
aggregate whose version is not the stored one is loaded anew. What is sent to a job's
partition only sees to it that this is rare.

A command waits for the effects that are in flight, and holds new ones off. A look lets them go
on, since it says no more than what has become of others; where it turns out to stop the job
(a limit, a deadline), it begins again as a command does.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import structlog
from eventsourcing.persistence import IntegrityError, Recording
from sqlalchemy import Connection, exc

from domain.approval import ApprovalPolicy
from domain.caps import Ration
from domain.commands import (
    Command,
    OpenJob,
    RecordOutcomes,
    SubmitBatch,
    SubmitJob,
    uploads_of,
)
from domain.errors import (
    CommandRefused,
    IdempotencyConflict,
    Unavailable,
    UnsupportedVersion,
    VersionConflict,
)
from domain.events import PlannedChunk
from domain.job import Job, Stamp
from domain.jobs import Jobs
from domain.ports import Clock, Ids
from domain.registry import Registry
from domain.retrying import Draw
from streams.answers import Answering, answers
from streams.deciding import Decider, EffectsInFlight
from streams.dispatching import Dispatcher
from streams.envelope import Outgoing, look_at
from streams.failpoints import Failpoint, Failpoints
from streams.families import Families, Family
from streams.following import Follower, whom_to_tell
from streams.limits import Limits
from streams.loops import to_its_end
from streams.metrics import Metrics
from streams.places import Places
from streams.resting import Resting
from streams.sick import Sick
from streams.spreading import Spread
from streams.stores import chunks as chunk_store
from streams.stores import payloads
from streams.stores.chunks import version_of
from streams.stores.database import Database
from streams.stores.decisions import (
    Decision,
    announce_decision,
    lock_for,
    problem_of,
    store_decision,
)
from streams.storing import Before, Storing, has_moved
from streams.tracing import OFF, Tracing, carrying, of_job
from streams.waking import Wake

log = structlog.get_logger(__name__)

CONFLICT_ATTEMPTS = 5
SNAPSHOT_EVERY = 200

Stored = Callable[[Iterable[Recording[str]]], None]
Decided = Callable[[str, Decision], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinatorSettings:
    """``claim_by``: seconds that a dispatched chunk waits for its claim."""

    claim_by: float = 5.0
    approval: ApprovalPolicy = field(default_factory=ApprovalPolicy)


@dataclass(slots=True)
class _Step:
    """What one transaction brought about.

    ``others`` are jobs that may send chunks now, ``told`` those that must look at how this one
    goes; it is itself among them when there is more to do.
    """

    job: Job | None = None
    decision: Decision | None = None
    planned: tuple[PlannedChunk, ...] = ()
    others: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    recordings: list[Recording[str]] = field(default_factory=list)
    kin: list[Recording[str]] = field(default_factory=list)


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
        places: Places,
        limits: Limits,
        draw: Draw,
        wake: Wake,
        stored: Stored,
        decided: Decided,
        answering: Answering = answers,
        metrics: Metrics | None = None,
        tracing: Tracing = OFF,
    ) -> None:
        self._tracing = tracing
        self._metrics = metrics or Metrics()
        self._database = database
        self._jobs = jobs
        self._clock = clock
        self._settings = settings
        self._failpoints = failpoints
        self._wake = wake
        self._stored = stored
        self._decided = decided
        self._answers = answering
        self._registry = registry
        self._ids = ids
        self._decider = Decider(registry, clock, ids, draw, settings.approval)
        self._families = Families(self._decider, jobs, clock)
        self._storing = Storing(jobs, clock, failpoints, claim_by=settings.claim_by)
        self._follower = Follower(jobs, registry, clock, ids, settings.approval)
        self._dispatcher = Dispatcher(registry, Spread(places.holding))
        self._places = places
        self._limits = limits
        self._live: dict[str, Job] = {}
        self._times_left = 0
        self._resting = Resting(database)
        self._sick = Sick()
        # A lock lives as long as somebody holds it or waits for it.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    # -- what the agents call -------------------------------------------------------

    async def handle(self, command: Command) -> list[Outgoing]:
        """Decide on one command; returns what is to be sent."""
        if isinstance(command, RecordOutcomes):
            if self._has_recorded(command):
                return []
            return await self.look(command.job_id)
        return await self._advance(command.job_id, command)

    async def look(self, job_id: str) -> list[Outgoing]:
        """Record what was worked of a job, and send what it may send now."""
        sent, others = await self._unless_sick(job_id)
        return sent + await self._serve(others)

    async def prompted(self, job_id: str) -> list[Outgoing]:
        """Record little work of a job that this process drives; or a hint to do so in its turn.

        While there is more to plan, only those who take commands one by one may do it: what is
        planned has to be sent in its order.
        """
        if not self.drives(job_id):
            return []
        return await self.look_aside(job_id) if self.may_look(job_id) else [self._hint(job_id)]

    async def look_aside(self, job_id: str) -> list[Outgoing]:
        """As ``look``, beside those who take commands one by one.

        Other jobs for which there is room then get hints: what is planned of them has to be sent
        in its order.
        """
        sent, others = await self._unless_sick(job_id)
        return sent + [self._hint(other) for other in others]

    def may_look(self, job_id: str) -> bool:
        """Whether a job may be looked at outside the order of its commands.

        Not while a step is under way, which changes it in another thread; nor while there is more
        to plan or to record.
        """
        live = self._live.get(job_id)
        if live is None or self._is_busy(job_id):
            return False
        return not live.wants_chunks() and len(live.open) <= 1

    def drives(self, job_id: str) -> bool:
        """Whether this process keeps the job's aggregate."""
        return job_id in self._live

    async def settled(self) -> None:
        """Come back when the steps that are under way now are committed and told of."""
        for lock in [lock for lock in self._locks.values() if lock.locked()]:
            async with lock:
                pass

    def leave_all(self) -> None:
        """Forget the jobs that it drives: from now on others may drive them, and end them.

        One that is just being stepped is forgotten when its step has ended.
        """
        self._times_left += 1
        # All at once: a thread of the database may be taking one out.
        for job_id in list(self._live):
            if not self._is_busy(job_id):
                # What a step of its batch, if one is under way, knows of its places is its own.
                self._live.pop(job_id, None)
                self._limits.forget(job_id)

    @property
    def live(self) -> Mapping[str, Job]:
        """The jobs that this process drives, by id."""
        return dict(self._live)

    # -- one job, one lock, one transaction -----------------------------------------

    async def _advance(self, job_id: str, command: Command) -> list[Outgoing]:
        # Others in their turn: what is sent here waits for no step of a large job.
        sent, others = await self._step(job_id, command)
        return sent + [self._hint(other) for other in others]

    async def _serve(self, others: Iterable[str]) -> list[Outgoing]:
        """See to other jobs for which there is room; those driven elsewhere get a hint.

        One step each: jobs that made room for one another would never end.
        """
        sent: list[Outgoing] = []
        for job_id in others:
            if not self.drives(job_id):
                sent.append(self._hint(job_id))
                continue
            try:
                sent += (await self._unless_sick(job_id))[0]
            except Unavailable:
                # What was decided before must be sent; the sweep comes back to the others.
                break
        return sent

    async def _unless_sick(self, job_id: str) -> tuple[list[Outgoing], tuple[str, ...]]:
        """A job that cannot be read or decided on stops no other: it is left, said once."""
        try:
            done = await self._step(job_id, None)
        except Unavailable:
            raise
        except UnsupportedVersion as later:
            if self._sick.add(job_id):
                log.warning("job_waits_for_upgrade", job_id=job_id, reason=later.message)
            return [], ()
        except Exception:
            # It is tried at every sweep, until it is well.
            if self._sick.add(job_id):
                log.exception("job_left", job_id=job_id, remedy="run `countermand audit verify`")
            await self._database.write(lambda found: self._places.withdraw(found, job_id))
            return [], ()
        self._sick.discard(job_id)
        return done

    async def _step(
        self, job_id: str, command: Command | None
    ) -> tuple[list[Outgoing], tuple[str, ...]]:
        async with self._only(job_id):
            if command is None and await self._has_seen_all(job_id):
                return [], ()
            began, present = self._clock.monotonic(), self._tracing.traceparent()
            step = await self._committed(job_id, partial(self._transact, job_id, command, present))
            appended = len(step.recordings) + len(step.kin)
            self._metrics.appended(appended, self._clock.monotonic() - began)
            await self._after_commit(job_id, command, step)
        sent: list[Outgoing] = []
        if step.job is not None and step.planned:
            sent += self._dispatcher.messages(step.job, step.planned, self._live)
        sent += [self._hint(told) for told in step.told]
        if command is not None and step.decision is not None:
            sent += self._answers(command, step.decision)
        own = "" if step.job is None else of_job(step.job.traceparent, present)
        if own:
            # No message has brought this about, or one of another job.
            sent = [replace(one, headers=carrying(one.headers, own)) for one in sent]
        return sent, step.others

    @asynccontextmanager
    async def _only(self, job_id: str) -> AsyncIterator[None]:
        async with self._locks.setdefault(job_id, asyncio.Lock()):
            times = self._times_left
            try:
                yield
            finally:
                if times != self._times_left:
                    self._forget(job_id)

    def _is_busy(self, job_id: str) -> bool:
        lock = self._locks.get(job_id)
        return lock is not None and lock.locked()

    async def _committed(self, job_id: str, work: Callable[[Connection, bool], _Step]) -> _Step:
        """The step, stored; reloads and decides again when another process was first.

        ``work`` is told whether it must hold effects off from its beginning.
        """
        tries = itertools.count()
        alone = False

        def fresh(connection: Connection) -> _Step:
            # The database may run this again, and then the live job has decided already.
            if next(tries):
                self._forget(job_id)
            return work(connection, alone)

        for _attempt in range(CONFLICT_ATTEMPTS):
            try:
                # What it knows of job, places and limits stays until it has ended.
                return await to_its_end(self._database.write(fresh))
            except EffectsInFlight:
                alone = True
                self._forget(job_id)
            except (IntegrityError, exc.IntegrityError):
                # Its event, its decision or the row of a new job was stored first by another.
                self._forget(job_id)
            except BaseException:
                self._forget(job_id)
                raise
        raise VersionConflict(f"job {job_id} is being changed by another process; try again")

    async def _after_commit(self, job_id: str, command: Command | None, step: _Step) -> None:
        self._failpoints.reach(Failpoint.COORDINATOR_COMMITTED)
        for child in {str(recording.domain_event.originator_id) for recording in step.kin}:
            self._live.pop(child, None)
            if child not in self._locks:
                # What its own transaction, if one is under way, knows of places is its own.
                self._forget(child)
        if step.recordings:
            self._stored([*step.recordings, *step.kin])
            self._failpoints.reach(Failpoint.HEADS_SIGNED)
        if command is not None and step.decision is not None:
            self._decided(command.command_id, _told(command, step.decision, step.job))
        job = step.job
        if job is None or job.version == 0:
            return
        if step.planned:
            self._places.served(job_id)
        held = [at for at in (job.held_until, self._limits.held_until(job_id)) if at is not None]
        if held:
            self._wake(job_id, (max(held) - self._clock.now()).total_seconds())
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
            taken = self._database.write(
                lambda connection: self._jobs.take_job_snapshot(job, connection=connection),
                lasting=False,
            )
            # The next step changes the aggregate, and must not while it is written.
            await to_its_end(taken)
        except Unavailable as error:
            log.warning("no_snapshot", job_id=job.id, version=job.version, reason=error.message)
        self._failpoints.reach(Failpoint.AFTER_SNAPSHOT)

    def _keep(self, job: Job) -> None:
        if job.resting:
            self._forget(job.id)
            if job.archived is None and job.status.terminal and not job.spec.steps:
                # Others move a batch, whoever waits for them, and what was put away.
                self._resting.note(job)
            return
        if job.id not in self._live and job.spec.operation not in self._registry:
            log.warning("operation_missing", job_id=job.id, operation=job.spec.operation)
        self._live[job.id] = job

    def _forget(self, job_id: str) -> None:
        self._live.pop(job_id, None)
        self._places.forget(job_id)
        self._limits.forget(job_id)

    def _transact(
        self,
        job_id: str,
        command: Command | None,
        present: str,
        connection: Connection,
        alone: bool,
    ) -> _Step:
        if command is not None:
            version, known = lock_for(connection, job_id, command.command_id)
            if known is not None:
                payloads.remove_free(connection, command.tenant, uploads_of(command))
                return _Step(decision=_same(known, command))
        elif alone:
            version = chunk_store.lock_control(connection, job_id)
        else:
            version = chunk_store.lock_decisions(connection, job_id)
        job = self._load(job_id, version)
        if not version:
            job.traceparent = present
        before, family = Before.of(job), Family()
        self._families.lock(connection, job, command)
        alone = alone or command is not None
        problem = self._decide(connection, job, command, family, alone=alone)
        more = self._follow(connection, job, alone=alone)
        self._families.heed(connection, job, family)
        ration = self._limits.ration(connection, job)
        room = self._places.allot(connection, job, self._live)
        own = room.pop(job.id, 0)
        step = _Step(job=job, planned=self._plan(job, own, ration))
        next_ones = self._settle(connection, job, step.planned, family)
        freed = self._store(connection, job, before, step, family)
        if step.recordings:
            step.told = self._to_tell(connection, job, before, family, more=more)
        self._places.keep(connection, job, sent=bool(step.planned))
        if own and (not job.wants_chunks() or self._limits.holds(job.id)):
            # It may have left room that others can use.
            room = self._places.left(connection, job, self._live, room)
        step.others = tuple(dict.fromkeys([*room, *next_ones, *freed]))
        if command is not None:
            self._failpoints.reach(Failpoint.BEFORE_DECISION)
            step.decision = Decision(job_id, job.version, problem)
            store_decision(
                connection, command.command_id, step.decision, self._clock.now().timestamp()
            )
            announce_decision(connection, command.command_id, step.decision)
            self._failpoints.reach(Failpoint.AFTER_DECISION)
        return step

    def _follow(self, connection: Connection, job: Job, *, alone: bool) -> bool:
        """See how those have ended that the job comes after; whether there is more to take."""
        awaited = job.awaited
        more = self._follower.heed(connection, job)
        if job.awaited != awaited:
            # Its deadline may have passed while it was waiting.
            self._decider.heed_time(connection, job, alone=alone)
        return more

    def _load(self, job_id: str, version: int) -> Job:
        """The job at its stored version: the live one, unless another process moved on."""
        live = self._live.get(job_id)
        if live is not None and live.version == version:
            return live
        return self._jobs.load(job_id) if version else self._jobs.begin(job_id)

    def _settle(
        self, connection: Connection, job: Job, planned: Sequence[PlannedChunk], family: Family
    ) -> list[str]:
        """What the job and its changed children have of limits; the jobs whose turn it is then.

        Before it is stored that one has ended: nobody sees what an ended job has.
        """
        told = [*self._limits.settle(connection, job, planned)]
        for child, _ in family.changed.values():
            told += self._limits.settle(connection, child, ())
        return list(dict.fromkeys(told))

    def _store(
        self, connection: Connection, job: Job, before: Before, step: _Step, family: Family
    ) -> list[str]:
        """The job and those of its children that were changed with it; who may have their room."""
        children = sorted(family.changed.values(), key=lambda one: one[0].spec.operation)
        freed: list[str] = []
        changed = {child.id for child, _ in children}
        for child, _ in children:
            # Who changes what a job has of the places has locked them, before any event.
            room = self._places.allot(connection, child, self._live)
            freed += [other for other in room if other not in changed]
        step.recordings = self._storing.store(connection, job, before, step.planned)
        for child, was in children:
            step.kin += self._storing.store(connection, child, was)
            self._places.keep(connection, child, sent=False)
        return freed

    def _to_tell(
        self, connection: Connection, job: Job, before: Before, family: Family, *, more: bool
    ) -> tuple[str, ...]:
        """The jobs that must look at what has become of this one."""
        told = [*family.ids, *whom_to_tell(connection, job)]
        if job.spec.parent is not None and has_moved(job, before):
            told.append(job.spec.parent)
        return (*told, job.id) if more else tuple(told)

    def _decide(
        self,
        connection: Connection,
        job: Job,
        command: Command | None,
        family: Family,
        *,
        alone: bool,
    ) -> dict[str, Any] | None:
        """Apply the command to the aggregate; the refusal as it is stored, or None."""
        self._decider.record(connection, job, alone=alone)
        if command is None:
            return None
        try:
            job.check_version(command.tenant, command.if_version)
            if isinstance(command, SubmitBatch) or job.spec.steps:
                self._families.apply(connection, job, command, family)
            else:
                self._decider.apply(connection, job, command)
        except UnsupportedVersion:
            # Of a job of the batch, half of which may have been asked already.
            raise
        except CommandRefused as refusal:
            return problem_of(refusal)
        return None

    def _plan(self, job: Job, allotted: int, ration: Ration) -> tuple[PlannedChunk, ...]:
        if job.version == 0 or not job.wants_chunks():
            return ()
        stamp = Stamp("engine", "", self._clock.now())
        return self._dispatcher.plan(job, stamp, allotted, ration)

    def _hint(self, job_id: str) -> Outgoing:
        return look_at(job_id, self._ids.new())

    def _has_recorded(self, hint: RecordOutcomes) -> bool:
        """Whether the chunks of a hint are closed, by a look that found them before it came.

        Without this a large job whose chunks end faster than they are looked at would have ever
        more hints waiting, and with them all that others ask of this process.
        """
        live = self._live.get(hint.job_id)
        if live is None or not hint.chunks:
            return False
        return all(chunk < live.next_chunk and chunk not in live.open for chunk in hint.chunks)

    async def _has_seen_all(self, job_id: str) -> bool:
        """Whether no chunk of a job is open, so that a hint has nothing to say."""
        live = self._live.get(job_id)
        if live is None:
            return await self._resting.has(job_id)
        if live.open or live.wants_chunks():
            return False
        if live.version != await self._database.read(
            partial(version_of, job_id=job_id), single=True
        ):
            # Another process has driven it meanwhile.
            return False
        return live.wakes_at is None or live.wakes_at > self._clock.now()


def _same(known: Decision, command: Command) -> Decision:
    """The decision on a command that came before; its id may be no other job's."""
    if known.job_id == command.job_id:
        return known
    taken = IdempotencyConflict(
        "another command has this command_id; send it under a new one", pointer="/command_id"
    )
    return Decision(command.job_id, 0, problem_of(taken))


def _told(command: Command, decision: Decision, job: Job | None) -> Decision:
    """The decision with a new job as it is now, which its sender would read at once."""
    if job is None or not isinstance(command, SubmitJob | OpenJob | SubmitBatch):
        return decision
    return replace(decision, job=job.as_it_stands())
