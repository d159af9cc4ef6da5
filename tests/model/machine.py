"""The model as a hypothesis state machine: what callers, processes, the bus and chance may do."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from domain.commands import (
    COMMAND,
    AdjustJob,
    AppendItems,
    ApproveJob,
    ArchiveJob,
    BaseCommand,
    CancelJob,
    Command,
    EditItems,
    HoldJob,
    JobSpec,
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
)
from domain.events import JobStatus
from domain.options import Start
from domain.outcomes import ItemStatus
from domain.verbs import POSSIBLE, Verb
from tests.model.coordinator import BEGIN, Coordinator, Crash, load
from tests.model.kinds import Kind, adjustments, endings, jobs, parts, selections, sizes, upload
from tests.model.oracle import Oracle, fold
from tests.model.tables import JobTables, Store, Work
from tests.model.worker import Task, Workers
from tests.unit.domain.drawing import Edge

_T = TypeVar("_T")
MAX_JOBS = 3
VERBS: dict[Verb, type[BaseCommand]] = {
    "pause": PauseJob,
    "resume": ResumeJob,
    "cancel": CancelJob,
    "retry": RetryJob,
    "undo": UndoJob,
    "approve": ApproveJob,
    "reject": RejectJob,
}

KEEPS: tuple[type[BaseCommand], ...] = (
    HoldJob,
    ReleaseJob,
    HoldJob,
    ReleaseJob,
    ShredJob,
    ArchiveJob,
)
"""What is said of the keeping of a job; the last ones, for good, are rarer."""

pick = st.integers(0, 11)
"""Which of several; taken modulo their number."""
coin = st.booleans()
rooms = st.integers(0, 4)
fates = st.sampled_from((None, None, None, None, Crash.BEFORE_COMMIT, Crash.AFTER_COMMIT))


@dataclass(slots=True)
class Tally:
    """What the runs have seen, over all of them."""

    steps: int = 0
    runs: int = 0
    drained: int = 0
    edges: Counter[Edge] = field(default_factory=Counter)
    closings: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    items: Counter[str] = field(default_factory=Counter)


class EngineMachine(RuleBasedStateMachine):
    """Jobs of callers among processes that fail."""

    tally: ClassVar[Tally] = Tally()
    coordinator: ClassVar[type[Coordinator]] = Coordinator
    worker: ClassVar[type[Workers]] = Workers

    def __init__(self) -> None:
        super().__init__()
        self.store = Store()
        self.coordinators = [self.coordinator(self.store), self.coordinator(self.store)]
        self.workers = self.worker(self.store)
        self.oracle = Oracle(self.tally.edges)
        self.asked: list[Command] = []
        self._begun = False
        self.tally.runs += 1

    # -- callers --------------------------------------------------------------------------

    @initialize(kind=jobs)
    def first_job(self, kind: Kind) -> None:
        """There is always one."""
        self._submit(kind)

    @precondition(lambda self: len(self.store.jobs) < MAX_JOBS)
    @rule(kind=jobs)
    def submit(self, kind: Kind) -> None:
        """One more, at the same time."""
        self._submit(kind)

    @precondition(lambda self: self.store.jobs)
    @rule(which=pick, items=sizes, part=st.integers(0, 3))
    def append(self, which: int, items: int, part: int) -> None:
        """One more part, or one that was sent before, under another command id."""
        job_id = self._job(which).job_id
        self._ask(AppendItems, job_id, part=part, source=upload(items))

    @precondition(lambda self: self.store.jobs)
    @rule(which=pick, position=st.integers(0, 6))
    def drop(self, which: int, position: int) -> None:
        """An item of a draft is not to be worked."""
        self._ask(EditItems, self._job(which).job_id, drop=(position,))

    @precondition(lambda self: self.store.jobs)
    @rule(which=pick)
    def seal(self, which: int) -> None:
        """The draft is complete."""
        self._ask(SealJob, self._job(which).job_id)

    @precondition(lambda self: self.store.jobs)
    @rule(which=pick, verb=st.sampled_from(list(VERBS.values())))
    def ask(self, which: int, verb: type[BaseCommand]) -> None:
        """A verb, possible or not."""
        self._ask(verb, self._job(which).job_id)

    @precondition(lambda self: any(RetryJob in _verbs(t) for t in self.store.jobs.values()))
    @rule(which=pick, select=selections, calm=st.sampled_from((0, 2, 10)))
    def retry_some(self, which: int, select: Selection, calm: int) -> None:
        """Some items of a job that has ended are to be worked again."""
        able = [tables for tables in self.store.jobs.values() if RetryJob in _verbs(tables)]
        self._ask(RetryJob, able[which % len(able)].job_id, select=select)
        self._flow(calm, room=2)

    @precondition(lambda self: self.store.jobs)
    @rule(which=pick, wanted=adjustments, calm=st.sampled_from((0, 0, 2)))
    def adjust(self, which: int, wanted: dict[str, Any], calm: int) -> None:
        """Other caps, another priority, possible or not."""
        self._ask(AdjustJob, self._job(which).job_id, **wanted)
        self._flow(calm, room=2)

    @precondition(lambda self: any(map(_verbs, self.store.jobs.values())))
    @rule(which=pick, verb=pick, calm=st.sampled_from((0, 0, 2, 10)), end=endings)
    def ask_what_is_possible(self, which: int, verb: int, calm: int, end: dict[str, bool]) -> None:
        """A verb that the job's stored status allows; it may not when the command is decided."""
        able = [tables for tables in self.store.jobs.values() if _verbs(tables)]
        tables = able[which % len(able)]
        verbs = _verbs(tables)
        asked = verbs[verb % len(verbs)]
        self._ask(asked, tables.job_id, **(end if asked is CancelJob else {}))
        self._flow(calm, room=2)

    @precondition(lambda self: any(map(_at_rest, self.store.jobs.values())))
    @rule(which=pick, kind=st.sampled_from(KEEPS))
    def keep(self, which: int, kind: type[BaseCommand]) -> None:
        """A job at rest is held, released, shredded or put away; or it has gone on by then."""
        able = [tables for tables in self.store.jobs.values() if _at_rest(tables)]
        self._ask(kind, able[which % len(able)].job_id, reason="the law")

    @precondition(lambda self: any(map(_stands, self.store.jobs.values())))
    @rule(which=pick, room=st.integers(2, 4), silent=coin, select=parts)
    def begin_an_undo(self, which: int, room: int, silent: bool, select: UndoSelection) -> None:
        """A job is undone, or a part of it: the first undo chunks are claimed, and then anything.

        ``silent``: the worker stalls, and the sweep finds the first of its chunks.
        """
        able = [tables for tables in self.store.jobs.values() if _stands(tables)]
        self._ask(UndoJob, able[which % len(able)].job_id, select=select)
        for message in _taken(self.store.commands):
            self.coordinators[0].handle(message, room=room)
        before = len(self.workers.tasks)
        for work in _taken(self.store.work):
            self.workers.claim(work)
        if silent and len(self.workers.tasks) > before:
            self._stall(self.workers.tasks[before], found=1)

    @precondition(lambda self: self.asked)
    @rule(which=st.integers(0, 40))
    def ask_again(self, which: int) -> None:
        """A caller that had no answer repeats the command, with its id."""
        self.store.send(self.asked[which % len(self.asked)])

    @precondition(lambda self: self.store.jobs)
    @rule(which=pick, positions=st.lists(pick, min_size=1, max_size=3), worked=coin)
    def edit(self, which: int, positions: list[int], worked: bool) -> None:
        """An actor changes records of the job by hand; ``worked``: such as it has changed."""
        records = [r for r in self._job(which).records if r.effects or not worked]
        for position in positions:
            if records:
                records[position % len(records)].edit(self.store.name("edit"))

    @rule()
    def mend(self) -> None:
        """What made some items fail is put right, or comes back."""
        self.store.mended = not self.store.mended

    # -- the coordinators ---------------------------------------------------------------------

    @precondition(lambda self: self.store.commands)
    @rule(which=pick, process=st.integers(0, 1), room=rooms, crash=fates, again=coin)
    def coordinate(
        self, which: int, process: int, room: int, crash: Crash | None, again: bool
    ) -> None:
        """A message of the commands topic, in any order; ``again``: it will come once more."""
        at = which % len(self.store.commands)
        message = self.store.commands[at]
        # A process that dies has not acknowledged.
        if not again and crash is None:
            del self.store.commands[at]
        self.coordinators[process].handle(message, room=room, crash=crash)

    @rule(process=st.integers(0, 1), room=rooms)
    def sweep(self, process: int, room: int) -> None:
        """Look for what was lost."""
        self.coordinators[process].sweep(room=room)

    @rule(process=st.integers(0, 1))
    def fire_timers(self, process: int) -> None:
        """Jobs that wait for a moment are told when it has come."""
        self.coordinators[process].fire()

    @precondition(lambda self: any(map(_tries_again, self.store.jobs.values())))
    @rule(process=st.integers(0, 1))
    def fire_in_vain(self, process: int) -> None:
        """Jobs come to wait for a moment; it comes, and what tells them of it is lost.

        Nothing else is under way that would tell them as well; before long they are told again.
        """
        for _ in range(12):
            waits = any(tables.timer is not None for tables in self.store.jobs.values())
            if waits and not self._busy():
                break
            self._round(room=2)
        said = len(self.store.commands)
        self.store.now += 6
        self.coordinators[process].fire()
        del self.store.commands[said:]
        late = self._late()
        self._flow(4, room=2)
        assert not late & self._late(), "nobody has told a job that its moment has come"

    @rule(process=st.integers(0, 1))
    def restart(self, process: int) -> None:
        """A coordinator dies between two messages."""
        self.coordinators[process].crash()

    @precondition(lambda self: any(c.live for c in self.coordinators))
    @rule(which=pick, process=st.integers(0, 1))
    def snapshot(self, which: int, process: int) -> None:
        """A coordinator, perhaps one that is behind, stores a snapshot."""
        stored = [job_id for job_id, job in self.coordinators[process].live.items() if job.version]
        if stored:
            self.coordinators[process].snapshot(stored[which % len(stored)])

    # -- the workers ----------------------------------------------------------------------------

    @precondition(lambda self: self.store.work)
    @rule(which=pick, again=coin)
    def claim(self, which: int, again: bool) -> None:
        """A work message, in any order, maybe late, maybe twice."""
        at = which % len(self.store.work)
        self.workers.claim(self.store.work[at] if again else self.store.work.pop(at))

    @precondition(lambda self: self.workers.tasks)
    @rule(which=pick, hint=coin)
    def progress(self, which: int, hint: bool) -> None:
        """The next transaction of a worker; without ``hint`` it dies right after."""
        self.workers.progress(self._task(which), hint=hint)

    @precondition(lambda self: self.workers.tasks)
    @rule(which=pick)
    def kill_worker(self, which: int) -> None:
        """A worker dies between two of its transactions."""
        self.workers.tasks.remove(self._task(which))

    @precondition(lambda self: self.workers.tasks)
    @rule(which=pick, found=st.sampled_from((0, 0, 1, 500)))
    def stall(self, which: int, found: int) -> None:
        """A worker is silent until its leases have run out, and its message comes again.

        Meanwhile a sweep may have found some of its chunks, or all.
        """
        self._stall(self._task(which), found)

    @precondition(lambda self: self.workers.tasks)
    @rule(which=pick)
    def heartbeat(self, which: int) -> None:
        """A worker prolongs its leases; those of the others may run out while they live."""
        self.workers.beat(self._task(which))

    @precondition(lambda self: self.workers.tasks)
    @rule(which=pick)
    def drain_worker(self, which: int) -> None:
        """A worker stops in an orderly way."""
        self.workers.hand_back(self._task(which))

    # -- the world --------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from((1, 6)))
    def wait(self, seconds: int) -> None:
        """Time goes by; after six seconds every lease that is not prolonged has run out."""
        self.store.now += seconds

    @precondition(lambda self: self.store.commands)
    @rule(which=pick)
    def lose_command(self, which: int) -> None:
        """A message of the commands topic is lost."""
        del self.store.commands[which % len(self.store.commands)]

    @precondition(lambda self: self.store.work)
    @rule(which=pick)
    def lose_work(self, which: int) -> None:
        """A message of the work topic is lost."""
        del self.store.work[which % len(self.store.work)]

    @rule(rounds=st.sampled_from((1, 3, 10, 30)), room=rooms)
    def flow(self, rounds: int, room: int) -> None:
        """For a while nothing goes wrong, except what the items themselves do."""
        self._flow(rounds, room)

    # -- checks -----------------------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        """All invariants of all jobs; also counts the step."""
        self.tally.steps += self._begun
        self._begun = True
        for tables in self.store.jobs.values():
            live = [c.live[tables.job_id] for c in self.coordinators if tables.job_id in c.live]
            self.oracle.check(tables, live)

    def teardown(self) -> None:
        """Without faults from now on, every job comes to rest."""
        if sys.exc_info()[0] is not None:
            return  # a rule has failed already, and that is what is to be reported
        self._drain()
        self.holds()
        self.tally.steps -= 1
        self.tally.drained += len(self.store.jobs)
        for tables in self.store.jobs.values():
            self.tally.causes.update(row.cause.value for row in tables.chunks.values())
            rows = tables.outcomes.values()
            self.tally.closings.update(row.closed.closing.value for row in rows)
            self.tally.items.update(i.status.value for i in fold(tables, recorded=True))

    def _drain(self) -> None:
        rounds = 0
        while not all(_at_rest(tables) for tables in self.store.jobs.values()):
            items = sum(len(tables.records) for tables in self.store.jobs.values())
            if rounds > 60 + 36 * items:
                resting = {t.job_id: t.status for t in self.store.jobs.values()}
                raise AssertionError(f"a job does not come to rest: {resting}")
            self._round(room=2)
            self._callers_go_on()
            self.holds()
            self.tally.steps -= 1
            rounds += 1

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
                self._ask(ApproveJob, tables.job_id)
            elif not _at_rest(tables) and not _sealed(tables):
                left = any(i.status is ItemStatus.PENDING for i in fold(tables, recorded=True))
                self._ask(SealJob if left else CancelJob, tables.job_id)

    # -- small things -----------------------------------------------------------------------------

    def _flow(self, rounds: int, room: int) -> None:
        for _ in range(rounds):
            self._round(room)

    def _round(self, room: int) -> None:
        """Everything that waits happens once, in order; if nothing waits, time goes by."""
        busy = self._busy()
        for message in _taken(self.store.commands):
            self.coordinators[0].handle(message, room=room)
        for work in _taken(self.store.work):
            self.workers.claim(work)
        for task in list(self.workers.tasks):
            self.workers.beat(task)
            self.workers.progress(task, hint=True)
        if not busy:
            self.store.now += 6
            self.coordinators[0].fire()
            self.coordinators[1].sweep(room=room)

    def _late(self) -> set[tuple[str, datetime]]:
        """Jobs of which items have waited long enough, with the moment when that was."""
        now = BEGIN + timedelta(seconds=self.store.now)
        dues = {job_id: load(tables).next_due for job_id, tables in self.store.jobs.items()}
        return {(job_id, due) for job_id, due in dues.items() if due is not None and due <= now}

    def _busy(self) -> bool:
        return bool(self.store.commands or self.store.work or self.workers.tasks)

    def _stall(self, task: Task, found: int) -> None:
        epoch = task.claims[0].epoch
        chunks = tuple((claim.chunk, claim.attempt) for claim in task.claims)
        self.store.work.append(Work(task.job_id, epoch, chunks))
        self.store.now += 6
        if found:
            self.coordinators[1].sweep(room=0, limit=found)

    def _submit(self, kind: Kind) -> None:
        """A whole job, or a draft with its first part."""
        tables = self._new_job(kind)
        spec = JobSpec(operation="model.work", options=kind.options)
        if kind.draft or kind.options.start is Start.EAGER:
            self._ask(OpenJob, tables.job_id, spec=spec)
            self._ask(AppendItems, tables.job_id, part=0, source=upload(kind.items))
        else:
            self._ask(SubmitJob, tables.job_id, spec=spec, source=upload(kind.items))

    def _new_job(self, kind: Kind) -> JobTables:
        job_id = self.store.name("job")
        self.store.jobs[job_id] = JobTables(job_id, kind.does, kind.slow, kind.grave, kind.options)
        return self.store.jobs[job_id]

    def _ask(self, kind: type[BaseCommand], job_id: str, **fields: object) -> None:
        name = self.store.name("command")
        # Whoever approves is somebody else, as far as it is meant to go well.
        actor = "bob" if kind in (ApproveJob, RejectJob) and len(self.asked) % 8 else "ann"
        common = {"command_id": name, "job_id": job_id, "tenant": "local", "actor": actor}
        command = COMMAND.validate_python(kind.model_validate(common | fields))
        self.asked.append(command)
        self.store.send(command)

    def _job(self, which: int) -> JobTables:
        jobs = list(self.store.jobs.values())
        return jobs[which % len(jobs)]

    def _task(self, which: int) -> Task:
        return self.workers.tasks[which % len(self.workers.tasks)]


def _verbs(tables: JobTables) -> list[type[BaseCommand]]:
    possible = POSSIBLE[tables.status] if tables.status else frozenset()
    return [kind for verb, kind in VERBS.items() if verb in possible]


def _stands(tables: JobTables) -> bool:
    """Whether a job is at rest and has effects that can be undone."""
    return UndoJob in _verbs(tables) and any(record.effects for record in tables.records)


def _tries_again(tables: JobTables) -> bool:
    """Whether items of a job that may fail are tried again by itself."""
    running = tables.status in (JobStatus.PENDING, JobStatus.RUNNING)
    return running and tables.options.retry is not None


def _at_rest(tables: JobTables) -> bool:
    return tables.status is not None and tables.status.terminal


def _sealed(tables: JobTables) -> bool:
    sealing = ("job.submitted", "job.sealed", "job.cancelled", "job.stopped", "job.rejected")
    return any(event.topic in sealing for event in tables.events)


def _taken(queue: list[_T]) -> list[_T]:
    taken = queue[:]
    queue.clear()
    return taken
