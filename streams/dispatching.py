"""Dispatching: a job's next chunks, and the work messages for them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from domain import planning
from domain.caps import FREE, Ration
from domain.events import Cause, JobStatus, PlannedChunk
from domain.job import Job, Stamp
from domain.operation import Operation
from domain.options import NO_CAPS, Caps
from domain.registry import Registry
from streams import topics
from streams.envelope import WORK_MODE, Outgoing, Work, WorkChunk, WorkMode, encode
from streams.spreading import Spread


class Dispatcher:
    """Cuts the next chunks of a job and makes their work messages."""

    def __init__(self, registry: Registry, spread: Spread) -> None:
        self._registry = registry
        self._spread = spread
        self._paces: dict[tuple[str, bool], float] = {}

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

    def messages(
        self, job: Job, planned: Sequence[PlannedChunk], live: Mapping[str, Job]
    ) -> list[Outgoing]:
        """The work messages of chunks just dispatched; small chunks share one.

        ``live`` are the jobs of this process, the job among them.
        """
        operation = self._registry.get(job.spec.operation)
        undoing = any(chunk.cause.undoing for chunk in planned)
        # Those of an undo are worked in their order, and one plan of them is one pack.
        # And those of slow work share nothing: each for itself may go to another worker.
        pack = len(planned) if undoing else 1 if operation.waits else job.pack(slow=False)
        in_order = undoing or operation.in_order
        sent: list[Outgoing] = []
        for first in range(0, len(planned), pack):
            numbers = [chunk.chunk for chunk in planned[first : first + pack]]
            chunks = tuple(WorkChunk(chunk=number, attempt=1) for number in numbers)
            # By the name that is stored, whatever the operation is called by now.
            kind = job.spec.operation
            work = Work(job_id=job.id, operation=kind, epoch=job.epoch, chunks=chunks)
            is_first = not sent and len(job.open) == len(planned)
            mode = self._mode(job, operation, planned[first : first + pack], is_first=is_first)
            message = work_message(work, operation.system, in_order=in_order, mode=mode)
            if not in_order:
                partition = self._spread.place(message.topic, job.id, numbers, live)
                message = replace(message, partition=partition)
            sent.append(message)
        return sent

    def _mode(
        self, job: Job, operation: Operation, chunks: Sequence[PlannedChunk], *, is_first: bool
    ) -> WorkMode:
        """What is worked beside these chunks; ``is_first``: no other of the job is under way."""
        if any(planning.is_suspect(chunk.cause, chunk.parent) for chunk in chunks):
            return WorkMode.EXCLUSIVE
        if any(chunk.cause is Cause.COMMIT for chunk in chunks):
            # The pace is that of the trial, which waits for nobody's records.
            return WorkMode.SEQUENTIAL
        undoing = any(chunk.cause.undoing for chunk in chunks)
        if _only_begins(job, operation, undoing=undoing):
            return WorkMode.CONCURRENT
        items = sum(job.items_of(chunk.chunk) for chunk in chunks)
        pace = self._pace(job, operation, undoing=undoing)
        is_short = planning.is_short(pace, items, first=is_first)
        return WorkMode.CONCURRENT if is_short else WorkMode.SEQUENTIAL

    def _pace(self, job: Job, operation: Operation, *, undoing: bool) -> float | None:
        """Milliseconds an item, of this job or of the one before it that was known."""
        kind = operation.kind, undoing
        if job.pace.ms_per_item is not None:
            self._paces[kind] = job.pace.ms_per_item
        return self._paces.get(kind)


def _only_begins(job: Job, operation: Operation, *, undoing: bool) -> bool:
    """Whether the message only begins its work, which then goes on beside all others."""
    if undoing:
        return operation.compensating is not None
    return operation.waits and not job.options.dry_run


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


def work_message(
    work: Work, system: str, *, in_order: bool, mode: WorkMode = WorkMode.SEQUENTIAL
) -> Outgoing:
    """A work message on the topic of the system that its operation is of by now.

    Work that must stay in its order has the key of its job, and one worker at a time. Other
    work has keys of its own, which spread it over all workers where nothing better is known;
    sent again, another may get it.
    """
    first = work.chunks[0]
    key = work.job_id if in_order else f"{work.job_id}.{first.chunk}.{first.attempt}"
    headers = () if mode is WorkMode.SEQUENTIAL else ((WORK_MODE, mode.encode()),)
    return Outgoing(topics.work(system), key.encode(), encode(work), headers)
