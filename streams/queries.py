"""Queries: what may be asked about jobs. Each sees one tenant's jobs only."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import Connection

from domain.compensation import Stage
from domain.errors import InvalidCommand, ItemsArchived, JobNotFound, RecordNotFound
from domain.events import JobEvent
from domain.item_keys import keys_like
from domain.job import Job
from domain.jobs import Jobs, stored_event
from domain.ranges import Ranges
from domain.registry import Registry
from streams.attempts import ItemPast, past_of
from streams.beginnings import LONGEST_BEGINNING, Beginnings
from streams.diffs import DIFFERENT, Change, Comparison, Difference, Run, Summary
from streams.items import ALL, ItemReading, ItemView, Standing, Wanted
from streams.keyed_diffs import KeyedComparison, pairs_by_key
from streams.previewing import Page, Preview, Previewer, WantedUndo
from streams.stores import compensations, keys, read_model
from streams.stores.compensations import CompensationView
from streams.stores.database import Database
from streams.stores.error_groups import ErrorGroup, group_errors
from streams.stores.events import some_events
from streams.stores.log import JobLog, LogPage, Tagged, last_position
from streams.stores.records.past import Past, Version
from streams.stores.records.past import Standing as RecordStanding
from streams.stores.records.shape import shape_of
from streams.stores.survey import (
    NOW,
    OWN_CODES,
    Until,
    chunks_that_wrote,
    failure_codes,
    survey,
)


class Queries:
    """Reads; raises JobNotFound, or RecordNotFound, for what the tenant does not have."""

    def __init__(
        self,
        database: Database,
        jobs: Jobs,
        registry: Registry,
        beginnings: Beginnings | None = None,
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._registry = registry
        self._beginnings = beginnings
        self._log = JobLog(jobs.job_mapper)

    async def job(self, tenant: str, job_id: str, version: int | None = None) -> Job:
        """The job as it is, or as it was at ``version``."""
        return await self._database.aside(partial(self._load, tenant, job_id, version))

    async def just_decided(self, tenant: str, job_id: str) -> Job:
        """The job after a decision; where beginnings are kept, its own is for who follows it."""
        if self._beginnings is None:
            return await self.job(tenant, job_id)
        read = partial(self._jobs.load_with_events, job_id, LONGEST_BEGINNING)
        with self._beginnings.reading(job_id) as beginning:
            job, events = await self._database.aside(read)
            beginning.extend(events)
        return _of(tenant, job)

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
            raise JobNotFound.of(job_id)
        if not found:
            await self.job(tenant, job_id)
        return [event for event in found if event.originator_version > after][:limit]

    async def log(self, tenant: str, after: int | None, limit: int, wanted: Tagged = ()) -> LogPage:
        """The tenant's events behind a position of the log, as far as one read looks.

        Those of jobs with one tag of each of the sets. None is the log's end.
        """

        def read(connection: Connection) -> LogPage:
            start = last_position(connection) if after is None else after
            return self._log.page(connection, tenant, start, limit, wanted)

        return await self._database.read(read)

    async def course(self, tenant: str, job_id: str, points: int) -> list[JobEvent]:
        """At most ``points`` events, spread evenly over the job's past, with the last one.

        They are the same however often one asks, but for those that are left out as more come.
        """
        job = await self.job(tenant, job_id)
        stride = 1
        while job.version // stride + 1 > points:
            stride *= 2
        versions = [*range(stride, job.version, stride), job.version]
        rows = await self._database.read(lambda c: some_events(c, job_id, versions))
        return [stored_event(self._jobs.job_mapper, row) for row in rows]

    async def items(
        self,
        tenant: str,
        job_id: str,
        wanted: Wanted = ALL,
        *,
        after: int = -1,
        limit: int | None = None,
        payload: bool = True,
    ) -> AsyncGenerator[ItemView, None]:
        """The wanted items behind position ``after``, in order, with their latest results.

        They are those of the moment when the first one is asked for; ``payload`` adds what
        was sent. Read as they are taken: never more than a window of them is in memory.
        """
        standing = await self.standing(tenant, job_id, wanted)
        reading = ItemReading(standing, wanted, payload=payload)
        left = limit
        for start, end in reading.spans(after):
            first = start
            while first < end:
                views, first = await self._database.read(
                    partial(_read, reading, (first, end), left)
                )
                for view in views:
                    yield view
                if left is not None:
                    left -= len(views)
                    if left <= 0:
                        return

    async def standing(self, tenant: str, job_id: str, wanted: Wanted = ALL) -> Standing:
        """What the job and its chunks tell of the items at this moment."""
        job = _with_items(await self.job(tenant, job_id))
        if wanted.key is not None and job.options.key is None:
            raise InvalidCommand(
                "the items of this job have no keys; submit with the option key", pointer="/key"
            )

        def look(connection: Connection) -> Standing:
            wrote, named = frozenset[int](), None
            if wanted.record is not None:
                wrote = chunks_that_wrote(connection, tenant, job_id, wanted.record)
            if wanted.key is not None:
                named = keys.called(connection, job_id, keys_like(wanted.key))
            return Standing(
                job_id,
                job.counts.total,
                job.waiting,
                job.dropped,
                survey(connection, job_id),
                wrote,
                stopped=job.skipped,
                repeated=job.repeated,
                withdrawn=job.withdrawn,
                named=named,
                shredded=job.shredded is not None,
            )

        return await self._database.read(look)

    async def diff(
        self,
        tenant: str,
        this: Run,
        other: Run,
        changes: Collection[Change] = DIFFERENT,
        *,
        key: str | None = None,
        after: int = -1,
        limit: int | None = None,
    ) -> AsyncGenerator[Difference, None]:
        """The items of two runs that differ in one of the ways, behind ``after``, in order.

        ``key`` is a JSON pointer to what an item is called; without it positions tell which
        items are the same.
        """
        comparison = await self._comparison(tenant, this, other, key)
        left = limit
        for span in comparison.spans(after):
            found = await self._database.read(partial(_compare, comparison, span, changes))
            for difference in found[:left]:
                yield difference
            if left is not None:
                left -= len(found)
                if left <= 0:
                    return

    async def diff_summary(
        self, tenant: str, this: Run, other: Run, *, key: str | None = None
    ) -> Summary:
        """How many items of two runs differ, and in which way."""
        comparison = await self._comparison(tenant, this, other, key)
        summary = Summary()
        for span in comparison.spans(-1):
            summary += await self._database.read(partial(_count, comparison, span))
        return summary

    async def _comparison(self, tenant: str, this: Run, other: Run, key: str | None) -> Comparison:
        runs = await self._run(tenant, this), await self._run(tenant, other, "other_")
        if key is None:
            return Comparison(*runs)
        pairs = await self._database.read(lambda connection: pairs_by_key(connection, *runs, key))
        return KeyedComparison(*runs, pairs)

    async def _run(self, tenant: str, run: Run, prefix: str = "") -> Standing:
        """The items of a run; ``prefix`` is that of its parameters."""
        job = _with_items(await self.job(tenant, run.job_id))
        if run.version is not None:
            job = await self.job(tenant, run.job_id, run.version)
        until, waiting, dropped = NOW, job.waiting, job.dropped
        if run.version is not None:
            until = Until(below=job.next_chunk, open=frozenset(job.open))
        if run.generation is not None:
            if run.generation > job.generation:
                raise InvalidCommand(
                    f"the job has the generations 0 to {job.generation}; an undo begins a new one",
                    pointer=f"/{prefix}generation",
                )
            until = replace(until, generation=run.generation)
            if run.generation < job.generation:
                # What waits now is the work of a later one.
                waiting = dropped = Ranges()
        found = await self._database.read(lambda connection: survey(connection, run.job_id, until))
        return Standing(
            run.job_id,
            job.counts.total,
            waiting,
            dropped,
            found,
            stopped=job.skipped,
            repeated=job.repeated,
            withdrawn=job.withdrawn,
        )

    async def codes(self, tenant: str, job_id: str) -> list[str]:
        """What the error code of an item of the job can be."""
        _with_items(await self.job(tenant, job_id))
        own = await self._database.read(lambda connection: failure_codes(connection, job_id))
        return sorted(own.union(OWN_CODES))

    async def errors(self, tenant: str, job_id: str) -> list[ErrorGroup]:
        """The failed items by code and signature, the largest group first."""
        job = _with_items(await self.job(tenant, job_id))
        others = job.waiting | job.dropped
        return await self._database.read(
            lambda connection: group_errors(connection, job_id, others)
        )

    async def item_past(self, tenant: str, job_id: str, position: int) -> ItemPast:
        """All that has become of an item that the job has."""
        job = _with_items(await self.job(tenant, job_id))
        bodies = job.shredded is None
        return await self._database.read(
            lambda connection: past_of(connection, job_id, position, bodies=bodies)
        )

    async def history(
        self, tenant: str, table: str, record_id: int, *, cursor: int | None = None, limit: int
    ) -> tuple[list[Version], int | None]:
        """Versions of a record below ``cursor``, the latest first, and the next page's cursor."""
        past = self._past(tenant, table, record_id)
        versions, following = await self._database.read(
            lambda connection: past(connection).page(cursor, limit)
        )
        # Behind the first version there is nothing more, which is no error.
        if not versions and not await self._database.read(lambda found: past(found).is_known()):
            raise _no_record(table, record_id)
        return versions, following

    async def blame(self, tenant: str, table: str, record_id: int) -> RecordStanding:
        """Who wrote what a record has now."""
        past = self._past(tenant, table, record_id)
        found = await self._database.read(lambda connection: past(connection).standing())
        if found is None:
            raise _no_record(table, record_id)
        return found

    def _past(self, tenant: str, table: str, record_id: int) -> Callable[[Connection], Past]:
        tables = self._registry.tables
        declared = tables.get(table)
        if declared is None:
            names = ", ".join(sorted(tables)) or "none"
            raise RecordNotFound(f"there is no table of records {table!r}; possible: {names}")
        return lambda connection: Past(
            connection, shape_of(declared, connection.dialect), tenant, record_id
        )

    async def undo_preview(
        self, tenant: str, job_id: str, page: Page, wanted: WantedUndo
    ) -> Preview:
        """What an undo would do now; raises CommandRefused as the undo itself would."""
        job = _no_batch(await self.job(tenant, job_id))
        return await Previewer(self._database, self._registry).preview(job, page, wanted)

    async def compensations(
        self, tenant: str, job_id: str, stages: Collection[Stage], *, after: int, limit: int
    ) -> list[CompensationView]:
        """Items in one of those stages of their compensation, behind position ``after``."""
        _with_items(await self.job(tenant, job_id))
        return await self._database.read(
            partial(compensations.page, job_id=job_id, stages=stages, after=after, limit=limit)
        )

    def _load(self, tenant: str, job_id: str, version: int | None) -> Job:
        return _of(tenant, self._jobs.load(job_id, version=version))

    def _events(self, job_id: str, after: int, limit: int) -> list[JobEvent]:
        return list(self._jobs.events.get(job_id, gt=after, limit=limit))  # type: ignore[arg-type]


