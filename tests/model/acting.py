"""What the rules of the model are made of: to ask for jobs, and to have work go on for a while."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import ClassVar, TypeVar

from hypothesis.stateful import RuleBasedStateMachine

from domain.commands import (
    COMMAND,
    AppendItems,
    ApproveJob,
    BaseCommand,
    CancelJob,
    Command,
    JobSpec,
    OpenJob,
    PauseJob,
    RecordOutcomes,
    RejectJob,
    ResumeJob,
    RetryJob,
    SealJob,
    SubmitBatch,
    SubmitJob,
    UndoJob,
)
from domain.dependencies import SUITABLE
from domain.events import JobStatus
from domain.options import Ending, Start
from domain.outcomes import ItemStatus
from domain.steps import child_id
from domain.verbs import BATCH, POSSIBLE, Verb
from streams.families import batch_spec, step_spec
from tests.model.allotted import Allotted
from tests.model.coordinator import Coordinator
from tests.model.kinds import (
    Drawn,
    Kind,
    step_of,
    upload,
)
from tests.model.ledger import fold
from tests.model.oracle import Oracle
from tests.model.order import Order
from tests.model.outside import Compensators
from tests.model.tables import JobTables, Store, Work
from tests.model.worker import Task, Workers
from tests.unit.domain.drawing import Edge

_T = TypeVar("_T")
MAX_JOBS = 3
ENDED = SUITABLE[Ending.ANY]
VERBS: dict[Verb, type[BaseCommand]] = {
    "pause": PauseJob,
    "resume": ResumeJob,
    "cancel": CancelJob,
    "retry": RetryJob,
    "undo": UndoJob,
    "approve": ApproveJob,
    "reject": RejectJob,
}


@dataclass(slots=True)
class Tally:
    """What the runs have seen, over all of them."""

    steps: int = 0
    runs: int = 0
    drained: int = 0
    edges: Counter[Edge] = field(default_factory=Counter)
    of_batches: Counter[Edge] = field(default_factory=Counter)
    closings: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    items: Counter[str] = field(default_factory=Counter)
    timeouts: int = 0
    """Items that have taken too long."""
    full: int = 0
    """Plans that have left nothing of what jobs share."""


class Acting(RuleBasedStateMachine):
    """Callers with their processes; :class:`EngineMachine` has these fail."""

    tally: ClassVar[Tally] = Tally()
    coordinator: ClassVar[type[Coordinator]] = Coordinator
    worker: ClassVar[type[Workers]] = Compensators

    def __init__(self) -> None:
        super().__init__()
        self.store = Store()
        self.coordinators = [self.coordinator(self.store), self.coordinator(self.store)]
        self.workers = self.worker(self.store)
        self.oracle = Oracle(self.tally.edges, self.tally.of_batches)
        self.order = Order(self.store)
        self.allotted = Allotted(self.store)
        self.asked: list[Command] = []

    def _callers_go_on(self) -> None:
        """Callers repeat what was not answered, seal their drafts and end their pauses."""
        if self.store.commands:
            return
        for tables in self.store.jobs.values():
            mine = [c for c in self.asked if c.job_id == tables.job_id]
            lost = [c for c in mine if c.command_id not in tables.decisions]
            if lost:
                self.store.send(lost[0])
            elif tables.status is JobStatus.PAUSED:
                self._ask(ResumeJob, tables.job_id)
            elif tables.status is JobStatus.AWAITING_APPROVAL:
                self._approve(tables)
            elif tables.events and not (_goes_on(tables) or tables.fed):
                left = any(i.status is ItemStatus.PENDING for i in fold(tables, recorded=True))
                self._ask(SealJob if left else CancelJob, tables.job_id)

    def _approve(self, tables: JobTables) -> None:
        """What cannot be approved any more is rejected."""
        refused = [tables.decisions[c.command_id] for c in self.asked if _is_about(c, tables)]
        stale = any("since the dry run" in problem for problem in refused)
        self._ask(RejectJob if stale else ApproveJob, tables.job_id)

    # -- small things ---------------------------------------------------------------------

    def _flow(self, rounds: int, room: int) -> None:
        for _ in range(rounds):
            self._round(room)

    def _round(self, room: int) -> None:
        """Everything that waits happens once, in order; if nothing waits, time goes by."""
        busy = self._busy()
        self._deliver(room)
        self._work()
        if not busy:
            self.store.now += 6
            self.coordinators[0].fire()
            self.coordinators[1].sweep(room=room)

    def _deliver(self, room: int) -> None:
        for message in taken(self.store.commands):
            self.coordinators[0].handle(message, room=room)

    def _edit(self, tables: JobTables, position: int) -> None:
        tables.records[position % len(tables.records)].edit(self.store.name("edit"))

    def _work(self) -> None:
        for work in taken(self.store.work):
            self.workers.claim(work)
        for task in list(self.workers.tasks):
            self.workers.beat(task)
            self.workers.progress(task, hint=True)

    def _in_silence(self, rounds: int, room: int) -> None:
        """As ``_flow``; hints to jobs that wait for others, and to batches, are lost."""
        for _ in range(rounds):
            for message in taken(self.store.commands):
                command = COMMAND.validate_json(message)
                hint = isinstance(command, RecordOutcomes)
                if not (hint and listens(self.store.jobs[command.job_id])):
                    self.coordinators[0].handle(message, room=room)
            self._work()

    def _busy(self) -> bool:
        return bool(self.store.commands or self.store.work or self.workers.tasks)

    def _stall(self, task: Task, found: int) -> None:
        epoch = task.claims[0].epoch
        chunks = tuple((claim.chunk, claim.attempt) for claim in task.claims)
        self.store.work.append(Work(task.job_id, epoch, chunks))
        self.store.now += 6
        if found:
            self.coordinators[1].sweep(room=0, limit=found)

    def _submit(self, kind: Kind) -> JobTables:
        """A whole job, or a draft with its first part."""
        job_id = self.store.name("job")
        tables = self._new_job(job_id, kind)
        spec = JobSpec(operation="model.work", options=kind.options)
        if kind.options.consumed is not None:
            self._ask(OpenJob, job_id, spec=spec)
        elif kind.draft or kind.options.start is Start.EAGER:
            self._ask(OpenJob, job_id, spec=spec)
            self._ask(AppendItems, job_id, part=0, source=upload(kind.items))
        else:
            self._ask(SubmitJob, job_id, spec=spec, source=upload(kind.items))
        return tables

    def _submit_batch(self, drawn: list[Drawn]) -> JobTables:
        batch, steps = self.store.name("batch"), tuple(map(step_of, range(len(drawn)), drawn))
        common = {"command_id": self.store.name("command"), "job_id": batch}
        command = SubmitBatch(**common, tenant="local", actor="ann", steps=steps)
        spec = batch_spec(command)
        self.store.jobs[batch] = JobTables(batch, "s", steps=spec.steps)
        for number, each in enumerate(drawn):
            options = step_spec(batch, spec, number).options
            kind = replace(each.kind, options=options, draft=False, grave=False)
            self._new_job(child_id(batch, number), kind, parent=batch)
        self._say(command)
        return self.store.jobs[batch]

    def _new_job(self, job_id: str, kind: Kind, parent: str | None = None) -> JobTables:
        tables = JobTables(
            job_id,
            kind.does,
            slow=kind.slow,
            grave=kind.grave,
            outside=kind.outside,
            draws=kind.draws,
            options=kind.options,
            parent=parent,
        )
        self.store.jobs[job_id] = tables
        return tables

    def _ask(self, kind: type[BaseCommand], job_id: str, **fields: object) -> None:
        name = self.store.name("command")
        # Whoever approves is somebody else, as far as it is meant to go well.
        actor = "bob" if kind in (ApproveJob, RejectJob) and len(self.asked) % 8 else "ann"
        common = {"command_id": name, "job_id": job_id, "tenant": "local", "actor": actor}
        command = COMMAND.validate_python(kind.model_validate(common | fields))
        self._say(command)

    def _say(self, command: Command) -> None:
        self.asked.append(command)
        self.store.asked[command.command_id] = command
        self.store.send(command)

    def _has_room(self) -> bool:
        """Whether there are few jobs yet; a batch is one."""
        jobs = self.store.jobs.values()
        return sum(tables.parent is None for tables in jobs) < MAX_JOBS

    def _job(self, which: int) -> JobTables:
        found = list(self.store.jobs.values())
        return found[which % len(found)]

    def _task(self, which: int) -> Task:
        return self.workers.tasks[which % len(self.workers.tasks)]


def verbs(tables: JobTables) -> list[type[BaseCommand]]:
    if tables.status is None:
        return []
    possible = (BATCH if tables.steps else POSSIBLE)[tables.status]
    return [kind for verb, kind in VERBS.items() if verb in possible]


def stands(tables: JobTables) -> bool:
    """Whether a job is at rest and has effects that can be undone."""
    return UndoJob in verbs(tables) and any(record.effects for record in tables.records)


def batch_stands(tables: JobTables) -> bool:
    return bool(tables.steps) and UndoJob in verbs(tables)


def listens(tables: JobTables) -> bool:
    """Whether a job waits for the ends of others, or is a batch."""
    return bool(tables.steps or tables.awaits)


def _is_about(command: Command, tables: JobTables) -> bool:
    return command.job_id == tables.job_id and command.command_id in tables.decisions


def at_rest(tables: JobTables) -> bool:
    """Whether a job, and a batch with all its jobs, does nothing more by itself."""
    if tables.status is None:
        return tables.options.plan is not None and any(tables.decisions.values())
    return tables.status.terminal and not tables.moved


def _goes_on(tables: JobTables) -> bool:
    """Whether no caller need do anything for a job to come to rest."""
    return at_rest(tables) or _sealed(tables) or tables.status is JobStatus.CANCELLING


def _sealed(tables: JobTables) -> bool:
    sealing = (
        "job.submitted",
        "job.sealed",
        "job.cancelled",
        "job.stopped",
        "job.rejected",
        "job.skipped",
        "job.steps_submitted",
    )
    return any(event.topic in sealing for event in tables.events)


def taken(queue: list[_T]) -> list[_T]:
    """All that is in a queue, which is empty then."""
    found = queue[:]
    queue.clear()
    return found
