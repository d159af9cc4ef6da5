"""Dispatching: which jobs may send chunks now, and the work messages for them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from domain import planning, scheduling
from domain.events import PlannedChunk
from domain.job import Job, Stamp
from domain.operation import Operation
from domain.ports import Clock
from domain.registry import Registry
from streams import topics
from streams.envelope import Outgoing, Work, WorkChunk, encode


class Dispatcher:
    """Shares the places for work in flight among jobs, system by system."""

    def __init__(self, registry: Registry, clock: Clock, *, slots: int) -> None:
        self._registry = registry
        self._clock = clock
        self._limit = scheduling.DISPATCHES_PER_SLOT * slots
        self._served: dict[str, float] = {}

    def served(self, job_id: str) -> None:
        """A job has just sent chunks."""
        self._served[job_id] = self._clock.monotonic()

    def forget(self, job_id: str) -> None:
        """A job is at rest."""
        self._served.pop(job_id, None)

    def allotments(self, live: Iterable[Job]) -> dict[str, int]:
        """How many dispatches each live job may make now.

        A job whose operation is not installed any more waits until it is again.
        """
        by_system: dict[str, list[Job]] = {}
        for job in live:
            if job.spec.operation not in self._registry:
                continue
            by_system.setdefault(self._operation(job).system, []).append(job)
        allotted: dict[str, int] = {}
        for jobs in by_system.values():
            allotted |= self._allot(jobs)
        return allotted

    def plan(self, job: Job, stamp: Stamp, allotted: int) -> tuple[PlannedChunk, ...]:
        """Have the job cut as many chunks as it may send."""
        if not allotted:
            return ()
        operation = self._operation(job)
        room = allotted * self._pack(job, operation)
        return job.plan(stamp, room=room, slow=_waits(operation))

    def messages(self, job: Job, planned: Sequence[PlannedChunk]) -> list[Outgoing]:
        """The work messages of chunks just dispatched; small chunks share one."""
        operation = self._operation(job)
        pack = self._pack(job, operation)
        return [
            work_message(
                Work(
                    job_id=job.id,
                    operation=operation.kind,
                    epoch=job.epoch,
                    chunks=tuple(
                        WorkChunk(chunk=chunk.chunk, attempt=1)
                        for chunk in planned[first : first + pack]
                    ),
                )
            )
            for first in range(0, len(planned), pack)
        ]

    def _allot(self, jobs: Sequence[Job]) -> dict[str, int]:
        now = self._clock.monotonic()
        waiting = [
            scheduling.Waiting(
                job.id, job.tenant, job.spec.priority, self._served.setdefault(job.id, now)
            )
            for job in jobs
            if job.wants_chunks()
        ]
        return scheduling.allot(
            waiting,
            {job.id: self._dispatches(job) for job in jobs if job.open},
            {job.id: job.tenant for job in jobs},
            limit=self._limit,
            now=now,
        )

    def _dispatches(self, job: Job) -> int:
        return math.ceil(len(job.open) / self._pack(job, self._operation(job)))

    def _pack(self, job: Job, operation: Operation) -> int:
        return planning.chunks_per_dispatch(job.options, job.pace, slow=_waits(operation))

    def _operation(self, job: Job) -> Operation:
        return self._registry.get(job.spec.operation)


def work_message(work: Work) -> Outgoing:
    """A work message on the topic of its system."""
    system = work.operation.split(".", 1)[0]
    return Outgoing(topic=topics.work(system), key=work.job_id.encode(), value=encode(work))


def _waits(operation: Operation) -> bool:
    return operation.slow or operation.cpu_bound
