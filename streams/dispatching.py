"""Dispatching: a job's next chunks, and the work messages for them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from domain import planning
from domain.events import PlannedChunk
from domain.job import Job, Stamp
from domain.operation import Operation
from domain.registry import Registry
from streams import topics
from streams.envelope import Outgoing, Work, WorkChunk, encode


class Dispatcher:
    """Cuts the next chunks of a job and makes their work messages."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def plan(self, job: Job, stamp: Stamp, allotted: int) -> tuple[PlannedChunk, ...]:
        """Have the job cut as many chunks as it may send in so many dispatches."""
        if not allotted:
            return ()
        operation = self._registry.get(job.spec.operation)
        slow = operation.waits
        return job.plan(stamp, room=job.room(allotted, slow=slow), slow=slow)

    def messages(self, job: Job, planned: Sequence[PlannedChunk]) -> list[Outgoing]:
        """The work messages of chunks just dispatched; small chunks share one."""
        operation = self._registry.get(job.spec.operation)
        undoing = any(chunk.cause.undoing for chunk in planned)
        # Those of an undo are worked in their order, and one plan of them is one pack.
        pack = len(planned) if undoing else _pack(job, operation)
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


def dispatches_of(job: Job, registry: Registry) -> int:
    """How many places a job's open chunks take up; those that share a message take one."""
    if any(chunk.cause.undoing for chunk in job.open.values()):
        return 1
    return math.ceil(len(job.open) / _pack(job, registry.get(job.spec.operation)))


def dispatches_wanted(job: Job, registry: Registry, *, most: int) -> int:
    """How many places more a job could use now; none when its operation is not installed."""
    if job.spec.operation not in registry or not job.wants_chunks():
        return 0
    if job.backlog[0].cause.undoing:
        return 1
    operation = registry.get(job.spec.operation)
    pack = _pack(job, operation)
    return math.ceil(job.ready_chunks(most=most * pack, slow=operation.waits) / pack)


def work_message(work: Work, *, in_order: bool) -> Outgoing:
    """A work message on the topic of its system.

    Work that must stay in its order has the key of its job, and one worker at a time. Other
    work has keys of its own, which spread it over all workers; sent again, another may get it.
    """
    system = work.operation.split(".", 1)[0]
    first = work.chunks[0]
    key = work.job_id if in_order else f"{work.job_id}.{first.chunk}.{first.attempt}"
    return Outgoing(topic=topics.work(system), key=key.encode(), value=encode(work))


def _pack(job: Job, operation: Operation) -> int:
    return planning.chunks_per_dispatch(job.options, job.pace, slow=operation.waits)
