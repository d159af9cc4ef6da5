"""Dispatching: a job's next chunks, and the work messages for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

from domain.caps import FREE, Ration
from domain.events import JobStatus, PlannedChunk
from domain.job import Job, Stamp
from domain.options import NO_CAPS, Caps
from domain.registry import Registry
from streams import topics
from streams.envelope import Outgoing, Work, WorkChunk, encode


class Dispatcher:
    """Cuts the next chunks of a job and makes their work messages."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def plan(
        self, job: Job, stamp: Stamp, allotted: int, ration: Ration = FREE
    ) -> tuple[PlannedChunk, ...]:
        """Have the job cut as many chunks as it may send in so many dispatches."""
        if not allotted:
            return ()
        operation = self._registry.get(job.spec.operation)
        undoing = job.status is JobStatus.ROLLING_BACK
        slow = operation.waits or (undoing and operation.compensate is not None)
        room = job.room(allotted, slow=slow, shared=ration.caps)
        return job.plan(stamp, room=room, slow=slow, ration=ration)

    def messages(self, job: Job, planned: Sequence[PlannedChunk]) -> list[Outgoing]:
        """The work messages of chunks just dispatched; small chunks share one."""
        operation = self._registry.get(job.spec.operation)
        undoing = any(chunk.cause.undoing for chunk in planned)
        # Those of an undo are worked in their order, and one plan of them is one pack.
        # And those of slow work share nothing: each for itself may go to another worker.
        pack = len(planned) if undoing else 1 if operation.waits else job.pack(slow=False)
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
                ),
                in_order=undoing or operation.in_order,
            )
            for first in range(0, len(planned), pack)
        ]


def dispatches_of(job: Job, registry: Registry, shared: Caps = NO_CAPS) -> int:
    """How many places a job's open chunks take up; those that share a message take one."""
    if any(chunk.cause.undoing for chunk in job.open.values()):
        return 1
    slow = registry.get(job.spec.operation).waits
    return math.ceil(len(job.open) / job.pack(slow=slow, shared=shared))


def dispatches_wanted(
    job: Job, registry: Registry, *, most: int, now: datetime, shared: Caps = NO_CAPS
) -> int:
    """How many places more a job could use now; none when its operation is not installed.

    What the caps of a job hold back needs no place.
    """
    if job.spec.operation not in registry or not job.wants_chunks():
        return 0
    if job.backlog[0].cause.undoing:
        return 1
    slow = registry.get(job.spec.operation).waits
    pack = job.pack(slow=slow, shared=shared)
    ready = job.ready_chunks(most=most * pack, slow=slow, now=now, shared=shared)
    return math.ceil(ready / pack)


def work_message(work: Work, *, in_order: bool) -> Outgoing:
    """A work message on the topic of its system.

    Work that must stay in its order has the key of its job, and one worker at a time. Other
    work has keys of its own, which spread it over all workers; sent again, another may get it.
    """
    system = work.operation.split(".", 1)[0]
    first = work.chunks[0]
    key = work.job_id if in_order else f"{work.job_id}.{first.chunk}.{first.attempt}"
    return Outgoing(topic=topics.work(system), key=key.encode(), value=encode(work))
