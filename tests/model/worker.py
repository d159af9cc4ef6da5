"""The worker's side of the model: claim, effect, results of slow items, death."""

from __future__ import annotations

from dataclasses import dataclass

from domain.commands import RecordOutcomes
from domain.compensation import Tried
from domain.events import Cause, JobStatus
from domain.outcomes import ClosedChunk, Closing, ItemStatus
from domain.ranges import Ranges
from tests.model.tables import (
    LEASE,
    LONG,
    TIMEOUT,
    ChunkRow,
    Image,
    JobTables,
    Ledger,
    OutcomeRow,
    Store,
    Work,
)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a worker believes to hold."""

    chunk: int
    attempt: int
    epoch: int


@dataclass(slots=True)
class Task:
    """A worker process at work on the chunks of one message."""

    job_id: str
    claims: list[Claim]
    tried: Tried | None = None
    """What somebody outside has answered, which is not noted yet."""
    known: dict[int, Tried] | None = None
    """What was known of that when the worker began."""


PLANNED = ItemStatus.PLANNED
_EFFECTIVE = (JobStatus.RUNNING, JobStatus.CANCELLING, JobStatus.ROLLING_BACK)


class WorkerDiedError(Exception):
    """The operation took its process with it."""


class Workers:
    """All worker processes; each has one task."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.tasks: list[Task] = []

    def claim(self, work: Work) -> None:
        """Rule 5, committed before anything is worked."""
        tables = self._store.jobs[work.job_id]
        free = [Claim(n, attempt, work.epoch) for n, attempt in work.chunks]
        claims = self._in_turn(tables, [claim for claim in free if self._is_free(tables, claim)])
        for claim in claims:
            row = tables.chunks[claim.chunk]
            row.starts += 1
            row.lease_until = self._store.now + LEASE
        if claims:
            self.tasks.append(Task(work.job_id, claims))

    def _is_free(self, tables: JobTables, claim: Claim) -> bool:
        row = tables.chunks[claim.chunk]
        idle = row.lease_until is None or row.lease_until < self._store.now
        current = (row.epoch, row.attempt) == (claim.epoch, claim.attempt)
        return current and idle and row.open and claim.chunk not in tables.outcomes

    def _in_turn(self, tables: JobTables, claims: list[Claim]) -> list[Claim]:
        """Rule 11: of an undo those before which no chunk waits."""
        if not any(tables.chunks[claim.chunk].cause.undoing for claim in claims):
            return claims
        rows = tables.chunks.values()
        pending = sorted(r.chunk for r in rows if r.open and r.chunk not in tables.outcomes)
        claims = sorted(claims, key=lambda claim: claim.chunk)
        return [c for c, first in zip(claims, pending, strict=False) if c.chunk == first]

    def progress(self, task: Task, *, hint: bool) -> None:
        """The next transaction of a task; ends the task, or its process."""
        tables = self._store.jobs[task.job_id]
        first = tables.chunks[task.claims[0].chunk]
        try:
            # What a dry run only validates is as quick as anything else.
            if tables.slow and not (first.cause.undoing or tables.options.dry_run):
                settled = self._slow_step(tables, task)
            else:
                settled = self._effect(tables, task)
        except WorkerDiedError:
            self.tasks.remove(task)
            return
        if settled:
            self.tasks.remove(task)
            if hint:
                self._hint(task.job_id)

    def beat(self, task: Task) -> None:
        """Prolong the leases that are still its own."""
        for claim, row in self._own(task):
            if row.attempt == claim.attempt:
                row.lease_until = self._store.now + LEASE

    def hand_back(self, task: Task) -> None:
        """Drain: such a start does not count."""
        for claim, row in self._own(task):
            if row.attempt == claim.attempt and row.lease_until is not None and row.starts:
                row.starts -= 1
                row.lease_until, row.claim_by = None, self._store.now - 1
        self.tasks.remove(task)

    def _own(self, task: Task) -> list[tuple[Claim, ChunkRow]]:
        chunks = self._store.jobs[task.job_id].chunks
        return [(c, chunks[c.chunk]) for c in task.claims if chunks[c.chunk].open]

    def _hint(self, job_id: str) -> None:
        name = self._store.name("hint")
        self._store.send(
            RecordOutcomes(command_id=name, job_id=job_id, tenant="local", actor="engine")
        )

    def _holds(self, tables: JobTables, claim: Claim) -> bool:
        """The fence: whether a claim may still take effect."""
        row = tables.chunks[claim.chunk]
        same = (tables.control.epoch, row.attempt) == (claim.epoch, claim.attempt)
        return same and row.open and claim.chunk not in tables.outcomes

    def _to_put_back(self, tables: JobTables, row: ChunkRow) -> Ranges:
        return tables.to_put_back(row)

    # -- effect: rule 6, all chunks of the task in one transaction --------------------

    def _effect(self, tables: JobTables, task: Task) -> bool:
        held = self._held(tables, task)
        for claim in held:
            self._survive(tables, tables.chunks[claim.chunk])
        for claim in held:
            _may_take_effect(tables)
            row = tables.chunks[claim.chunk]
            work = self._put_back if row.cause.undoing else self._apply
            if tables.options.atomic and not row.cause.undoing:
                work = self._commit if row.cause is Cause.COMMIT else self._prepare
            elif tables.options.plan is not None and not row.cause.undoing:
                work = self._by_plan
            elif tables.manifest is not None and not row.cause.undoing:
                work = self._as_seen
            tables.settle(claim.chunk, work(tables, row))
        return True

    # -- rule 16: without effect, and then as a whole ----------------------------------

    def _prepare(self, tables: JobTables, row: ChunkRow) -> OutcomeRow:
        for position in row.items:
            tables.seen[position] = tables.records[position].version
        return self._without_effect(row, {p for p in row.items if self._fails(tables, p)})

    def _commit(self, tables: JobTables, row: ChunkRow) -> OutcomeRow:
        changed = {p for p in row.items if self._is_changed(tables, p)}
        failed = changed or {p for p in row.items if self._fails(tables, p)}
        return self._without_effect(row, failed) if failed else self._apply(tables, row)

    def _by_plan(self, tables: JobTables, row: ChunkRow) -> OutcomeRow:
        """Rule 20: only what the dry run has found good, and nothing that has changed since."""
        plan = tables.options.plan
        assert plan is not None
        dry = self._store.jobs[plan.job_id]
        good = {
            p for chunk in dry.outcomes.values() for p, s in chunk.ledger.items() if s is PLANNED
        }
        tables.seen = dry.seen
        ledger: Ledger = {}
        images: dict[int, Image] = {}
        for position in row.items:
            if position not in good:
                ledger[position] = ItemStatus.SKIPPED
            elif self._is_changed(tables, position):
                ledger[position] = ItemStatus.FAILED
            else:
                ledger[position] = self._apply_one(tables, row.chunk, position, images)
        return outcome(self._store, row, ledger, images=images)

    def _as_seen(self, tables: JobTables, row: ChunkRow) -> OutcomeRow:
        """Rule 23: nothing that has changed since the filter has found it."""
        ledger: Ledger = {}
        images: dict[int, Image] = {}
        for position in row.items:
            if self._is_changed(tables, position):
                ledger[position] = ItemStatus.FAILED
            else:
                ledger[position] = self._apply_one(tables, row.chunk, position, images)
        return outcome(self._store, row, ledger, images=images)

    def _is_changed(self, tables: JobTables, position: int) -> bool:
        writes = tables.nature(position) not in ("n", "x")
        return writes and tables.records[position].version != tables.seen[position]

    def _fails(self, tables: JobTables, position: int) -> bool:
        nature = tables.nature(position)
        return nature == "f" or (nature == "t" and not self._store.mended)

    def _without_effect(self, row: ChunkRow, failed: set[int]) -> OutcomeRow:
        ledger: Ledger = dict.fromkeys(sorted(failed), ItemStatus.FAILED)
        left = row.items - Ranges.of(failed)
        closing = Closing.PREPARED if left else Closing.DONE
        return outcome(self._store, row, ledger, closing=closing, returned=left)

    def _held(self, tables: JobTables, task: Task) -> list[Claim]:
        """Rule 11 again: an undo that was lost keeps those behind it from going first."""
        held: list[Claim] = []
        for claim in task.claims:
            if self._holds(tables, claim):
                held.append(claim)
            elif tables.chunks[claim.chunk].cause.undoing and claim.chunk not in tables.outcomes:
                break
        return held

    def _survive(self, tables: JobTables, row: ChunkRow) -> None:
        killer = "u" if row.cause.undoing else "k"
        items = self._to_put_back(tables, row) if row.cause.undoing else row.items
        if any(tables.nature(position) == killer for position in items):
            raise WorkerDiedError

    def _apply(self, tables: JobTables, row: ChunkRow) -> OutcomeRow:
        ledger: Ledger = {}
        images: dict[int, Image] = {}
        for position in row.items:
            ledger[position] = self._apply_one(tables, row.chunk, position, images)
        return outcome(self._store, row, ledger, images=images)

    def _apply_one(
        self, tables: JobTables, chunk: int, position: int, images: dict[int, Image]
    ) -> ItemStatus:
        nature = tables.nature(position)
        if self._fails(tables, position):
            return ItemStatus.FAILED
        if nature == "x":
            return ItemStatus.SKIPPED
        if tables.options.dry_run:
            if nature != "n":
                tables.seen[position] = tables.records[position].version
            return ItemStatus.PLANNED
        record = tables.records[position]
        record.effects += 1
        record.outside += tables.outside
        if nature != "n":
            images[position] = Image(record.value, record.version + 1)
            record.version += 1
            record.value = f"by chunk {chunk}"
        return ItemStatus.SUCCEEDED

    def _put_back(self, tables: JobTables, row: ChunkRow) -> OutcomeRow:
        assert row.target is not None
        before = tables.outcomes[row.target].images
        ledger: Ledger = {}
        images: dict[int, Image] = {}
        for position in self._to_put_back(tables, row):
            if tables.nature(position) == "b" and not self._store.mended:
                ledger[position] = None
                continue
            ledger[position] = restore(tables, row, position, before.get(position), images)
        return outcome(self._store, row, ledger, images=images)

    # -- slow items: each result a transaction of its own ------------------------------

    def _slow_step(self, tables: JobTables, task: Task) -> bool:
        """One item more, or the close; true when the task has nothing more to do."""
        claim = task.claims[0]
        if not self._holds(tables, claim):
            del task.claims[0]
            return not task.claims
        row = tables.chunks[claim.chunk]
        done = tables.results.setdefault(claim.chunk, {})
        left = row.items - Ranges.of(done)
        _may_take_effect(tables)
        if left:
            position = next(iter(left))
            if tables.nature(position) == "k":
                raise WorkerDiedError
            done[position] = self._slow_result(tables, claim.chunk, position)
            return False
        tables.settle(claim.chunk, outcome(self._store, row, done))
        del task.claims[0]
        return not task.claims

    def _slow_result(self, tables: JobTables, chunk: int, position: int) -> ItemStatus:
        """A slow operation has no records: only the counter sees it."""
        if tables.nature(position) == "l":
            patience = self._patience(tables)
            self._store.now += min(LONG, patience)
            if patience < LONG:
                tables.errors[chunk, position] = self._timeout()
                return ItemStatus.FAILED
        if self._fails(tables, position):
            return ItemStatus.FAILED
        if tables.nature(position) == "x":
            return ItemStatus.SKIPPED
        tables.records[position].effects += 1
        return ItemStatus.SUCCEEDED

    def _patience(self, tables: JobTables) -> int:
        """How many seconds an item may take; an operation by itself waits for as long as any."""
        allowed = tables.options.item_timeout
        return LONG if allowed is None else int(allowed)

    def _timeout(self) -> tuple[str, bool]:
        return TIMEOUT


