"""Jobs that come after others, and batches: the model's coordinator among several jobs."""

from __future__ import annotations

from domain.commands import (
    ArchiveJob,
    CancelJob,
    Command,
    OpenJob,
    PauseJob,
    ResumeJob,
    SubmitBatch,
    SubmitJob,
    UndoJob,
)
from domain.dependencies import SUITABLE, Ends, all_ended
from domain.errors import CommandRefused, JobNotFound, WrongState
from domain.events import KEEPING, Cause, Child, JobStatus
from domain.job import Job, Stamp
from domain.options import After
from domain.outcomes import Counts, ItemStatus
from domain.steps import to_undo
from streams.families import batch_spec, step_spec
from tests.model.deciding import Changes, Deciding
from tests.model.ledger import fold
from tests.model.loading import MAPPER, load
from tests.model.tables import JobTables

WINDOW = 3
"""Of how many items the results are taken at a time."""
TWENTIETHS = 20
Stands = tuple[JobStatus, Counts | tuple[int, int]]


class Families(Deciding):
    """Decides on what is asked of a batch, and has jobs go on that wait for others."""

    def _decide(self, tables: JobTables, job: Job, changes: Changes, command: Command) -> None:
        if tables.steps:
            self._of_batch(tables, job, changes, command)
        else:
            super()._decide(tables, job, changes, command)

    def _follow(self, tables: JobTables, job: Job, changes: Changes, command: Command) -> bool:
        """See how others have ended, or how those of a batch are; whether there is more to do."""
        awaited = job.awaited
        more = self._heed(tables, job, command)
        if job.awaited != awaited:
            self._heed_time(tables, job, changes, command)
        if tables.steps and job.version:
            self._hear(job, changes, command)
        return more

    # -- after others: rule 15 ----------------------------------------------------------------

    def _heed(self, tables: JobTables, job: Job, command: Command) -> bool:
        awaited = job.awaited
        if not awaited or self._is_held(tables, job):
            return False
        ends = self._ends(awaited)
        job.heed(self._stamp(command), ends)
        consumed = job.options.consumed
        if consumed is None or job.status is not JobStatus.DRAFT or not all_ended(awaited, ends):
            return False
        return self._take(tables, job, command, ends)

    def _ends(self, awaited: tuple[After, ...]) -> Ends:
        found = {after.job_id: self._store.jobs[after.job_id].ended for after in awaited}
        return {job_id: end for job_id, end in found.items() if end is not None and end.terminal}

    def _is_held(self, tables: JobTables, job: Job) -> bool:
        if job.status is not JobStatus.DRAFT or tables.parent is None:
            return False
        return self._store.jobs[tables.parent].status is JobStatus.PAUSED

    def _take(self, tables: JobTables, job: Job, command: Command, ends: Ends) -> bool:
        """Some more of the results; with the last of them the job may start.

        By the engine itself, whatever command has moved it to look: who sent that has not
        submitted the job, and may approve it.
        """
        stamp = Stamp("engine", "", self._stamp(command).at)
        assert job.options.consumed is not None
        source = self._store.jobs[job.options.consumed.job_id]
        version, ended = source.control.version, ends[source.job_id]
        if load(source).emptied is not None:
            job.skip(stamp, source.job_id, ended, f"job {source.job_id} is in an archive")
            return False
        if job.taken_at is not None and self._has_gone_on(source, job.taken_at):
            job.skip(stamp, source.job_id, ended, f"job {source.job_id} has gone on")
            return False
        first = (max(job.parts) + 1) * WINDOW if job.parts else 0
        found = [
            n // WINDOW
            for n, item in enumerate(fold(source, recorded=True))
            if n >= first and item.status is ItemStatus.SUCCEEDED
        ]
        if found:
            part, items = found[0], found.count(found[0])
            job.feed(stamp, part=part, items=items, size=items, sha256="", taken_at=version)
            return True
        if not job.counts.total:
            job.skip(stamp, source.job_id, ended, f"no item of job {source.job_id} has succeeded")
            return False
        job.seal_fed(stamp, tables.approval)
        job.heed(stamp, ends)
        return False

    def _has_gone_on(self, source: JobTables, version: int) -> bool:
        """Whether its results may be others than at that version."""
        since = [MAPPER.to_domain_event(stored) for stored in source.events[version:]]
        return not all(isinstance(event, KEEPING) for event in since)

    def _may_follow(self, tables: JobTables) -> bool:
        """For a sweep: whether a job waits for nothing any more, or in vain."""
        ends = self._ends(tables.awaits)
        vain = any(ends.get(a.job_id) not in (None, *SUITABLE[a.end]) for a in tables.awaits)
        return bool(tables.awaits) and (vain or all_ended(tables.awaits, ends))

    def _to_tell(
        self, tables: JobTables, job: Job, changes: Changes, *, moved: bool, more: bool
    ) -> list[str]:
        """The jobs that must look at what has become of this one."""
        if not moved:
            return []
        told = [*changes.woken, *(kin.id for kin, _ in changes.kin.values())]
        if job.status.terminal:
            others = self._store.jobs.values()
            told += [t.job_id for t in others if job.id in [a.job_id for a in t.awaits]]
        if tables.parent is not None and tables.moved:
            told.append(tables.parent)
        return [*told, job.id] if more else told

    # -- batches: rule 17 ---------------------------------------------------------------------

    def _of_batch(self, tables: JobTables, job: Job, changes: Changes, command: Command) -> None:
        stamp = self._stamp(command)
        if isinstance(command, UndoJob | ArchiveJob):
            self._hear_first(job, command)
        match command:
            case SubmitBatch():
                if job.version == 0:
                    self._begin_batch(job, changes, command)
            case _ if job.version == 0:
                raise JobNotFound(f"there is no job {job.id}")
            case PauseJob():
                job.pause(stamp, command.reason)
                self._ask_all(job, changes, command, "pause")
            case ResumeJob():
                job.resume(stamp, command.reason)
                self._ask_all(job, changes, command, "resume")
                drafts = [c.job_id for c in job.children if c.status is JobStatus.DRAFT]
                changes.woken += drafts
            case CancelJob():
                job.check("cancel")
                job.stop_steps(stamp, command.reason, roll_back=command.roll_back)
                own = command.model_copy(update={"roll_back": False})
                self._ask_all(job, changes, own, "cancel")
            case UndoJob():
                job.check("undo")
                wanted = command.batch
                steps = to_undo(tables.steps, wanted.to or "", wanted.branch or "")
                job.undo_steps(stamp, command.reason, steps, force=command.force)
            case ArchiveJob():
                self._archive(job, changes, command)
            case _:
                raise WrongState(f"the job is a batch: {command.type} is asked of its jobs")

    def _begin_batch(self, batch: Job, changes: Changes, command: SubmitBatch) -> None:
        stamp, spec = self._stamp(command), batch_spec(command)
        for number, step in enumerate(command.steps):
            tables = self._store.jobs[f"{batch.id}-{number + 1}"]
            job, own = Job(id=tables.job_id), Changes()
            common = dict(command) | {"job_id": job.id, "command_id": f"{job.id}.submit"}
            said = {"spec": step_spec(batch.id, spec, number), "source": step.source}
            kind = OpenJob if step.source is None else SubmitJob
            fields = {n: v for n, v in (common | said).items() if n in kind.model_fields}
            begin = kind(**fields | {"type": kind.model_fields["type"].default})
            super()._decide(tables, job, own, begin)
            changes.kin[number] = job, own
        told = _told(changes)
        batch.submit_steps(stamp, "local", spec, [told[n] for n in range(len(told))])

    def _archive(self, batch: Job, changes: Changes, command: ArchiveJob) -> None:
        """A batch goes with all its jobs, each of which must be free to go."""
        batch.check("archive")
        for child in batch.children:
            job = load(self._store.jobs[child.job_id])
            if job.archived is None:
                job.check("archive")
        self._ask_all(batch, changes, command, "archive")
        batch.archive(self._stamp(command), command.reason)

    def _ask_all(self, batch: Job, changes: Changes, command: Command, verb: str) -> None:
        for number in range(len(batch.children)):
            self._ask(batch, number, changes, command, verb)

    def _ask(self, batch: Job, number: int, changes: Changes, command: Command, verb: str) -> bool:
        """Have a job of a batch do it, if it can; whether it does."""
        tables = self._store.jobs[batch.children[number].job_id]
        job, own = changes.kin.get(number) or (load(tables), Changes())
        if verb not in job.possible() or (verb == "undo" and not self._is_put_back(job)):
            return False
        self._take_in(tables, job, own, command)
        changes.kin[number] = job, own
        try:
            super()._decide(tables, job, own, command.model_copy(update={"job_id": job.id}))
        except CommandRefused:
            return False
        return True

    def _is_put_back(self, job: Job) -> bool:
        """Whether an undo would put back what a job did, and not do it again."""
        return job.undo_direction is Cause.ROLLBACK

    def _hear_first(self, batch: Job, command: Command) -> None:
        """How its jobs are, for what goes by that."""
        batch.hear(self._stamp(command), dict(enumerate(map(self._as_stored, batch.children))))

    def _hear(self, batch: Job, changes: Changes, command: Command) -> None:
        """How the jobs of a batch are; and an undo goes on."""
        was, stamp = batch.status, self._stamp(command)
        changes.heard = True
        stored = dict(enumerate(map(self._as_stored, batch.children)))
        batch.hear(stamp, {**stored, **_told(changes)})
        if was is JobStatus.CANCELLING and batch.status is JobStatus.CANCELLED:
            stands = any(child.counts.succeeded for child in batch.children)
            if batch.roll_back and stands:
                steps = to_undo(batch.spec.steps, "", "")
                batch.undo_steps(stamp, batch.reason, steps, force=False)
        while batch.status is JobStatus.ROLLING_BACK:
            if not self._undo_next(batch, changes, command):
                batch.end_undo(stamp)
                return

    def _as_stored(self, child: Child) -> Child:
        """A job of a batch by its last event; one that is made just now is what it is."""
        tables = self._store.jobs[child.job_id]
        if not tables.events:
            return child
        last = MAPPER.to_domain_event(tables.events[-1])
        status = tables.was or last.status
        return Child(step=child.step, job_id=child.job_id, status=status, counts=last.counts)

    def _undo_next(self, batch: Job, changes: Changes, command: Command) -> bool:
        begun = False
        for number in self._next_to_undo(batch):
            undo = UndoJob(
                command_id=f"{batch.id}.undo.{batch.generation}",
                job_id=batch.id,
                tenant="local",
                actor="engine",
                reason=batch.reason,
                force=batch.forced,
            )
            begun = self._ask(batch, number, changes, undo, "undo") or begun
        batch.hear(self._stamp(command), _told(changes))
        return begun

    def _next_to_undo(self, batch: Job) -> list[int]:
        return batch.next_to_undo()

    def _unheard(self, tables: JobTables) -> bool:
        """For a sweep: whether a job of a batch has moved that the batch has not heard of."""
        jobs = self._store.jobs.values()
        return bool(tables.steps) and any(t.moved for t in jobs if t.parent == tables.job_id)

    def _say_moved(self, tables: JobTables) -> None:
        """In the transaction in which it moves."""
        tables.moved = True

    def _stands(self, tables: JobTables) -> Stands | None:
        """What a batch hears of a job; None of one that is not there yet."""
        if not tables.events:
            return None
        last = MAPPER.to_domain_event(tables.events[-1])
        counts, total = last.counts, max(last.counts.total, 1)
        if last.status.terminal:
            return tables.was or last.status, counts
        pending, succeeded = counts.pending * TWENTIETHS, counts.succeeded * TWENTIETHS
        return last.status, (pending // total, succeeded // total)


def _told(changes: Changes) -> dict[int, Child]:
    return {
        number: Child(step=number, job_id=job.id, status=job.ended or job.status, counts=job.counts)
        for number, (job, _) in changes.kin.items()
    }
