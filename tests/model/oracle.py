"""What must hold after every step, computed from the tables alone.

Nothing here asks the aggregate what it thinks, except to compare it with what the rows say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from domain.compensation import Stage
from domain.events import (
    Cause,
    ChunksPlanned,
    JobAdjusted,
    JobDeadlinePassed,
    JobEvent,
    JobPaused,
    JobResumed,
    JobShredded,
    JobStatus,
    RetryStarted,
)
from domain.job import Job
from domain.options import Start
from domain.outcomes import ItemStatus
from domain.planning import is_suspect
from tests.crash.oracle import EMPTY
from tests.model.ledger import Item, fold, say
from tests.model.loading import MAPPER, load
from tests.model.tables import ChunkRow, JobTables
from tests.unit.domain.drawing import Edge, drawn_edges, edges_of

DRAWN, DRAWN_OF_BATCHES = drawn_edges(), drawn_edges(1)


@dataclass(slots=True)
class _Told:
    """A job as its events tell it one by one; ``seen`` is what was compared already."""

    job: Job
    seen: tuple[int, int] = (0, 0)
    failed: int = 0
    """Failed items when the limits began to count."""
    by_limit: bool = False
    retried_at: datetime | None = None

    def hear(self, event: JobEvent) -> None:
        """Limits count anew after a retry, and when a job goes on that one has paused."""
        if isinstance(event, RetryStarted) or (isinstance(event, JobResumed) and self.by_limit):
            self.failed = event.counts.failed
        if isinstance(event, RetryStarted):
            self.retried_at = event.at
        if isinstance(event, JobPaused | JobResumed):
            self.by_limit = isinstance(event, JobPaused) and event.limit is not None

    def retried_since(self, moment: datetime) -> bool:
        return self.retried_at is not None and self.retried_at >= moment


class Oracle:
    """Checks one job at a time; ``edges`` are those that its events went along.

    ``of_batches`` are those of batches, which have a drawing of their own.
    """

    def __init__(self, edges: Counter[Edge], of_batches: Counter[Edge]) -> None:
        self._edges = edges
        self._of_batches = of_batches
        self._told: dict[str, _Told] = {}

    def check(
        self, tables: JobTables, live: list[Job], found: Mapping[int, int] | None = None
    ) -> None:
        """All invariants of one job; ``live`` are the aggregates that processes keep of it.

        ``found`` are the versions of the records that its filter has found.
        """
        if found is not None:
            _check_plan(tables, found)
        _check_items(tables)
        if tables.outside:
            _check_outside(tables)
        if tables.options.atomic:
            _check_whole(tables)
        if tables.options.plan is not None:
            _check_plan(tables, tables.seen)
        if not tables.events:
            return
        told = self._told.setdefault(tables.job_id, _Told(Job(id=tables.job_id)))
        self._hear(tables, told)
        snapshot = tables.snapshot.originator_version if tables.snapshot else 0
        if told.seen != (told.job.version, snapshot):
            assert load(tables) == told.job, "snapshot and tail are not the whole story"
            told.seen = (told.job.version, snapshot)
        for kept in live:
            if kept.version == told.job.version:
                assert kept == told.job, "a live aggregate is not what its events say"
        assert told.job.emptied or not tables.cleared, "nobody can read what became of its items"
        _check_chunks(tables, told.job)
        if not tables.steps:
            _check_counts(tables, told.job)
            _check_limits(tables, told)
            _check_caps(tables, told.job)

    def _hear(self, tables: JobTables, told: _Told) -> None:
        """Take in the events that are new."""
        for stored in tables.events[told.job.version :]:
            event = MAPPER.to_domain_event(stored)
            assert isinstance(event, JobEvent)
            assert event.originator_version == told.job.version + 1, "versions have a gap"
            (edge,) = edges_of(told.job.status if told.job.version else None, [event])
            drawn, seen = DRAWN, self._edges
            if tables.steps:
                drawn, seen = DRAWN_OF_BATCHES, self._of_batches
            assert edge in drawn, f"not in the drawing: {edge}"
            seen[edge] += 1
            if isinstance(event, ChunksPlanned):
                _check_moments(told.job, event)
            if isinstance(event, JobDeadlinePassed):
                assert not told.retried_since(event.deadline), "it is late once more"
            if isinstance(event, JobAdjusted):
                _check_start(told.job, event)
            _check_keeping(told.job, event)
            told.job.apply(event)
            told.hear(event)
            assert (event.status, event.counts) == (told.job.status, told.job.counts)


def _check_keeping(job: Job, event: JobEvent) -> None:
    """What is held is kept, and what is shredded is not worked again."""
    if isinstance(event, JobShredded):
        assert job.held is None, "it is held"
    if isinstance(event, RetryStarted):
        assert job.shredded is None, "nobody has its items"


def _check_moments(job: Job, event: ChunksPlanned) -> None:
    """Nothing begins before its time, nor after the time at which the job must stop."""
    if job.status is not JobStatus.ROLLING_BACK:
        assert job.start_at is None or job.status is not JobStatus.PENDING, "too early"
        assert not job.expires(event.at), "too late"


def _check_start(job: Job, event: JobAdjusted) -> None:
    """Nobody is told that a draft will wait which is worked as its items come."""
    eager = job.status is JobStatus.DRAFT and job.options.start is Start.EAGER
    assert not eager or event.start_at in (None, job.start_at), "it waits for no moment"


def _check_items(tables: JobTables) -> None:
    """Effects and records are what all outcome rows, and results of slow items, say."""
    items = fold(tables, recorded=False)
    for chunk, ledger in tables.results.items():
        say(tables, items, chunk, ledger)
    if tables.slow:
        _check_patience(tables, items)
    for position, (item, record) in enumerate(zip(items, tables.records, strict=True)):
        assert record.effects == item.effects, (
            f"item {position} is {item.status.value} and has {record.effects} effects"
        )
        written = item.effects and not tables.slow and tables.nature(position) != "n"
        if record.pinned is not None:
            assert record.value == record.pinned, f"an edit of item {position} was overwritten"
        elif written:
            assert record.value.startswith("by chunk"), f"item {position} has no effect"
        else:
            assert record.value == record.base, f"item {position} was not put back"


def _check_patience(tables: JobTables, items: list[Item]) -> None:
    """What takes too long fails so, and nothing else does; a dry run only looks at it."""
    for item in items:
        late = item.nature == "l" and tables.impatient
        assert not (late and item.status is ItemStatus.SUCCEEDED), "it has waited for too long"
    for _, position in tables.errors:
        assert tables.impatient, f"item {position} was not waited for"


def _check_outside(tables: JobTables) -> None:
    """What stands outside is of items that stand, and of none that was put back."""
    items = fold(tables, recorded=False)
    for position, (item, record) in enumerate(zip(items, tables.records, strict=True)):
        if tables.generation == 0:
            assert record.outside == item.effects, f"item {position} has no effect outside"
        tried = tables.tried.get(position)
        if not item.effects or (tried is not None and tried.stage is Stage.DONE):
            assert not record.outside, f"what item {position} has done outside was left there"


def _check_whole(tables: JobTables) -> None:
    """Nothing of an atomic job has an effect before all of it has, nor on what has changed."""
    commits = [n for n, row in tables.chunks.items() if row.cause is Cause.COMMIT]
    rows = [tables.outcomes[number] for number in commits if number in tables.outcomes]
    if not any(ItemStatus.SUCCEEDED in row.ledger.values() for row in rows):
        assert not any(record.effects for record in tables.records), "a part of it has an effect"
    for row in rows:
        halves = {ItemStatus.SUCCEEDED, ItemStatus.FAILED} & set(row.ledger.values())
        assert len(halves) < 2, "it was committed in part"
        for position, image in row.images.items():
            assert image.left == tables.seen[position] + 1, "it was not as it was prepared"


def _check_plan(tables: JobTables, seen: Mapping[int, int]) -> None:
    """Nothing has an effect on what has changed since the dry run, or since a filter found it."""
    for number, row in tables.outcomes.items():
        if not tables.chunks[number].cause.undoing:
            for position, image in row.images.items():
                assert image.left == seen[position] + 1, "it was not as it was planned"


def _check_counts(tables: JobTables, job: Job) -> None:
    counts = job.counts
    if job.status in (JobStatus.AWAITING_APPROVAL, JobStatus.REJECTED):
        assert not tables.chunks, "something of it runs before anybody has approved it"
    assert not (counts.succeeded if tables.options.dry_run else counts.planned)
    assert counts.total == len(tables.records)
    folded = Counter(item.status.value for item in fold(tables, recorded=True))
    assert {name: n for name, n in counts.model_dump().items() if n} == folded
    for name in EMPTY.get(job.status, ()):
        if name in ("succeeded", "planned") and (tables.options.limits or job.missed_at):
            continue  # a limit may have been hit, or the deadline
        assert getattr(counts, name) == 0, f"{job.status} with {name} items"


def _check_caps(tables: JobTables, job: Job) -> None:
    """No more is in flight than the cap says; a slow item that has begun is left to end."""
    cap = job.caps.concurrency
    if cap is not None and not tables.slow and job.status is not JobStatus.ROLLING_BACK:
        assert len(job.open) <= cap, "more chunks at once than the cap allows"


def _check_limits(tables: JobTables, told: _Told) -> None:
    """No job runs on with more failures than it tolerates."""
    if told.job.status is not JobStatus.RUNNING:
        return
    for limit in tables.options.limits:
        if limit.window is not None or limit.codes:
            continue
        failed, counts = told.job.counts.failed - told.failed, told.job.counts
        most = limit.failed
        if most is None:
            most = int(counts.total * (limit.percent or 0) / 100)
        assert failed <= most, f"{failed} items failed, {most} are tolerated"


def _check_chunks(tables: JobTables, job: Job) -> None:
    rows = {row.chunk: row for row in tables.chunks.values() if row.open}
    assert rows.keys() == job.open.keys()
    assert (tables.control.epoch, tables.control.version) == (job.epoch, job.version)
    assert tables.status is job.status
    assert all(row.epoch == job.epoch for row in rows.values())
    assert not (job.status.terminal or job.status is JobStatus.PAUSED) or not rows
    suspects = [row for row in rows.values() if is_suspect(row.cause, row.parent)]
    assert not suspects or len(rows) == 1, "a suspect does not run alone"
    if not tables.steps:
        _check_disjoint(list(rows.values()), job)


def _check_disjoint(rows: list[ChunkRow], job: Job) -> None:
    """Each pending item waits in exactly one place: the backlog, an open chunk, or
    among those that are tried again later.
    """
    if job.status is JobStatus.ROLLING_BACK:
        targets = [row.target for row in rows]
        assert None not in targets, "an undo goes on while other work is open"
        assert len(targets) == len(set(targets)), "a chunk is undone twice at once"
        return
    waiting = [entry.items for entry in job.backlog] + [row.items for row in rows]
    waiting += [entry.items for entry in job.deferred]
    waiting += [job.prepared]
    positions = [position for items in waiting for position in items]
    assert len(positions) == len(set(positions)), "an item waits in two places"
    assert len(positions) == job.counts.pending, "an item is pending and waits nowhere"