def _may_take_effect(tables: JobTables) -> None:
    """Whatever the fence says: no effect unless the stored status allows one."""
    assert tables.status in _EFFECTIVE, f"an effect after the job was confirmed {tables.status}"


def restore(
    tables: JobTables,
    row: ChunkRow,
    position: int,
    before: Image | None,
    images: dict[int, Image],
) -> ItemStatus:
    """Put back what an item has left, or do it again; unless others wrote to its record."""
    record = tables.records[position]
    rollback = row.cause is Cause.ROLLBACK
    if before is not None:
        if record.version != before.left and not tables.forced:
            return ItemStatus.CONFLICT
        images[position] = Image(record.value, record.version + 1)
        record.version += 1
        record.value = before.value
        # An edit that was overwritten by force comes back with what it had overwritten.
        was = record.pinned if rollback else None
        record.pinned, record.buried = None if rollback else record.buried, was
    record.effects += -1 if rollback else 1
    return ItemStatus.ROLLED_BACK if rollback else ItemStatus.SUCCEEDED


def outcome(
    store: Store,
    row: ChunkRow,
    ledger: Ledger,
    *,
    closing: Closing = Closing.DONE,
    returned: Ranges | None = None,
    images: dict[int, Image] | None = None,
) -> OutcomeRow:
    """An outcome row whose summary is counted from its ledger."""
    said = list(ledger.values())
    closed = ClosedChunk(
        chunk=row.chunk,
        closing=closing,
        succeeded=said.count(ItemStatus.SUCCEEDED),
        failed=said.count(ItemStatus.FAILED) + said.count(None),
        skipped=said.count(ItemStatus.SKIPPED),
        rolled_back=said.count(ItemStatus.ROLLED_BACK),
        conflict=said.count(ItemStatus.CONFLICT),
        planned=said.count(ItemStatus.PLANNED),
        returned=returned or Ranges(),
        duration_ms=float(len(said)),
    )
    summary = closed.model_dump_json().encode()
    return OutcomeRow(summary, dict(ledger), store.next(), images or {})