def _read(
    reading: ItemReading, span: tuple[int, int], limit: int | None, connection: Connection
) -> tuple[list[ItemView], int]:
    return reading.read(connection, *span, limit)


def _compare(
    comparison: Comparison,
    span: tuple[int, int],
    changes: Collection[Change],
    connection: Connection,
) -> list[Difference]:
    return comparison.read(connection, *span, changes)


def _count(comparison: Comparison, span: tuple[int, int], connection: Connection) -> Summary:
    return comparison.count(connection, *span)


def _of(tenant: str, job: Job) -> Job:
    """The job; raises JobNotFound for one of another tenant."""
    if job.tenant != tenant:
        raise JobNotFound.of(job.id)
    return job


def _with_items(job: Job) -> Job:
    """The job; raises ItemsArchived for one of which only a file tells what became of its items."""
    file = _no_batch(job).emptied
    if file is not None:
        raise ItemsArchived(
            f"the job is archived{job.kept}: what became of its items is in the archive "
            f"{file.name} (SHA-256 {file.sha256}); look at that: "
            f"countermand audit verify --archive FILE"
        )
    return job


def _no_batch(job: Job) -> Job:
    """The job; raises InvalidCommand for a batch, whose items are those of its jobs."""
    if job.spec.steps:
        raise InvalidCommand(
            f"job {job.id} is a batch and has no items of its own; ask for those of its steps"
        )
    return job


def _no_record(table: str, record_id: int) -> RecordNotFound:
    return RecordNotFound(
        f"there was never a record {record_id} in {table}; check the table and the id"
    )
