"""Families: batches and their children, within the coordinator's transaction.

What is asked of a batch is done to all its children in one transaction, with their control
rows locked: so a batch that is paused is paused whole, and a batch that was accepted has all
its jobs. The undo of a batch goes on whenever it hears of a child.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from sqlalchemy import Connection

from domain.commands import (
    ArchiveJob,
    CancelJob,
    Command,
    JobSpec,
    OpenJob,
    PauseJob,
    ResumeJob,
    SentStep,
    SubmitBatch,
    SubmitJob,
    UndoJob,
)
from domain.contradictions import check_batch_undo
from domain.errors import (
    CommandRefused,
    IdempotencyConflict,
    InvalidCommand,
    JobNotFound,
    WrongState,
)
from domain.events import Cause, Child, JobStatus
from domain.job import Job, Stamp
from domain.jobs import Jobs
from domain.options import After
from domain.ports import Clock
from domain.steps import BATCH, Step, at_step, check_steps, child_id, to_undo
from streams.deciding import Decider
from streams.marks import submission
from streams.stores import children as child_store
from streams.stores import chunks as chunk_store
from streams.storing import Before

_CHANGING = (JobStatus.CANCELLING, JobStatus.ROLLING_BACK)
MAX_ID = 60
"""The ids of its jobs are that of the batch with the number of the step."""


@dataclasses.dataclass(slots=True)
class Family:
    """The children of a batch that a transaction has changed, with what they were before."""

    changed: dict[int, tuple[Job, Before]] = dataclasses.field(default_factory=dict)
    woken: list[str] = dataclasses.field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """Those that were changed or woken, who are to look at themselves."""
        return [*self.woken, *(job.id for job, _ in self.changed.values())]

    @property
    def told(self) -> dict[int, Child]:
        """How they are now; one that was put away is as it had ended."""
        return {
            number: Child(
                step=number, job_id=job.id, status=job.ended or job.status, counts=job.counts
            )
            for number, (job, _) in self.changed.items()
        }


class Families:
    """Decides on batches; hands back the children that are to be stored as well."""

    def __init__(self, decider: Decider, jobs: Jobs, clock: Clock) -> None:
        self._decider = decider
        self._jobs = jobs
        self._clock = clock

    def lock(self, connection: Connection, batch: Job, command: Command | None) -> None:
        """Lock the children of a batch, if they may be changed."""
        if command is not None or batch.status in _CHANGING:
            for child in sorted(batch.children, key=lambda each: each.job_id):
                chunk_store.lock_control(connection, child.job_id)

    def apply(self, connection: Connection, batch: Job, command: Command, family: Family) -> None:
        """Do what is asked of a batch; raises CommandRefused and then has changed nothing.

        Where it goes by what its children are it has heard of them before.
        """
        stamp = Stamp(command.actor, command.command_id, self._clock.now())
        if isinstance(command, SubmitBatch):
            self._begin(connection, batch, command, stamp, family)
            return
        if isinstance(command, SubmitJob | OpenJob):
            raise IdempotencyConflict.of(batch.id)
        if batch.tenant != command.tenant:
            raise JobNotFound.of(batch.id)
        self._go_on(connection, batch, command, stamp, family)

    def _go_on(
        self, connection: Connection, batch: Job, command: Command, stamp: Stamp, family: Family
    ) -> None:
        if isinstance(command, UndoJob | ArchiveJob | CancelJob):
            self._hear(connection, batch, family)
        match command:
            case PauseJob():
                batch.pause(stamp, command.reason)
                self._ask_all(connection, batch, command, "pause", family)
            case ResumeJob():
                batch.resume(stamp, command.reason)
                self._ask_all(connection, batch, command, "resume", family)
                drafts = (c.job_id for c in batch.children if c.status is JobStatus.DRAFT)
                family.woken += drafts
            case CancelJob():
                batch.check("cancel")
                if command.roll_back:
                    self._require_undo(batch)
                batch.stop_steps(stamp, command.reason, roll_back=command.roll_back)
                command = command.model_copy(update={"roll_back": False})
                self._ask_all(connection, batch, command, "cancel", family)
            case UndoJob():
                self._undo(batch, command, stamp)
            case ArchiveJob():
                self._archive(connection, batch, command, stamp, family)
            case _:
                verb = command.type.removesuffix("_job")
                possible = ", ".join(batch.possible()) or "nothing"
                raise WrongState(
                    f"the job is a batch: {verb} is asked of its jobs; possible: {possible}"
                )

    def heed(self, connection: Connection, batch: Job, family: Family) -> None:
        """Hear how the children are, and go on with an undo."""
        if not batch.spec.steps:
            return
        self._hear(connection, batch, family)
        while batch.status is JobStatus.ROLLING_BACK:
            if not self._undo_next(connection, batch, family):
                batch.end_undo(self._stamp(), self._reading(batch))
                return

    def _hear(self, connection: Connection, batch: Job, family: Family) -> None:
        """Follow the children; with the last of them a cancel ends, and puts back if it is to."""
        was = batch.status
        stored = child_store.hear_all(connection, batch.id)
        batch.hear(self._stamp(), {**stored, **family.told})
        if was is JobStatus.CANCELLING and batch.status is JobStatus.CANCELLED:
            self._roll_back(batch)

    # -- a new batch --------------------------------------------------------------------------

    def _begin(
        self,
        connection: Connection,
        batch: Job,
        command: SubmitBatch,
        stamp: Stamp,
        family: Family,
    ) -> None:
        spec = batch_spec(command)
        if batch.version:
            if (batch.tenant, batch.spec) != (command.tenant, spec):
                raise IdempotencyConflict.of(batch.id)
            return
        self.check(command)
        commands = [self._command_of(command, spec, number) for number in range(len(spec.steps))]
        taken = chunk_store.taken_ids(connection, [begin.job_id for begin in commands])
        if taken:
            raise IdempotencyConflict.of(taken[0])
        try:
            # What the steps before the one at fault have brought about goes with it.
            with connection.begin_nested():
                self._begin_all(connection, batch, commands, stamp, family)
        except CommandRefused:
            family.changed.clear()
            raise
        told = family.told
        batch.submit_steps(stamp, command.tenant, spec, [told[n] for n in range(len(told))])
        child_store.insert_children(connection, batch.id, [child.job_id for child in told.values()])

    def _begin_all(
        self,
        connection: Connection,
        batch: Job,
        commands: Sequence[SubmitJob | OpenJob],
        stamp: Stamp,
        family: Family,
    ) -> None:
        """Begin the job of each step; raises CommandRefused at the first that cannot be."""
        for number, begin in enumerate(commands):
            with at_step(number):
                self._decider.require_upload(connection, begin)
        for number, begin in enumerate(commands):
            job = self._jobs.begin(begin.job_id, traceparent=batch.traceparent)
            before = Before.of(job)
            with at_step(number):
                self._decider.begin(connection, job, begin, stamp)
            family.changed[number] = job, before

    def check(self, command: SubmitBatch) -> None:
        """Raise InvalidCommand for a batch that cannot be, which points at the step at fault."""
        if len(command.job_id) > MAX_ID:
            raise InvalidCommand(
                f"the id of a batch has {MAX_ID} characters at most", pointer="/job_id"
            )
        check_steps(command.steps)
        spec = batch_spec(command)
        for number, step in enumerate(command.steps):
            with at_step(number):
                self._decider.check_step(step_spec(command.job_id, spec, number))
                _check_source(step)

    def _command_of(self, command: SubmitBatch, spec: JobSpec, number: int) -> SubmitJob | OpenJob:
        job_id = child_id(command.job_id, number)
        begin = OpenJob(
            command_id=submission(job_id),
            job_id=job_id,
            tenant=command.tenant,
            actor=command.actor,
            spec=step_spec(command.job_id, spec, number),
        )
        source = command.steps[number].source
        if source is None:
            return begin
        return SubmitJob(**dict(begin) | {"type": "submit_job", "source": source})

    # -- what is asked of all -------------------------------------------------------------------

    def _ask_all(
        self, connection: Connection, batch: Job, command: Command, verb: str, family: Family
    ) -> None:
        for number in range(len(batch.children)):
            self._ask(connection, batch, number, command, verb, family)

    def _ask(
        self,
        connection: Connection,
        batch: Job,
        number: int,
        command: Command,
        verb: str,
        family: Family,
    ) -> bool:
        """Have a child do it, if it can; returns whether it does."""
        if number in family.changed:
            job, before = family.changed[number]
        else:
            job = self._jobs.load(batch.children[number].job_id)
            before = Before.of(job)
        if verb not in job.possible() or (verb == "undo" and not _is_put_back(job)):
            return False
        self._decider.record(connection, job)
        own = {"job_id": job.id, "command_id": f"{command.command_id}.{number + 1}"[-100:]}
        try:
            self._decider.apply(connection, job, command.model_copy(update=own))
            done = True
        except CommandRefused:
            # What was in flight has ended it first; that is recorded.
            done = False
        family.changed[number] = job, before
        return done

    def _archive(
        self, connection: Connection, batch: Job, command: ArchiveJob, stamp: Stamp, family: Family
    ) -> None:
        """Put a batch away with all its jobs; each of them must be free to go."""
        batch.check("archive")
        for number, child in enumerate(batch.children):
            job = self._jobs.load(child.job_id)
            if job.archived is None:
                with at_step(number):
                    job.check("archive")
        self._ask_all(connection, batch, command, "archive", family)
        batch.archive(stamp, command.reason)

    # -- undo -------------------------------------------------------------------------------------

    def _undo(self, batch: Job, command: UndoJob, stamp: Stamp) -> None:
        check_batch_undo(command)
        batch.check("undo")
        wanted = command.batch
        steps = to_undo(batch.spec.steps, wanted.to or "", wanted.branch or "")
        reading = self._reading(batch)
        for number in sorted(steps & batch.standing(reading)):
            with at_step(number):
                self._decider.check_reversible(
                    self._jobs.load(batch.children[number].job_id), force=command.force
                )
        batch.undo_steps(stamp, command.reason, steps, force=command.force, reading=reading)

    def _reading(self, batch: Job) -> frozenset[int]:
        """The steps that only read: there is nothing of them to put back."""
        steps = enumerate(batch.spec.steps)
        return frozenset(n for n, step in steps if self._decider.only_reads(step.operation))

    def _require_undo(self, batch: Job) -> None:
        """Raise NotReversible if a step that has begun can never be put back."""
        reading = self._reading(batch)
        for number, (step, child) in enumerate(zip(batch.spec.steps, batch.children, strict=True)):
            if number not in reading and _may_stand(step, child):
                with at_step(number):
                    self._decider.require_undo(step.operation)

    def _roll_back(self, batch: Job) -> None:
        """The cancel was to put back what was done."""
        standing = batch.standing(self._reading(batch))
        if batch.roll_back and standing:
            batch.undo_steps(self._stamp(), batch.reason, standing, force=False)

    def _undo_next(self, connection: Connection, batch: Job, family: Family) -> bool:
        """Begin the undo of those steps that are next; returns whether there was one."""
        begun = False
        for number in batch.next_to_undo(self._reading(batch)):
            stamp = self._stamp()
            undo = UndoJob(
                command_id=f"{batch.id}.undo.{batch.generation}",
                job_id=batch.id,
                tenant=batch.tenant,
                actor=stamp.actor,
                reason=batch.reason,
                force=batch.forced,
            )
            begun = self._ask(connection, batch, number, undo, "undo", family) or begun
        batch.hear(self._stamp(), family.told)
        return begun

    def _stamp(self) -> Stamp:
        return Stamp("engine", "", self._clock.now())


def _may_stand(step: Step, child: Child) -> bool:
    """Whether a step has done something, or may yet while it is cancelled."""
    moving = child.status in (JobStatus.RUNNING, JobStatus.CANCELLING)
    return not step.options.dry_run and (moving or child.counts.succeeded > 0)


def _is_put_back(job: Job) -> bool:
    """Whether an undo would put back what a job did: of some it would do it again."""
    return job.undo_direction is Cause.ROLLBACK


def batch_spec(command: SubmitBatch) -> JobSpec:
    """What a batch does, without the items."""
    return JobSpec(
        operation=BATCH,
        name=command.name,
        tags=command.tags,
        priority=command.priority,
        steps=tuple(_without_items(step) for step in command.steps),
    )


def _without_items(step: SentStep) -> Step:
    return Step(**{name: getattr(step, name) for name in Step.model_fields})


def step_spec(batch_id: str, batch: JobSpec, number: int) -> JobSpec:
    """The job that does a step of a batch."""
    step = batch.steps[number]
    numbers = {each.name: n for n, each in enumerate(batch.steps)}
    after = tuple(
        After(job_id=child_id(batch_id, numbers[needs.step]), end=needs.end, consume=needs.consume)
        for needs in step.needs
    )
    timeout = {} if step.timeout is None else {"timeout": step.timeout}
    return JobSpec(
        operation=step.operation,
        params=step.params,
        options=step.options.model_copy(update={"after": after} | timeout),
        name=step.name,
        tags=batch.tags,
        priority=batch.priority if step.priority is None else step.priority,
        parent=batch_id,
    )


def _check_source(step: SentStep) -> None:
    fed = any(needs.consume for needs in step.needs)
    if fed and step.source is not None:
        raise InvalidCommand(
            "the items are the results of another step; leave items or consume out",
            pointer="/items",
        )
    if not fed and step.source is None:
        raise InvalidCommand(
            "a step needs items, or another step whose results it consumes", pointer="/items"
        )
