"""What a command means for a job, as the model's coordinator decides it in its transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from domain.archiving import ArchiveFile
from domain.caps import adjusted
from domain.commands import (
    AdjustJob,
    AppendItems,
    ApproveJob,
    ArchiveJob,
    CancelJob,
    Command,
    Edit,
    EditItems,
    HoldJob,
    OpenJob,
    PauseJob,
    RejectJob,
    ReleaseJob,
    ResumeJob,
    RetryJob,
    SealJob,
    Selection,
    ShredJob,
    SubmitJob,
    UndoJob,
    UndoSelection,
    UploadedItems,
)
from domain.editing import Edited
from domain.errors import JobNotFound, NotReversible, PlanApplied, PlanChanged
from domain.events import JobStatus, PlannedChunk
from domain.job import Job, Stamp
from domain.outcomes import Closing, ItemStatus
from domain.ranges import Ranges
from domain.retrying import Failures
from domain.reversal import Part
from domain.schedule import rescheduled
from tests.model.kinds import BEGIN, repeated
from tests.model.ledger import fold
from tests.model.parting import parts_of
from tests.model.sharing import Drawn
from tests.model.tables import JobTables, Ledger, OutcomeRow, Store, is_like
from tests.model.worker import outcome


@dataclass(slots=True)
class Changes:
    """What one transaction is going to write; ``kin`` are jobs of a batch that it changes.

    ``bodies`` are the new natures of items; ``heard``: the batch knows how all its jobs are. What
    is ``planned`` is within what was ``drawn`` from buckets.
    """

    outcomes: dict[int, OutcomeRow] = field(default_factory=dict)
    recorded: list[int] = field(default_factory=list)
    problem: str = ""
    bodies: dict[int, str] = field(default_factory=dict)
    kin: dict[int, tuple[Job, Changes]] = field(default_factory=dict)
    woken: list[str] = field(default_factory=list)
    heard: bool = False
    drawn: Drawn = field(default_factory=Drawn)
    planned: tuple[PlannedChunk, ...] = ()


class Deciding:
    """Decides on commands to jobs; what must be stored with that goes into ``Changes``."""

    def __init__(self, store: Store) -> None:
        self._store = store

    # -- what has been worked -------------------------------------------------------------

    def _take_in(self, tables: JobTables, job: Job, changes: Changes, command: Command) -> None:
        """Record outcomes, and do what follows from them and from the time alone."""
        self._record(tables, job, changes, command)
        self._heed_time(tables, job, changes, command)
        name = self._file(tables, job) if job.awaits_file else None
        if name is not None:
            job.empty(self._stamp(command), ArchiveFile(name=name, sha256="0" * 64, size=1))

    def _file(self, tables: JobTables, job: Job) -> str | None:
        """Rule 22: the file that has all of the job as it is now."""
        version, name = tables.written or (None, None)
        return name if version == job.version else None

    def _heed_time(self, tables: JobTables, job: Job, changes: Changes, command: Command) -> None:
        self._heed_limits(tables, job, changes, command)
        self._heed_timeout(tables, job, changes, command)
        job.release(self._stamp(command))

    def _record(self, tables: JobTables, job: Job, changes: Changes, command: Command) -> None:
        waiting = {c: row for c, row in tables.outcomes.items() if not row.recorded}
        waiting |= changes.outcomes
        fresh = {c: row for c, row in waiting.items() if c not in changes.recorded}
        assert set(fresh) <= set(job.open), "the aggregate does not know a chunk that is closed"
        rows = sorted(fresh.values(), key=lambda row: row.sequence)
        faults = {
            chunk: tables.faults_in(chunk, row.ledger)
            for chunk, row in fresh.items()
            if not tables.chunks[chunk].cause.undoing
        }
        failures = Failures(faults, self._store.chance)
        job.record(self._stamp(command), [row.closed for row in rows], failures)
        changes.recorded += fresh

    def _heed_limits(self, tables: JobTables, job: Job, changes: Changes, command: Command) -> None:
        """Rule 12: what is open of a job with too many failures, or too late, is closed at once."""
        if job.limit_hit is not None or job.expires(self._stamp(command).at):
            self._revoke_open(tables, job, changes, command)

    def _heed_timeout(
        self, tables: JobTables, job: Job, changes: Changes, command: Command
    ) -> None:
        """A run that takes too long is cancelled, and what is open of it closed at once."""
        stamp = self._stamp(command)
        if job.ends_by is not None and job.ends_by <= stamp.at:
            self._revoke_open(tables, job, changes, command)
            job.time_out(stamp)

    def _revoke_open(self, tables: JobTables, job: Job, changes: Changes, command: Command) -> None:
        """What is open is closed, the last first, and takes no effect any more."""
        for chunk in reversed(job.open):
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

    # -- commands -------------------------------------------------------------------------

    def _decide(self, tables: JobTables, job: Job, changes: Changes, command: Command) -> None:
        stamp = self._stamp(command)
        match command:
            case SubmitJob() | OpenJob():
                if job.version == 0:
                    self._begin(tables, job, command, stamp)
            case _ if job.version == 0:
                raise JobNotFound(f"there is no job {job.id}")
            case AppendItems() | SealJob() | EditItems():
                self._draft(tables, job, changes, command)
            case PauseJob() | CancelJob() | AdjustJob():
                self._intervene(tables, job, changes, command)
            case ApproveJob() | RejectJob() | ResumeJob():
                self._told(tables, job, command)
            case HoldJob() | ReleaseJob() | ShredJob() | ArchiveJob():
                _kept(job, command, stamp)
            case RetryJob():
                self._retry(tables, job, changes, command)
            case UndoJob():
                self._undo(tables, job, command)
            case _:
                raise TypeError(f"the model has no {command.type}")

    def _undo(self, tables: JobTables, job: Job, command: UndoJob) -> None:
        job.check_undo()
        if tables.outside and job.status is JobStatus.ROLLED_BACK:
            raise NotReversible("what is taken back outside is not done there again")
        parts = self._parts(tables, job, command.select)
        job.undo(self._stamp(command), command.reason, parts=parts, force=command.force)

    def _parts(self, tables: JobTables, job: Job, select: UndoSelection) -> tuple[Part, ...]:
        return parts_of(tables, job, select)

    def _told(
        self, tables: JobTables, job: Job, command: ApproveJob | RejectJob | ResumeJob
    ) -> None:
        stamp = self._stamp(command)
        match command:
            case ApproveJob():
                job.check("approve")
                self._require_unchanged(tables)
                job.approve(stamp, command.reason)
            case RejectJob():
                job.reject(stamp, command.reason)
            case ResumeJob():
                job.resume(stamp, command.reason)

    # -- the beginning ----------------------------------------------------------------------

    def _begin(
        self, tables: JobTables, job: Job, command: SubmitJob | OpenJob, stamp: Stamp
    ) -> None:
        if isinstance(command, OpenJob):
            job.open_draft(stamp, "local", command.spec)
            return
        assert isinstance(command.source, UploadedItems)
        source = command.source
        if source.upload_id in self._store.manifests:
            tables.manifest = source.upload_id
        self._check_plan(tables)
        job.submit(
            stamp,
            "local",
            command.spec,
            items=source.items,
            size=source.size,
            sha256="",
            approval=tables.approval,
        )
        job.skip_repeated(stamp, repeated(job.options, source.items))

    def _check_plan(self, tables: JobTables) -> None:
        plan = tables.options.plan
        if plan is None:
            return
        others = [t for t in self._store.jobs.values() if t.options.plan == plan and t.events]
        if others:
            raise PlanApplied(f"job {others[0].job_id} does what was planned")
        self._require_unchanged(tables)

    def _require_unchanged(self, tables: JobTables) -> None:
        """Rule 20: nothing is done of a plan when what it was made of has changed."""
        plan = tables.options.plan
        if plan is None:
            return
        dry = self._store.jobs[plan.job_id]
        # Once the job is there, its records are those of the dry run.
        records = tables.records or dry.records
        changed = [n for n, version in dry.seen.items() if records[n].version != version]
        if changed:
            raise PlanChanged(f"items {changed} have changed since the dry run")

    def _draft(
        self,
        tables: JobTables,
        job: Job,
        changes: Changes,
        command: AppendItems | SealJob | EditItems,
    ) -> None:
        stamp = self._stamp(command)
        if isinstance(command, EditItems):
            edited, dropped = Ranges.of(e.item for e in command.edits), Ranges.of(command.drop)
            job.editable(edited | dropped)
            job.edit(stamp, _edited(job, changes, command.edits), dropped, command.reason)
        elif isinstance(command, SealJob):
            job.seal(stamp, command.items, tables.approval)
            alike = repeated(job.options, job.counts.total) - job.withdrawn
            # One of those called the same is always left.
            job.skip_repeated(stamp, alike if len(alike) < job.counts.pending else Ranges())
        else:
            assert isinstance(command.source, UploadedItems)
            items, size = command.source.items, command.source.size
            job.append(stamp, part=command.part, items=items, size=size, sha256="")

    # -- on the way --------------------------------------------------------------------------

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
        """Rule 8: every open chunk is closed, then the event that confirms."""
        job.check("cancel" if isinstance(command, CancelJob) else "pause")
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

    # -- afterwards ----------------------------------------------------------------------------

    def _retry(self, tables: JobTables, job: Job, changes: Changes, command: RetryJob) -> None:
        job.check("retry")
        failed = failed_items(tables) - job.dropped
        chosen = self._chosen(tables, job, failed, command.select)
        job.retriable(failed, chosen)
        edits = () if tables.options.plan is not None else command.select.edits
        edited = _edited(job, changes, edits)
        job.retry(self._stamp(command), failed, command.reason, chosen, edited)

    def _chosen(
        self, tables: JobTables, job: Job, failed: Ranges, select: Selection
    ) -> Ranges | None:
        if select.items:
            return Ranges.of(select.items)
        if select.edits:
            return Ranges.of(edit.item for edit in select.edits)
        if select.unattempted:
            return job.dropped
        if select.by_error:
            return self._failed_like(tables, failed, select)
        return None

    def _failed_like(self, tables: JobTables, failed: Ranges, select: Selection) -> Ranges:
        items = fold(tables, recorded=False)
        return Ranges.of(p for p in failed if is_like(select, items[p].code, p))


def _edited(job: Job, changes: Changes, edits: Sequence[Edit]) -> Edited | None:
    """New bodies, which in the model are natures; the model keeps no payloads."""
    if not edits:
        return None
    changes.bodies = {edit.item: str(edit.body) for edit in edits}
    items = Ranges.of(changes.bodies)
    return Edited(edition=job.edits + 1, items=items, lines=len(edits) + 1, size=1, sha256="")


def failed_items(tables: JobTables) -> Ranges:
    """The positions whose latest word is ``failed``."""
    failed: set[int] = set()
    spoken: set[int] = set()
    for chunk in sorted(tables.outcomes, reverse=True):
        said = {p: s for p, s in tables.outcomes[chunk].ledger.items() if s is not None}
        failed |= {p for p, s in said.items() if s is ItemStatus.FAILED} - spoken
        spoken |= set(said)
    return Ranges.of(failed)


def _kept(job: Job, command: HoldJob | ReleaseJob | ShredJob | ArchiveJob, stamp: Stamp) -> None:
    match command:
        case ArchiveJob():
            job.archive(stamp, command.reason)
        case HoldJob():
            job.hold(stamp, command.reason)
        case ReleaseJob():
            job.lift_hold(stamp, command.reason)
        case ShredJob():
            job.shred(stamp, command.reason)
