"""The coordinator's side of the model: decide, store in one transaction, send; and the sweep."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from eventsourcing.persistence import StoredEvent

from domain import planning
from domain.caps import adjusted
from domain.commands import (
    COMMAND,
    AdjustJob,
    AppendItems,
    ApproveJob,
    ArchiveJob,
    CancelJob,
    Command,
    EditItems,
    HoldJob,
    OpenJob,
    PauseJob,
    RecordOutcomes,
    RejectJob,
    ReleaseJob,
    ResumeJob,
    RetryJob,
    SealJob,
    Selection,
    ShredJob,
    SubmitJob,
    UndoJob,
    UploadedItems,
)
from domain.errors import CommandRefused, JobNotFound
from domain.events import (
    Cause,
    ChunksPlanned,
    ItemsEdited,
    JobCancelled,
    JobEvent,
    JobRejected,
    JobStatus,
    JobStopped,
    RepeatsSkipped,
    RetryStarted,
    UndoStarted,
)
from domain.job import Job, Stamp
from domain.jobs import JobMapper
from domain.outcomes import Closing, ItemStatus
from domain.ranges import Ranges
from domain.retrying import Failures
from domain.schedule import rescheduled
from tests.model.kinds import BEGIN, repeated
from tests.model.parting import parts_of
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

MAPPER = JobMapper()
PACK = 2
AGAIN = 5
"""Seconds after which a timer is sent again that no job has taken back."""


class Crash(StrEnum):
    """Where a coordinator dies while it handles a message."""

    BEFORE_COMMIT = "before commit"
    AFTER_COMMIT = "after commit"


@dataclass(slots=True)
class Changes:
    """What one transaction is going to write."""

    outcomes: dict[int, OutcomeRow] = field(default_factory=dict)
    recorded: list[int] = field(default_factory=list)
    problem: str = ""


def load(tables: JobTables) -> Job:
    """The job from its snapshot, if there is one, and the tail; a new one without events."""
    tail = tables.events
    first: list[StoredEvent] = []
    if tables.snapshot is not None:
        first = [tables.snapshot]
        tail = tables.events[tables.snapshot.originator_version :]
    told = [MAPPER.to_domain_event(stored) for stored in (*first, *tail)]
    return Job.project(None, told) or Job(id=tables.job_id)


class Coordinator:
    """One coordinator process with its live aggregates, which may be stale."""

    def __init__(self, store: Store) -> None:
        self._store = store
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
        if command.command_id not in tables.decisions:
            self._advance(tables, command, room, crash)
        if crash is not None:
            self.crash()
        else:
            self._send(tables)

    def snapshot(self, job_id: str) -> None:
        """Store the live job's state, after the commit of its events."""
        job = self.live[job_id]
        self._store.jobs[job_id].snapshot = MAPPER.to_stored_event(job.snapshot())

    # -- one transaction: rules 1 to 4 --------------------------------------------------

    def _advance(self, tables: JobTables, command: Command, room: int, crash: Crash | None) -> None:
        job = self.live[tables.job_id] = self._current(tables)
        changes = Changes()
        self._record(tables, job, changes, command)
        self._heed_limits(tables, job, changes, command)
        job.release(self._stamp(command))
        if not isinstance(command, RecordOutcomes):
            try:
                self._decide(tables, job, changes, command)
                self._heed_limits(tables, job, changes, command)
                job.release(self._stamp(command))
            except CommandRefused as refused:
                changes.problem = refused.message
        if job.version:
            free = max(0, room - len(job.open))
            stamp = self._stamp(command)
            ready = job.ready_chunks(most=free, slow=tables.slow, now=stamp.at)
            planned = job.plan(stamp, room=free, slow=tables.slow)
            assert len(planned) == ready, "who shares places is told otherwise"
        if crash is not Crash.BEFORE_COMMIT:
            self._commit(tables, job, changes, command)

    def _current(self, tables: JobTables) -> Job:
        """Rule 2: the live aggregate, unless it is behind."""
        job = self.live.get(tables.job_id)
        if job is None or job.version != tables.control.version:
            return load(tables)
        return job

    def _commit(self, tables: JobTables, job: Job, changes: Changes, command: Command) -> None:
        for chunk, row in changes.outcomes.items():
            tables.settle(chunk, row)
        for chunk in changes.recorded:
            tables.outcomes[chunk].recorded = True
            tables.chunks[chunk].open = False
        tables.control = Control(job.epoch, job.version)
        self._keep_timer(tables, job)
        for event in job.collect_events():
            self._append(tables, event)
        if not isinstance(command, RecordOutcomes):
            assert command.command_id not in tables.decisions
            tables.decisions[command.command_id] = changes.problem

    def _keep_timer(self, tables: JobTables, job: Job) -> None:
        """Rule 13, in the same transaction."""
        due = None if job.wakes_at is None else (job.wakes_at - BEGIN).total_seconds()
        if due != tables.due:
            tables.due = tables.timer = due

    def _append(self, tables: JobTables, event: JobEvent) -> None:
        assert event.originator_version == len(tables.events) + 1, "a gap, or somebody was first"
        tables.events.append(MAPPER.to_stored_event(event))
        tables.status = event.status
        tables.records += [Record() for _ in range(event.counts.total - len(tables.records))]
        if isinstance(event, ChunksPlanned):
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
        elif isinstance(event, RepeatsSkipped | ItemsEdited):
            gone = event.dropped if isinstance(event, ItemsEdited) else event.items
            tables.marks.append(Mark(len(tables.chunks), "skip", gone))
        elif isinstance(event, RetryStarted):
            tables.marks.append(Mark(len(tables.chunks), "retry", event.items))
        elif isinstance(event, JobCancelled | JobRejected | JobStopped):
            tables.marks.append(Mark(len(tables.chunks), "end"))
        elif isinstance(event, UndoStarted):
            rollback = event.direction is Cause.ROLLBACK
            status = ItemStatus.SUCCEEDED if rollback else ItemStatus.ROLLED_BACK
            tables.begin_undo(status, event.parts)

    # -- decisions ------------------------------------------------------------------------

    def _record(self, tables: JobTables, job: Job, changes: Changes, command: Command) -> None:
        waiting = {c: row for c, row in tables.outcomes.items() if not row.recorded}
        waiting |= changes.outcomes
        fresh = {c: row for c, row in waiting.items() if c not in changes.recorded}
        assert set(fresh) <= set(job.open), "the aggregate does not know a chunk that is closed"
        rows = sorted(fresh.values(), key=lambda row: row.sequence)
        faults = {
            chunk: tables.faults_in(row.ledger)
            for chunk, row in fresh.items()
            if not tables.chunks[chunk].cause.undoing
        }
        failures = Failures(faults, self._store.chance)
        job.record(self._stamp(command), [row.closed for row in rows], failures)
        changes.recorded += fresh

    def _decide(self, tables: JobTables, job: Job, changes: Changes, command: Command) -> None:
        stamp = self._stamp(command)
        match command:
            case SubmitJob() | OpenJob():
                if job.version == 0:
                    self._begin(job, command, stamp, tables.approval)
            case _ if job.version == 0:
                raise JobNotFound(f"there is no job {job.id}")
            case AppendItems() | SealJob() | EditItems():
                self._draft(job, command, stamp, tables.approval)
            case PauseJob() | CancelJob() | AdjustJob():
                self._intervene(tables, job, changes, command)
            case ApproveJob() | RejectJob() | ResumeJob():
                _told(job, command, stamp)
            case HoldJob() | ReleaseJob() | ShredJob() | ArchiveJob():
                _kept(job, command, stamp)
            case RetryJob():
                job.check("retry")
                failed = failed_items(tables) - job.dropped
                chosen = self._chosen(tables, job, failed, command.select)
                job.retry(stamp, failed, command.reason, chosen)
            case UndoJob():
                job.check_undo()
                job.undo(stamp, command.reason, parts=parts_of(tables, job, command.select))
            case _:
                raise TypeError(f"the model has no {command.type}")

    def _draft(
        self, job: Job, command: AppendItems | SealJob | EditItems, stamp: Stamp, approval: str
    ) -> None:
        if isinstance(command, EditItems):
            dropped = Ranges.of(command.drop)
            job.editable(dropped)
            job.edit(stamp, None, dropped, command.reason)
        elif isinstance(command, SealJob):
            job.seal(stamp, command.items, approval)
            alike = repeated(job.options, job.counts.total) - job.withdrawn
            # One of those called the same is always left.
            job.skip_repeated(stamp, alike if len(alike) < job.counts.pending else Ranges())
        else:
            assert isinstance(command.source, UploadedItems)
            items, size = command.source.items, command.source.size
            job.append(stamp, part=command.part, items=items, size=size, sha256="")

    def _begin(self, job: Job, command: SubmitJob | OpenJob, stamp: Stamp, approval: str) -> None:
        if isinstance(command, OpenJob):
            job.open_draft(stamp, "local", command.spec)
            return
        assert isinstance(command.source, UploadedItems)
        source = command.source
        job.submit(
            stamp,
            "local",
            command.spec,
            items=source.items,
            size=source.size,
            sha256="",
            approval=approval,
        )
        job.skip_repeated(stamp, repeated(job.options, source.items))

    def _intervene(
        self,
        tables: JobTables,
        job: Job,
        changes: Changes,
        command: PauseJob | CancelJob | AdjustJob,
    ) -> None:
        if isinstance(command, AdjustJob):
            self._adjust(tables, job, changes, command)
        else:
            self._stop(tables, job, changes, command)

    def _stop(
        self, tables: JobTables, job: Job, changes: Changes, command: PauseJob | CancelJob
    ) -> None:
        """Rule 8: close what is open, in the same transaction."""
        pausing = isinstance(command, PauseJob)
        job.check("pause" if pausing else "cancel")
        if isinstance(command, CancelJob) and command.graceful:
            job.wind_down(self._stamp(command), command.reason, roll_back=command.roll_back)
            return
        self._revoke_open(tables, job, changes, command)
        if isinstance(command, CancelJob):
            job.cancel(self._stamp(command), command.reason, roll_back=command.roll_back)
        else:
            job.pause(self._stamp(command), command.reason)

    def _adjust(self, tables: JobTables, job: Job, changes: Changes, command: AdjustJob) -> None:
        """Lower caps close what is open, but not of slow work, which would begin twice."""
        job.check("adjust")
        caps = adjusted(job.caps, command)
        stamp = self._stamp(command)
        schedule = rescheduled(job.schedule, command, stamp.at, begun=job.begun)
        undoing = job.status is JobStatus.ROLLING_BACK
        recalled = bool(caps.lowers(job.caps) and job.open and not undoing and not tables.slow)
        if recalled:
            self._revoke_open(tables, job, changes, command)
        priority = job.priority if command.priority is None else command.priority
        job.adjust(stamp, caps, priority, command.reason, schedule=schedule, recalled=recalled)

    def _chosen(
        self, tables: JobTables, job: Job, failed: Ranges, select: Selection
    ) -> Ranges | None:
        if select.items:
            return Ranges.of(select.items)
        if select.unattempted:
            return job.dropped
        if select.codes:
            codes = {position: tables.wrong(position)[0] for position in failed}
            return Ranges.of(p for p, code in codes.items() if code in select.codes)
        return None

    def _heed_limits(self, tables: JobTables, job: Job, changes: Changes, command: Command) -> None:
        """Rule 12: what is open of a job with too many failures, or too late, is closed at once."""
        if job.limit_hit is not None or job.expires(self._stamp(command).at):
            self._revoke_open(tables, job, changes, command)

    def _revoke_open(self, tables: JobTables, job: Job, changes: Changes, command: Command) -> None:
        """What is open is closed, and takes no effect any more."""
        for chunk in job.open:
            row = tables.chunks[chunk]
            done = self._results(tables, chunk)
            returned = row.items - Ranges.of(done)
            closing = Closing.REVOKED if returned else Closing.DONE
            changes.outcomes[chunk] = outcome(
                self._store, row, done, closing=closing, returned=returned
            )
        self._record(tables, job, changes, command)

    def _results(self, tables: JobTables, chunk: int) -> Ledger:
        """The results of slow items so far."""
        return tables.results.get(chunk, {})

    def _stamp(self, command: Command) -> Stamp:
        at = BEGIN + timedelta(seconds=self._store.now)
        return Stamp(actor=command.actor, command_id=command.command_id, at=at)

    # -- sending: rule 12 -------------------------------------------------------------------

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
        terminal = tables.status is not None and tables.status.terminal
        if terminal or any(row.open for row in tables.chunks.values()):
            return False
        # One that waits for a moment only is woken by its timer.
        return tables.timer is None or load(tables).wants_chunks()

    def fire(self) -> None:
        """Send what is due; it is sent again until the job has taken its timer back."""
        for tables in self._store.jobs.values():
            if tables.timer is not None and tables.timer <= self._store.now:
                tables.timer = self._store.now + AGAIN
                name = self._store.name("timer")
                self._store.send(
                    RecordOutcomes(
                        command_id=name, job_id=tables.job_id, tenant="local", actor="engine"
                    )
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
        self._store.send(
            RecordOutcomes(
                command_id=self._store.name("hint"),
                job_id=tables.job_id,
                tenant="local",
                actor="sweep",
            )
        )

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


def _kept(job: Job, command: HoldJob | ReleaseJob | ShredJob | ArchiveJob, stamp: Stamp) -> None:
    match command:
        case HoldJob():
            job.hold(stamp, command.reason)
        case ReleaseJob():
            job.lift_hold(stamp, command.reason)
        case ShredJob():
            job.shred(stamp, command.reason)
        case ArchiveJob():
            job.archive(stamp, command.reason)


def _told(job: Job, command: ApproveJob | RejectJob | ResumeJob, stamp: Stamp) -> None:
    """What the aggregate decides alone."""
    match command:
        case ApproveJob():
            job.approve(stamp, command.reason)
        case RejectJob():
            job.reject(stamp, command.reason)
        case ResumeJob():
            job.resume(stamp, command.reason)


def failed_items(tables: JobTables) -> Ranges:
    """The positions whose latest word is ``failed``."""
    failed: set[int] = set()
    spoken: set[int] = set()
    for chunk in sorted(tables.outcomes, reverse=True):
        said = {p: s for p, s in tables.outcomes[chunk].ledger.items() if s is not None}
        failed |= {p for p, s in said.items() if s is ItemStatus.FAILED} - spoken
        spoken |= set(said)
    return Ranges.of(failed)
