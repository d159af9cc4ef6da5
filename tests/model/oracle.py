"""What must hold after every step, computed from the tables alone.

Nothing here asks the aggregate what it thinks, except to compare it with what the rows say.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from domain.events import (
    Cause,
    ChunksPlanned,
    JobArchived,
    JobEvent,
    JobHeld,
    JobPaused,
    JobReleased,
    JobResumed,
    JobShredded,
    JobStatus,
    RetryStarted,
)
from domain.job import Job
from domain.outcomes import Closing, ItemStatus
from domain.planning import is_suspect
from tests.model.coordinator import MAPPER, load
from tests.model.tables import ChunkRow, JobTables, Ledger, Mark
from tests.unit.domain.drawing import Edge, drawn_edges, edges_of

DRAWN = drawn_edges()
_EMPTY = {
    JobStatus.COMPLETED: ("pending", "failed"),
    JobStatus.COMPLETED_WITH_ERRORS: ("pending",),
    JobStatus.FAILED: ("pending", "succeeded", "planned"),
    JobStatus.CANCELLED: ("pending",),
    JobStatus.REJECTED: ("pending", "succeeded", "failed", "planned"),
    JobStatus.ROLLED_BACK: ("pending", "succeeded"),
    JobStatus.ROLLBACK_INCOMPLETE: ("pending",),
}
"""The counts that must be zero in a terminal status."""


@dataclass(slots=True)
class Item:
    """An item's status, how many effects of it stand, and the attempts that have failed.

    ``waits`` is true for one that failed and is pending until it is tried again.
    """

    status: ItemStatus = ItemStatus.PENDING
    effects: int = 0
    tries: int = 0
    waits: bool = False


@dataclass(slots=True)
class _Told:
    """A job as its events tell it one by one; ``seen`` is what was compared already."""

    job: Job
    seen: tuple[int, int] = (0, 0)
    failed: int = 0
    """Failed items when the limits began to count."""
    by_limit: bool = False

    def hear(self, event: JobEvent) -> None:
        """Limits count anew after a retry, and when a job goes on that one has paused."""
        if isinstance(event, RetryStarted) or (isinstance(event, JobResumed) and self.by_limit):
            self.failed = event.counts.failed
        if isinstance(event, JobPaused | JobResumed):
            self.by_limit = isinstance(event, JobPaused) and event.limit is not None


class Oracle:
    """Checks one job at a time; ``edges`` are those that its events went along."""

    def __init__(self, edges: Counter[Edge]) -> None:
        self._edges = edges
        self._told: dict[str, _Told] = {}

    def check(self, tables: JobTables, live: list[Job]) -> None:
        """All invariants of one job; ``live`` are the aggregates that processes keep of it."""
        _check_items(tables)
        if tables.options.atomic:
            _check_whole(tables)
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
        _check_counts(tables, told.job)
        _check_limits(tables, told)
        _check_caps(tables, told.job)
        _check_chunks(tables, told.job)

    def _hear(self, tables: JobTables, told: _Told) -> None:
        """Take in the events that are new."""
        for stored in tables.events[told.job.version :]:
            event = MAPPER.to_domain_event(stored)
            assert isinstance(event, JobEvent)
            assert event.originator_version == told.job.version + 1, "versions have a gap"
            (edge,) = edges_of(told.job.status if told.job.version else None, [event])
            assert edge in DRAWN, f"not in the drawing: {edge}"
            self._edges[edge] += 1
            _check_keeping(told.job, event)
            if isinstance(event, ChunksPlanned):
                _check_moments(told.job, event)
            told.job.apply(event)
            told.hear(event)
            assert (event.status, event.counts) == (told.job.status, told.job.counts)


def _check_keeping(job: Job, event: JobEvent) -> None:
    """What is held is kept, what is shredded is not worked again, what was put away stays so."""
    if isinstance(event, JobShredded | JobArchived):
        assert job.held is None, "it is held"
    if isinstance(event, RetryStarted):
        assert job.shredded is None, "nobody has its items"
    if job.archived is not None:
        assert isinstance(event, JobHeld | JobReleased | JobShredded), "it was put away"


def _check_moments(job: Job, event: ChunksPlanned) -> None:
    """Nothing begins before its time, nor after the time at which the job must stop."""
    if job.status is not JobStatus.ROLLING_BACK:
        assert job.start_at is None or job.status is not JobStatus.PENDING, "too early"
        assert not job.expires(event.at), "too late"


def fold(tables: JobTables, *, recorded: bool) -> list[Item]:
    """Each item by its latest closed chunk in plan order; ``recorded`` leaves out the others."""
    items = [Item() for _ in tables.records]
    marks = list(tables.marks)
    for chunk in (*sorted(tables.outcomes), len(tables.chunks)):
        while marks and marks[0].at <= chunk:
            _mark(items, marks[0])
            del marks[0]
        row = tables.outcomes.get(chunk)
        if row is not None and (row.recorded or not recorded):
            _say(tables, items, row.ledger, tables.chunks[chunk].cause)
            if row.closed.closing is Closing.PREPARED:
                for position in row.closed.returned:
                    items[position].waits = False
    return items


def _mark(items: list[Item], mark: Mark) -> None:
    if mark.kind == "skip":
        for position in mark.items:
            assert items[position].status is ItemStatus.PENDING, "skipped after it was worked"
            items[position].status = ItemStatus.SKIPPED
        return
    if mark.kind == "retry":
        for position in mark.items:
            again = (ItemStatus.FAILED, ItemStatus.SKIPPED)
            assert items[position].status in again, f"item {position} is retried"
            items[position] = Item()
        return
    for item in items:
        if item.status is ItemStatus.PENDING:
            item.status = ItemStatus.FAILED if item.waits else ItemStatus.SKIPPED
            item.waits = False


def _say(tables: JobTables, items: list[Item], ledger: Ledger, cause: Cause) -> None:
    for position, status in ledger.items():
        if status is None:
            continue
        item = items[position]
        item.status, item.waits, item.effects = status, False, 0
        if status is ItemStatus.FAILED:
            item.tries += 1
            if item.tries < _attempts(tables, position) and cause is not Cause.COMMIT:
                item.status, item.waits = ItemStatus.PENDING, True
        elif status is ItemStatus.SUCCEEDED:
            item.effects = 1
        elif status is ItemStatus.CONFLICT:
            item.effects = 1 if cause is Cause.ROLLBACK else 0


def _attempts(tables: JobTables, position: int) -> int:
    """How often an item that always fails is tried."""
    policy = tables.options.retry
    code, retryable = tables.wrong(position)
    if policy is None:
        return 1
    if code in policy.codes:
        return policy.codes[code].attempts
    return policy.attempts if retryable else 1


def _check_items(tables: JobTables) -> None:
    """Effects and records are what all outcome rows, and results of slow items, say."""
    items = fold(tables, recorded=False)
    for ledger in tables.results.values():
        _say(tables, items, ledger, Cause.APPLY)
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


def _check_counts(tables: JobTables, job: Job) -> None:
    counts = job.counts
    if job.status in (JobStatus.AWAITING_APPROVAL, JobStatus.REJECTED):
        assert not tables.chunks, "something of it runs before anybody has approved it"
    assert not (counts.succeeded if tables.options.dry_run else counts.planned)
    assert counts.total == len(tables.records)
    folded = Counter(item.status.value for item in fold(tables, recorded=True))
    assert {name: n for name, n in counts.model_dump().items() if n} == folded
    for name in _EMPTY.get(job.status, ()):
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
        if limit.failed is not None and limit.window is None and not limit.codes:
            failed = told.job.counts.failed - told.failed
            assert failed <= limit.failed, f"{failed} items failed, {limit.failed} are tolerated"


def _check_chunks(tables: JobTables, job: Job) -> None:
    rows = {row.chunk: row for row in tables.chunks.values() if row.open}
    assert rows.keys() == job.open.keys()
    assert (tables.control.epoch, tables.control.version) == (job.epoch, job.version)
    assert all(row.epoch == job.epoch for row in rows.values())
    assert not (job.status.terminal or job.status is JobStatus.PAUSED) or not rows
    suspects = [row for row in rows.values() if is_suspect(row.cause, row.parent)]
    assert not suspects or len(rows) == 1, "a suspect does not run alone"
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
