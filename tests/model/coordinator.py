"""The coordinator's side of the model: store in one transaction, and send; and the sweep."""

from __future__ import annotations

import copy
from enum import StrEnum
from typing import ClassVar

from eventsourcing.persistence import StoredEvent

from domain import planning
from domain.caps import UNLIMITED
from domain.commands import COMMAND, Command, RecordOutcomes
from domain.errors import CommandRefused
from domain.events import (
    Cause,
    ChunksPlanned,
    ItemsEdited,
    JobArchived,
    JobCancelled,
    JobEvent,
    JobRejected,
    JobSkipped,
    JobStopped,
    RepeatsSkipped,
    RetryStarted,
    UndoStarted,
)
from domain.job import Job
from domain.outcomes import Closing, ItemStatus
from domain.ranges import Ranges
from tests.model.deciding import Changes
from tests.model.families import Families
from tests.model.kinds import BEGIN
from tests.model.loading import MAPPER, load
from tests.model.sharing import Sharing
from tests.model.tables import (
    CLAIM_BY,
    ChunkRow,
    Control,
    JobTables,
    Ledger,
    Mark,
    OutcomeRow,
    Record,
    Store,
    Work,
)
from tests.model.worker import outcome

PACK = 2
AGAIN = 5
"""Seconds after which a timer is sent again that no job has taken back."""


class Crash(StrEnum):
    """Where a coordinator dies while it handles a message."""

    BEFORE_COMMIT = "before commit"
    AFTER_COMMIT = "after commit"


