"""Queries: what may be asked about jobs. Each sees one tenant's jobs only."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from sqlalchemy import Connection, select

from domain.errors import JobNotFound
from domain.events import JobEvent
from domain.execution import item_document
from domain.job import Job
from domain.jobs import Jobs
from domain.outcomes import ItemStatus
from domain.ranges import Ranges
from streams.attempts import ItemPast, past_of
from streams.stores import ledger as ledgers
from streams.stores import read_model
from streams.stores.database import Database
from streams.stores.error_groups import ErrorGroup, group_errors
from streams.stores.ledger import LedgerEntry
from streams.stores.payloads import PayloadReader
from streams.stores.schema import chunks, outcomes

WINDOW = 5000


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an item is not done."""

    code: str
    message: str
    pointer: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class ItemView:
    """Where an item stands; ``item`` is what was sent."""

    position: int
    status: ItemStatus
    result: Any
    score: float | None
    duration_ms: float | None
    error: Fault | None
    chunk: int | None
    attempt: int | None
    item: Any = None


_Reach = dict[int, tuple[int, int]]
"""Chunk to the first position it may speak of, and the one after the last; in plan order."""


class Queries:
    """Reads; every method raises JobNotFound for a job that the tenant does not have."""

    def __init__(self, database: Database, jobs: Jobs) -> None:
        self._database = database
        self._jobs = jobs

    async def job(self, tenant: str, job_id: str, version: int | None = None) -> Job:
        """The job as it is, or as it was at ``version``."""
        return await self._database.aside(partial(self._load, tenant, job_id, version))

    async def jobs(self, tenant: str, **filters: Any) -> read_model.Page:
        """A page of the list of jobs, which may lag behind."""
        return await self._database.read(
            lambda connection: read_model.list_jobs(connection, tenant, **filters)
        )

    async def events(self, tenant: str, job_id: str, after: int, limit: int) -> list[JobEvent]:
        """At most ``limit`` events with a version above ``after``, in order."""
        # With the last one seen, which tells whose job it is when there is nothing behind it.
        known = max(after - 1, 0)
        found = await self._database.aside(partial(self._events, job_id, known, limit + 1))
        if found and found[0].tenant != tenant:
            raise _not_found(job_id)
        if not found:
            await self.job(tenant, job_id)
        return [event for event in found if event.originator_version > after][:limit]

    async def items(
        self,
        tenant: str,
        job_id: str,
        *,
        status: ItemStatus | None = None,
        after: int = -1,
        limit: int | None = None,
    ) -> AsyncGenerator[ItemView, None]:
        """The job's items behind position ``after``, in order, with their latest results."""
        job = await self.job(tenant, job_id)
        total, left = job.counts.total, limit
        reader = PayloadReader()
        reach = await self._database.read(lambda connection: _reach(connection, job_id))
        for first in range(after + 1, total, WINDOW):
            end = min(first + WINDOW, total)
            window = partial(self._window, reader, (job, reach), (first, end), status, left)
            for view in await self._database.read(window):
                yield view
                if left is not None:
                    left -= 1
            if left == 0:
                return

    async def errors(self, tenant: str, job_id: str) -> list[ErrorGroup]:
        """The failed items by code and signature, the largest group first."""
        job = await self.job(tenant, job_id)
        others = job.waiting | job.dropped
        return await self._database.read(
            lambda connection: group_errors(connection, job_id, others)
        )

    async def item_past(self, tenant: str, job_id: str, position: int) -> ItemPast:
        """All that has become of an item that the job has."""
        await self.job(tenant, job_id)
        return await self._database.read(lambda connection: past_of(connection, job_id, position))

    def _load(self, tenant: str, job_id: str, version: int | None) -> Job:
        job = self._jobs.load(job_id, version=version)
        if job.tenant != tenant:
            raise _not_found(job_id)
        return job

    def _events(self, job_id: str, after: int, limit: int) -> list[JobEvent]:
        return list(self._jobs.events.get(job_id, gt=after, limit=limit))  # type: ignore[arg-type]

    def _window(
        self,
        reader: PayloadReader,
        known: tuple[Job, _Reach],
        span: tuple[int, int],
        status: ItemStatus | None,
        limit: int | None,
        connection: Connection,
    ) -> list[ItemView]:
        (job, reach), (first, end) = known, span
        said = _latest(connection, job.id, _touching(reach, span), span)
        _correct(said, job, Ranges.span(first, end))
        chosen = [
            position
            for position in range(first, end)
            if status is None or _status(said.get(position)) is status
        ][:limit]
        if not chosen:
            return []
        lines = reader.lines(connection, job.id, Ranges.of(chosen))
        return [
            _view(position, said.get(position), line)
            for position, line in zip(chosen, lines, strict=True)
        ]


_Said = tuple[LedgerEntry, int | None, int | None]


def _latest(
    connection: Connection, job_id: str, numbers: Sequence[int], span: tuple[int, int]
) -> dict[int, _Said]:
    """The latest word on each position of a window, in plan order."""
    first, end = span
    said: dict[int, _Said] = {}
    for chunk in reversed(numbers):
        row = connection.execute(
            select(outcomes.c.attempt, outcomes.c.ledger).where(
                outcomes.c.job_id == job_id, outcomes.c.chunk == chunk
            )
        ).one_or_none()
        if row is None:
            continue
        for entry in ledgers.entries(bytes(row.ledger)):
            if first <= entry.position < end and entry.status is not None:
                said.setdefault(entry.position, (entry, chunk, row.attempt))
    return said


def _correct(said: dict[int, _Said], job: Job, window: Ranges) -> None:
    """What the job knows and no chunk has said: who waits again, who was never attempted."""
    for position in job.waiting & window:
        said.pop(position, None)
    for position in job.dropped & window:
        skipped = LedgerEntry(
            position,
            ItemStatus.SKIPPED,
            code="not_attempted",
            message="the job was stopped before this item was worked",
        )
        said[position] = skipped, None, None


def _reach(connection: Connection, job_id: str) -> _Reach:
    """Where each chunk may speak; an undo chunk speaks of its target's items."""
    rows = connection.execute(
        select(chunks.c.chunk, chunks.c["items"], chunks.c.target)
        .where(chunks.c.job_id == job_id)
        .order_by(chunks.c.chunk)
    )
    reach: _Reach = {}
    for chunk, items, target in rows:
        spans = orjson.loads(items)
        if target is not None:
            reach[chunk] = reach[target]
        else:
            reach[chunk] = (spans[0][0], spans[-1][1]) if spans else (0, 0)
    return reach


def _touching(reach: _Reach, span: tuple[int, int]) -> list[int]:
    first, end = span
    return [chunk for chunk, (low, high) in reach.items() if low < end and high > first]


def _status(said: _Said | None) -> ItemStatus:
    status = said[0].status if said is not None else None
    return status if status is not None else ItemStatus.PENDING


def _view(position: int, said: _Said | None, line: bytes) -> ItemView:
    item = item_document(line)
    if said is None:
        return ItemView(position, ItemStatus.PENDING, None, None, None, None, None, None, item)
    entry, chunk, attempt = said
    fault = Fault(entry.code, entry.message, entry.pointer, entry.retryable) if entry.code else None
    return ItemView(
        position,
        _status(said),
        entry.result,
        entry.score,
        entry.duration_ms,
        fault,
        chunk,
        attempt,
        item,
    )


def _not_found(job_id: str) -> JobNotFound:
    return JobNotFound(f"there is no job {job_id}; `countermand jobs` lists them")
