"""Shared places: work in flight, shared among the jobs of all coordinators.

The facts are in the table ``grants``, a row a job. A coordinator finds room for its own
job, and for others, which are told so by hints. Places that were offered
are kept for a while; a coordinator that died, or cannot read its job, holds nobody up
longer. Their number follows the workers that live.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection

from domain import scheduling
from domain.job import Job
from domain.ports import Clock
from domain.registry import Registry
from streams.dispatching import dispatches_of, dispatches_wanted
from streams.limits import Limits
from streams.places import KNOWN_SECONDS
from streams.stores import grants as grant_store
from streams.stores.grants import Grant
from streams.stores.workers import WorkerRow, live_workers, slots_holding, slots_of

OFFER_SECONDS = 2.0
"""How long places are kept for a job whose coordinator was told of them."""
UNLISTED_AT_ONCE = 100


@dataclasses.dataclass(frozen=True, slots=True)
class _Known:
    """What changes rarely: who works, and the weights of tenants."""

    at: float
    workers: Sequence[WorkerRow]
    weights: Mapping[str, float]

    def slots(self, system: str) -> int:
        """What works at once; without a worker, the first that comes."""
        return max(slots_of(self.workers, system), 1)

    def limit(self, system: str) -> int:
        """Dispatches in flight; without a worker, those that wait for the first."""
        return scheduling.DISPATCHES_PER_SLOT * self.slots(system)


class SharedPlaces:
    """Places of one coordinator among several; see :class:`streams.places.Places`."""

    def __init__(self, registry: Registry, clock: Clock, limits: Limits) -> None:
        self._registry = registry
        self._limits = limits
        self._clock = clock
        self._company = scheduling.Company()
        self._known: _Known | None = None
        self._stored: dict[str, Grant | None] = {}
        self._after = ""

    def allot(self, connection: Connection, job: Job, live: Mapping[str, Job]) -> dict[str, int]:
        """How many dispatches the job may make now, and those of others, who are to be told."""
        del live
        if job.version == 0:
            return {}
        now = self._now()
        known = self._look_up(connection, now)
        own = self._grant(job, known, now)
        if not own.most:
            stored = self._stored[job.id] = grant_store.find_grant(connection, job.id)
            if _says(stored, _since(stored, own)):
                return {}
        grant_store.lock_grants(connection, own.system)
        found = grant_store.granted(connection, own.system, job.id)
        stored = next((grant for grant in found if grant.job_id == job.id), None)
        self._stored[job.id], own = stored, _since(stored, own)
        granted = [*_but(job.id, found), own]
        kept = self._kept(own.system, granted, known, now)
        free = known.limit(own.system) - _in_flight(granted)
        if free <= 0:
            return {}
        lapsed = now - OFFER_SECONDS
        # One more than there is room for, as the first may be this one: is it alone?
        waiting = grant_store.waiting(connection, own.system, free + 1, offered_after=lapsed)
        others = list(_but(job.id, waiting))
        allotted = _allot([*others, own], granted, known, now, own.system, kept)
        for other in others:
            if other.offered_at is not None:
                allotted.pop(other.job_id, None)
        grant_store.offer(connection, sorted(allotted.keys() - {job.id}), now)
        return allotted

    def left(
        self, connection: Connection, job: Job, live: Mapping[str, Job], room: dict[str, int]
    ) -> dict[str, int]:
        """The same: a job is allotted no more than it wants, so others were counted as well."""
        del connection, job, live
        return room

    def keep(self, connection: Connection, job: Job, *, sent: bool) -> None:
        """Write the job's row anew, under the lock that ``allot`` took, if it says more."""
        if job.version == 0:
            return
        now = self._now()
        stored = self._stored.pop(job.id, None)
        own = _since(stored, self._grant(job, self._look_up(connection, now), now))
        if sent:
            own = dataclasses.replace(own, since=now)
        if _says(stored, own):
            return
        if own.most or own.in_flight:
            grant_store.put_grant(connection, own)
        else:
            grant_store.drop_grant(connection, job.id)

    def withdraw(self, connection: Connection, job_id: str) -> None:
        """Remove the job's row; a sweep tries it again as one that nobody has listed."""
        stored = grant_store.find_grant(connection, job_id)
        if stored is not None:
            grant_store.lock_grants(connection, stored.system)
            grant_store.drop_grant(connection, job_id)

    def served(self, job_id: str) -> None:
        """Nothing: the row says it."""

    def holding(self, topic: str) -> Sequence[Sequence[int]]:
        """The partitions of a topic that each slot holds, as its worker said a second ago."""
        return [] if self._known is None else slots_holding(self._known.workers, topic)

    def forget(self, job_id: str) -> None:
        """The job is at rest, or what was decided on it was not stored."""
        self._stored.pop(job_id, None)

    def entitled(self, connection: Connection) -> list[str]:
        """Jobs of all coordinators that may send now, or that nobody has listed; for a sweep.

        Those who did not take what they were offered are named as well, beside those who
        may have it instead.
        """
        now = self._now()
        known = self._look_up(connection, now)
        found: dict[str, None] = {}
        for system in grant_store.systems(connection):
            granted = grant_store.granted(connection, system)
            kept = self._kept(system, granted, known, now)
            free = known.limit(system) - _in_flight(granted)
            if free <= 0:
                continue
            for lapsed in (float("-inf"), now - OFFER_SECONDS):
                waiting = grant_store.waiting(connection, system, free + 1, offered_after=lapsed)
                found |= dict.fromkeys(_allot(waiting, granted, known, now, system, kept))
        return [*found, *self._unlisted(connection)]

    def _unlisted(self, connection: Connection) -> list[str]:
        """The next of those jobs; after the last comes the first again."""
        jobs = grant_store.unlisted(connection, self._after, UNLISTED_AT_ONCE)
        self._after = jobs[-1] if len(jobs) == UNLISTED_AT_ONCE else ""
        return jobs

    def _grant(self, job: Job, known: _Known, now: float) -> Grant:
        """What a job that begins to want now has; one whose operation is missing has no row."""
        system = self._registry.system_of(job.spec.operation)
        at = self._clock.now()
        shared, most = self._limits.caps(job), 0
        if not self._limits.holds(job.id):
            limit = known.limit(system)
            most = dispatches_wanted(job, self._registry, most=limit, now=at, shared=shared)
        return Grant(
            job_id=job.id,
            system=system,
            tenant=job.tenant,
            priority=job.priority,
            since=now,
            most=most,
            in_flight=(
                dispatches_of(job, self._registry, shared)
                if job.spec.operation in self._registry
                else 0
            ),
        )

    def _kept(self, system: str, granted: Sequence[Grant], known: _Known, now: float) -> int:
        """The places that a job which alone wants some leaves to whoever comes."""
        working = sum(1 for grant in granted if grant.in_flight or grant.most)
        return self._company.kept(system, working, slots=known.slots(system), now=now)

    def _look_up(self, connection: Connection, now: float) -> _Known:
        known = self._known
        if known is None or not 0 <= now - known.at < KNOWN_SECONDS:
            live = live_workers(connection, now)
            known = self._known = _Known(now, live, grant_store.weights(connection))
        return known

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _since(stored: Grant | None, own: Grant) -> Grant:
    """What the job's row should say: it may have wanted some before."""
    if stored is None or (own.most > 0 and stored.most == 0):
        return own
    return dataclasses.replace(own, since=stored.since)


def _says(stored: Grant | None, own: Grant) -> bool:
    """Whether there is nothing to write: no row says that a job neither has nor wants any."""
    return not (own.most or own.in_flight) if stored is None else stored == own


def _in_flight(granted: Iterable[Grant]) -> int:
    return sum(grant.in_flight for grant in granted)


def _but(job_id: str, grants: Iterable[Grant]) -> Iterable[Grant]:
    return (grant for grant in grants if grant.job_id != job_id)


def _allot(
    waiting: Iterable[Grant],
    granted: Sequence[Grant],
    known: _Known,
    now: float,
    system: str,
    kept: int,
) -> dict[str, int]:
    """Share the free places of a system."""
    return scheduling.allot(
        [
            scheduling.Waiting(grant.job_id, grant.tenant, grant.priority, grant.since, grant.most)
            for grant in waiting
        ],
        {grant.job_id: grant.in_flight for grant in granted},
        {grant.job_id: grant.tenant for grant in granted},
        limit=known.limit(system),
        kept=kept,
        now=now,
        weights=known.weights,
    )