class Coordinator(Families):
    """One coordinator process with its live aggregates, which may be stale."""

    sharing_of: ClassVar[type[Sharing]] = Sharing

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.sharing = self.sharing_of(store)
        self.live: dict[str, Job] = {}
        self._sent: set[tuple[str, int, int]] = set()

    def crash(self) -> None:
        """Lose all that is not in the tables."""
        self.live.clear()
        self._sent.clear()

    def handle(self, message: bytes, *, room: int, crash: Crash | None = None) -> None:
        """One message: decide, commit, send."""
        command = COMMAND.validate_json(message)
        tables = self._store.jobs[command.job_id]
        told: list[str] = []
        if command.command_id not in tables.decisions:
            told = self._advance(tables, command, room, crash)
        if crash is not None:
            self.crash()
        else:
            self._send(tables)
            for job_id in told:
                self.hint(job_id)

    def snapshot(self, job_id: str) -> None:
        """Store the live job's state, after the commit of its events."""
        job = self.live[job_id]
        self._store.jobs[job_id].snapshot = MAPPER.to_stored_event(job.snapshot())

    # -- one transaction: rules 1 to 4 --------------------------------------------------

    def _advance(
        self, tables: JobTables, command: Command, room: int, crash: Crash | None
    ) -> list[str]:
        """Returns the jobs that are to look at what has become of this one, or whose turn it is."""
        job = self.live[tables.job_id] = self._current(tables)
        changes = Changes()
        self._take_in(tables, job, changes, command)
        if not isinstance(command, RecordOutcomes):
            try:
                self._decide(tables, job, changes, command)
                self._heed_time(tables, job, changes, command)
            except CommandRefused as refused:
                changes.problem = refused.message
        more = self._follow(tables, job, changes, command)
        if job.version:
            free = max(0, room - len(job.open))
            stamp = self._stamp(command)
            drawn = changes.drawn = self.sharing.draw(tables, job)
            shared = drawn.ration.caps
            ready = job.ready_chunks(most=free, slow=tables.slow, now=stamp.at, shared=shared)
            changes.planned = job.plan(stamp, room=free, slow=tables.slow, ration=drawn.ration)
            held = drawn.ration.now != UNLIMITED
            assert held or len(changes.planned) == ready, "who shares places is told otherwise"
        if crash is Crash.BEFORE_COMMIT:
            return []
        moved = self._commit_all(tables, job, changes, command)
        told = self._to_tell(tables, job, changes, moved=moved, more=more)
        return [*told, *self.sharing.settle(tables, job, changes.drawn, changes.planned)]

    def _current(self, tables: JobTables) -> Job:
        """Rule 2: the live aggregate, unless it is behind."""
        job = self.live.get(tables.job_id)
        if job is None or job.version != tables.control.version:
            return load(tables)
        return job

    def _commit_all(self, tables: JobTables, job: Job, changes: Changes, command: Command) -> bool:
        """The job, and those of a batch that were changed with it; whether there are new events."""
        self._store.commits.append([])
        if changes.heard:
            for child in job.children:
                self._store.jobs[child.job_id].moved = False
        self._commit(tables, job, changes, command)
        moved = bool(self._store.commits[-1])
        for kin, other in changes.kin.values():
            self._commit(self._store.jobs[kin.id], kin, other, command)
            self.sharing.settle(self._store.jobs[kin.id], kin, other.drawn, ())
            self.live.pop(kin.id, None)
        if not isinstance(command, RecordOutcomes):
            assert command.command_id not in tables.decisions
            tables.decisions[command.command_id] = changes.problem
        return moved

    def _commit(self, tables: JobTables, job: Job, changes: Changes, command: Command) -> None:
        for chunk, row in changes.outcomes.items():
            tables.settle(chunk, row)
        for chunk in changes.recorded:
            tables.outcomes[chunk].recorded = True
            tables.chunks[chunk].open = False
        before = self._stands(tables)
        tables.control = Control(job.epoch, job.version, open=not job.resting)
        tables.awaits = job.awaited
        self._keep_timer(tables, job)
        for event in job.collect_events():
            self._append(tables, event, changes)
        if tables.parent is not None and before is not None and self._stands(tables) != before:
            self._say_moved(tables)

    def _keep_timer(self, tables: JobTables, job: Job) -> None:
        """Rule 13, in the same transaction."""
        due = None if job.wakes_at is None else (job.wakes_at - BEGIN).total_seconds()
        if due != tables.due:
            tables.due = tables.timer = due

    def _append(self, tables: JobTables, event: JobEvent, changes: Changes) -> None:
        assert event.originator_version == len(tables.events) + 1, "a gap, or somebody was first"
        stored: StoredEvent = MAPPER.to_stored_event(event)
        tables.events.append(stored)
        self._store.commits[-1].append((tables.job_id, stored))
        tables.status = event.status
        if not tables.steps:
            more = event.counts.total - len(tables.records)
            tables.records += self._records(tables, more)
        match event:
            case JobArchived():
                tables.was = event.was
            case ChunksPlanned():
                self._dispatched(tables, event)
            case ItemsEdited():
                tables.marks.append(Mark(len(tables.chunks), "edit", bodies=changes.bodies))
                tables.marks.append(Mark(len(tables.chunks), "skip", event.dropped))
                tables.bodies |= changes.bodies
            case RepeatsSkipped():
                tables.marks.append(Mark(len(tables.chunks), "skip", event.items))
            case RetryStarted():
                again = Mark(len(tables.chunks), "retry", event.items, bodies=changes.bodies)
                tables.marks.append(again)
                tables.bodies |= changes.bodies
            case JobCancelled() | JobRejected() | JobStopped() | JobSkipped():
                tables.marks.append(Mark(len(tables.chunks), "end"))
            case UndoStarted() if not tables.steps:
                rollback = event.direction is Cause.ROLLBACK
                status = ItemStatus.SUCCEEDED if rollback else ItemStatus.ROLLED_BACK
                tables.begin_undo(status, event.parts)
                tables.forced = event.force

    def _records(self, tables: JobTables, more: int) -> list[Record]:
        """New ones; a job that does what was planned has those of the dry run."""
        plan = tables.options.plan
        if not more:
            return []
        if tables.manifest is not None:
            return self._selected(tables, tables.manifest)
        if plan is None:
            return [Record() for _ in range(more)]
        return copy.deepcopy(self._store.jobs[plan.job_id].records[:more])

    def _selected(self, tables: JobTables, manifest: str) -> list[Record]:
        """Rule 23: the records that a filter has found, and the versions that it has seen."""
        source, found = self._store.manifests[manifest]
        records = [self._store.jobs[source].records[position] for position in found]
        tables.seen = dict(enumerate(found.values()))
        return [Record(each.version, each.value, each.value) for each in records]

    def _dispatched(self, tables: JobTables, event: ChunksPlanned) -> None:
        for planned in event.chunks:
            assert planned.chunk not in tables.chunks, "a chunk id is used again"
            tables.chunks[planned.chunk] = ChunkRow(
                chunk=planned.chunk,
                cause=planned.cause,
                items=planned.items,
                parent=planned.parent,
                target=planned.target,
                epoch=tables.control.epoch,
                claim_by=self._store.now + CLAIM_BY,
            )

    # -- sending: rule 18 -------------------------------------------------------------------

    def _send(self, tables: JobTables) -> None:
        unsent = [
            (row.chunk, row.attempt)
            for row in tables.chunks.values()
            if row.open
            and row.lease_until is None
            and row.chunk not in tables.outcomes
            and (tables.job_id, row.chunk, row.attempt) not in self._sent
        ]
        for at in range(0, len(unsent), PACK):
            self._dispatch(tables, unsent[at : at + PACK])

    def _dispatch(self, tables: JobTables, chunks: list[tuple[int, int]]) -> None:
        self._sent |= {(tables.job_id, chunk, attempt) for chunk, attempt in chunks}
        self._store.work.append(Work(tables.job_id, tables.control.epoch, tuple(chunks)))

    # -- the sweep: rules 9 and 10 ------------------------------------------------------------

    def sweep(self, *, room: int, limit: int = 500) -> None:
        """Find what was lost; each job's part is a transaction of its own.

        At most ``limit`` overdue chunks of a job are looked at.
        """
        for tables in self._store.jobs.values():
            if tables.status is None:
                continue
            if self._may_follow(tables) or self._unheard(tables):
                self._look(tables, room)
            if any(not row.recorded for row in tables.outcomes.values()):
                self._look(tables, room)
            late = [row for row in tables.chunks.values() if row.overdue(self._store.now)]
            late = [row for row in late if row.open and row.chunk not in tables.outcomes]
            for row in late[:limit]:
                if row.chunk not in tables.outcomes:
                    self._revive(tables, row)
            if self._is_idle(tables):
                self._look(tables, room)

    def _is_idle(self, tables: JobTables) -> bool:
        """Whether a job that is not at rest may have been left without room."""
        # One that waits for a moment, for others or for its jobs only is woken by them.
        return tables.control.open and not any(row.open for row in tables.chunks.values())

    def fire(self) -> None:
        """Send what is due; it is sent again until the job has taken its timer back."""
        for tables in self._store.jobs.values():
            if tables.timer is not None and tables.timer <= self._store.now:
                tables.timer = self._store.now + AGAIN
                self.hint(tables.job_id)

    def hint(self, job_id: str) -> None:
        """Have somebody look at a job."""
        name = self._store.name("hint")
        self._store.send(
            RecordOutcomes(command_id=name, job_id=job_id, tenant="local", actor="engine")
        )

    def _look(self, tables: JobTables, room: int) -> None:
        name = self._store.name("sweep")
        hint = RecordOutcomes(command_id=name, job_id=tables.job_id, tenant="local", actor="sweep")
        self.handle(COMMAND.dump_json(hint), room=room)

    def _revive(self, tables: JobTables, row: ChunkRow) -> None:
        if row.starts < planning.starts_allowed(row.cause, row.parent):
            row.attempt += 1
            row.lease_until, row.claim_by = None, self._store.now + CLAIM_BY
            self._dispatch(tables, [(row.chunk, row.attempt)])
            return
        died = self._died(tables, row)
        if row.cause.undoing and died.closed.returned:
            self._give_way(tables, row)
        # It is recorded after those that give way, so that its parts go before them.
        died.sequence = self._store.next()
        tables.settle(row.chunk, died)
        self.hint(tables.job_id)

    def _give_way(self, tables: JobTables, killer: ChunkRow) -> None:
        """The undos behind a killer are revoked, the last one first."""
        for row in sorted(tables.chunks.values(), key=lambda row: -row.chunk):
            if row.open and row.chunk > killer.chunk and row.chunk not in tables.outcomes:
                returned = tables.to_put_back(row)
                revoked = outcome(self._store, row, {}, closing=Closing.REVOKED, returned=returned)
                tables.settle(row.chunk, revoked)

    def _died(self, tables: JobTables, row: ChunkRow) -> OutcomeRow:
        said: Ledger = dict(self._results(tables, row.chunk))
        items = tables.to_put_back(row) if row.cause.undoing else row.items
        left = items - Ranges.of(said)
        if len(left) > 1 and row.cause is not Cause.COMMIT:
            return outcome(self._store, row, said, closing=Closing.DIED, returned=left)
        for position in left:
            said[position] = None if row.cause.undoing else ItemStatus.FAILED
        return outcome(self._store, row, said)
