"""Places: which jobs may send chunks now, so that work in flight is shared fairly.

Asked by the coordinator within its transaction. :class:`LivePlaces` serves the only
coordinator of an installation from its live jobs; where there are several, the facts are
in the database (:mod:`streams.shared_places`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from sqlalchemy import Connection

from domain import scheduling
from domain.job import Job
from domain.ports import Clock
from domain.registry import Registry
from streams.dispatching import dispatches_of, dispatches_wanted
from streams.limits import Limits
from streams.stores import grants

KNOWN_SECONDS = 1.0
"""How old may be what is known of workers and weights."""


class Places(Protocol):
    """Shares the places for work in flight among jobs, system by system."""

    def allot(self, connection: Connection, job: Job, live: Mapping[str, Job]) -> dict[str, int]:
        """How many dispatches each job may make now; a job without any is left out.

        ``job`` is as it was just decided on, ``live`` are the jobs of this process.
        """
        ...

    def left(
        self, connection: Connection, job: Job, live: Mapping[str, Job], room: dict[str, int]
    ) -> dict[str, int]:
        """``room`` as it is for the others now that the job took fewer than it was allotted."""
        ...

    def keep(self, connection: Connection, job: Job, *, sent: bool) -> None:
        """Note, in the same transaction, what the job has and wants now that it was planned.

        ``sent`` says whether it makes dispatches in this transaction.
        """
        ...

    def withdraw(self, connection: Connection, job_id: str) -> None:
        """A job that cannot be read keeps no places from others."""
        ...

    def served(self, job_id: str) -> None:
        """A job has just sent chunks: the transaction is committed."""
        ...

    def holding(self, topic: str) -> Sequence[Sequence[int]]:
        """The partitions of a topic that each slot holds, as far as that is known."""
        ...

    def forget(self, job_id: str) -> None:
        """A job is at rest, or driven elsewhere."""
        ...


class LivePlaces:
    """Places of the only coordinator; ``slots`` are the workers' in all."""

    def __init__(self, registry: Registry, clock: Clock, limits: Limits, *, slots: int) -> None:
        self._registry = registry
        self._limits = limits
        self._clock = clock
        self._slots = slots
        self._limit = scheduling.DISPATCHES_PER_SLOT * slots
        self._company = scheduling.Company()
        self._served: dict[str, float] = {}
        self._weights: Mapping[str, float] = scheduling.EQUAL
        self._weighed_at = float("-inf")

    def keep(self, connection: Connection, job: Job, *, sent: bool) -> None:
        """Nothing: the live jobs say it."""

    def withdraw(self, connection: Connection, job_id: str) -> None:
        """Nothing: it is no live job."""

    def holding(self, topic: str) -> Sequence[Sequence[int]]:
        """Nothing: there is no more than one to hold any."""
        del topic
        return ()

    def served(self, job_id: str) -> None:
        """A job has just sent chunks."""
        self._served[job_id] = self._clock.monotonic()

    def forget(self, job_id: str) -> None:
        """A job is at rest."""
        self._served.pop(job_id, None)

    def allot(self, connection: Connection, job: Job, live: Mapping[str, Job]) -> dict[str, int]:
        """See :class:`Places`; the database is asked for weights only, once a second."""
        now = self._clock.monotonic()
        if now - self._weighed_at >= KNOWN_SECONDS:
            self._weights, self._weighed_at = grants.weights(connection), now
        return self.among({**live, job.id: job})

    def left(
        self, connection: Connection, job: Job, live: Mapping[str, Job], room: dict[str, int]
    ) -> dict[str, int]:
        """As it is now: the job was taken for one that wants as many as there are."""
        del room
        return self.allot(connection, job, live)

    def among(self, live: Mapping[str, Job]) -> dict[str, int]:
        """How many dispatches each of these jobs may make now.

        A job whose operation is not installed any more waits until it is again.
        """
        by_system: dict[str, list[Job]] = {}
        for job in live.values():
            if job.spec.operation not in self._registry:
                continue
            system = self._registry.get(job.spec.operation).system
            by_system.setdefault(system, []).append(job)
        allotted: dict[str, int] = {}
        for system, jobs in by_system.items():
            allotted |= self._allot(system, jobs)
        return allotted

    def _allot(self, system: str, jobs: Sequence[Job]) -> dict[str, int]:
        now = self._clock.monotonic()
        waiting = [self._waiting(job, now) for job in jobs if job.wants_chunks()]
        working = sum(1 for job in jobs if job.open or job.wants_chunks())
        return scheduling.allot(
            waiting,
            {
                job.id: dispatches_of(job, self._registry, self._limits.caps(job))
                for job in jobs
                if job.open
            },
            {job.id: job.tenant for job in jobs},
            limit=self._limit,
            kept=self._company.kept(system, working, slots=self._slots, now=now),
            now=now,
            weights=self._weights,
        )

    def _waiting(self, job: Job, now: float) -> scheduling.Waiting:
        """A job that wants chunks, with how many it may have where caps hold it back."""
        most = None
        shared = self._limits.caps(job)
        if self._limits.holds(job.id):
            most = 0
        elif job.caps or shared:
            at = self._clock.now()
            most = dispatches_wanted(job, self._registry, most=self._limit, now=at, shared=shared)
        since = self._served.setdefault(job.id, now)
        return scheduling.Waiting(job.id, job.tenant, job.priority, since, most)
