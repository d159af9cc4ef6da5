"""What callers of the model may do: ask for jobs and batches, steer them, and repeat themselves."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from domain.buckets import SharedLimit
from domain.commands import (
    AdjustJob,
    AppendItems,
    BaseCommand,
    BatchUndo,
    CancelJob,
    EditItems,
    RetryJob,
    SealJob,
    Selection,
    UndoJob,
    UndoSelection,
)
from domain.options import After, Plan
from domain.steps import child_id
from domain.verbs import APPLICABLE
from tests.model.acting import (
    ENDED,
    VERBS,
    Acting,
    batch_stands,
    listens,
    stands,
    taken,
    verbs,
)
from tests.model.kinds import (
    BEGIN,
    Drawn,
    Kind,
    adjustments,
    batches,
    calm_jobs,
    chains,
    edits,
    endings,
    following,
    follows,
    jobs,
    limited,
    parts,
    rehearsals,
    selections,
    sizes,
    upload,
)
from tests.model.tables import JobTables

pick = st.integers(0, 11)
"""Which of several; taken modulo their number."""
coin = st.booleans()
seldom = st.sampled_from((False, False, False, True))


class Callers(Acting):
    """Callers at their desks."""

    # -- new jobs -------------------------------------------------------------------------

    @initialize(kind=st.one_of(jobs, jobs, jobs, jobs, batches()))
    def first_job(self, kind: Kind | list[Drawn]) -> None:
        """There is always one."""
        if isinstance(kind, Kind):
            self._submit(kind)
        else:
            self._submit_batch(kind)

    @initialize(changes=st.lists(limited, max_size=2))
    def first_limits(self, changes: list[tuple[str, SharedLimit]]) -> None:
        """Mostly something is limited."""
        for change in changes:
            self._limit(*change)

    @precondition(lambda self: self._has_room())
    @rule(kind=jobs)
    def submit(self, kind: Kind) -> None:
        """One more, at the same time."""
        self._submit(kind)

    @precondition(lambda self: self._has_room())
    @rule(kind=jobs, after=follows, first=st.none() | calm_jobs)
    def submit_behind(self, kind: Kind, after: list[Any], first: Kind | None) -> None:
        """One more, which comes after others; behind the ``first`` it is not told of its end."""
        if first is not None:
            job = self._submit(first)
            self._deliver(room=0)
            there = [job.job_id]
        else:
            there = [tables.job_id for tables in self.store.jobs.values() if tables.events]
        named = {there[which % len(there)]: (end, fed) for which, end, fed in after if there}
        told = tuple(
            After(job_id=job_id, end=end, consume={"id": "id"} if fed else {})
            for job_id, (end, fed) in named.items()
        )
        tables = self._submit(following(kind, told) if told else kind)
        if first is not None:
            self._in_silence(6, room=3)
            self.coordinators[1].sweep(room=2)
            ended = all(self.store.jobs[each.job_id].status in ENDED for each in tables.awaits)
            waits = tables.awaits and ended and not tables.fed
            assert not waits, "nobody has looked at a job that need not wait any more"

    @precondition(lambda self: self._has_room())
    @rule(steps=batches())
    def submit_batch(self, steps: list[Drawn]) -> None:
        """Jobs as one, with an order."""
        self._submit_batch(steps)

    @precondition(lambda self: self._has_room())
    @rule(kind=rehearsals, before=seldom, after=coin, position=pick)
    def plan_and_apply(self, kind: Kind, before: bool, after: bool, position: int) -> None:
        """What a dry run has found is to be done, and nothing else.

        An actor changes a record ``before`` that is decided, or ``after`` that.
        """
        dry = self._submit(kind)
        self._flow(8, room=4)
        if dry.status not in APPLICABLE:
            return
        if before:
            self._edit(dry, position)
        told = {"dry_run": False, "plan": Plan(job_id=dry.job_id, digest="0" * 64)}
        options = kind.options.model_copy(update=told)
        tables = self._submit(replace(kind, options=options))
        self._deliver(room=2)
        self.order.check()
        if after and tables.records:
            self._edit(tables, position)
        self._flow(2, room=2)

    @precondition(lambda self: self.store.jobs)
    @rule(which=pick, items=sizes, part=st.integers(0, 3))
    def append(self, which: int, items: int, part: int) -> None:
        """One more part, or one that was sent before, under another command id."""
        job_id = self._job(which).job_id
        self._ask(AppendItems, job_id, part=part, source=upload(items))

    @precondition(lambda self: self.store.jobs)
    @rule(which=pick, changes=edits)
    def edit_draft(self, which: int, changes: dict[str, Any]) -> None:
        """Items of a draft are not to be worked, or are others."""
        self._ask(EditItems, self._job(which).job_id, **changes)

    @precondition(lambda self: self.store.jobs)
    @rule(which=pick)
    def seal(self, which: int) -> None:
        """The draft is complete."""
        self._ask(SealJob, self._job(which).job_id)

    # -- steering -------------------------------------------------------------------------

    @precondition(lambda self: self.store.jobs)
    @rule(which=pick, verb=st.sampled_from(list(VERBS.values())))
    def ask(self, which: int, verb: type[BaseCommand]) -> None:
        """A verb, possible or not."""
        self._ask(verb, self._job(which).job_id)

    @precondition(lambda self: any(RetryJob in verbs(t) for t in self.store.jobs.values()))
    @rule(which=pick, select=selections, calm=st.sampled_from((0, 2, 10)))
    def retry_some(self, which: int, select: Selection, calm: int) -> None:
        """Some items of a job that has ended are to be worked again."""
        able = [tables for tables in self.store.jobs.values() if RetryJob in verbs(tables)]
        self._ask(RetryJob, able[which % len(able)].job_id, select=select)
        self._flow(calm, room=2)

    @precondition(lambda self: self.store.jobs)
    @rule(which=pick, wanted=adjustments, calm=st.sampled_from((0, 0, 2)))
    def adjust(self, which: int, wanted: dict[str, Any], calm: int) -> None:
        """Other caps, another priority, possible or not."""
        self._ask(AdjustJob, self._job(which).job_id, **wanted)
        self._flow(calm, room=2)

    @rule(change=limited, calm=st.sampled_from((0, 2, 10)))
    def limit(self, change: tuple[str, SharedLimit], calm: int) -> None:
        """An operator limits what jobs share, and those that draw from it are told."""
        self._limit(*change)
        self._flow(calm, room=3)

    def _limit(self, name: str, wanted: SharedLimit) -> None:
        row, now = self.store.shared[name], BEGIN + timedelta(seconds=self.store.now)
        row.change(wanted, now)
        self.store.limited.append((len(self.store.commits), now, name, row.caps))
        for tables in self.store.jobs.values():
            if name in tables.draws and tables.control.open:
                self.coordinators[0].hint(tables.job_id)

    @precondition(lambda self: any(map(verbs, self.store.jobs.values())))
    @rule(which=pick, verb=pick, calm=st.sampled_from((0, 0, 2, 10)), end=endings)
    def ask_what_is_possible(self, which: int, verb: int, calm: int, end: dict[str, bool]) -> None:
        """A verb that the job's stored status allows; it may not when the command is decided."""
        able = [tables for tables in self.store.jobs.values() if verbs(tables)]
        tables = able[which % len(able)]
        possible = verbs(tables)
        asked = possible[verb % len(possible)]
        self._ask(asked, tables.job_id, **(end if asked is CancelJob else {}))
        self._flow(calm, room=2)

    @precondition(lambda self: any(map(stands, self.store.jobs.values())))
    @rule(which=pick, room=st.integers(2, 4), silent=coin, select=parts, force=seldom)
    def begin_an_undo(
        self, which: int, room: int, silent: bool, select: UndoSelection, force: bool
    ) -> None:
        """A job is undone, or a part of it: the first undo chunks are claimed, and then anything.

        ``silent``: the worker stalls, and the sweep finds the first of its chunks.
        """
        able = [tables for tables in self.store.jobs.values() if stands(tables)]
        self._ask(UndoJob, able[which % len(able)].job_id, select=select, force=force)
        self._deliver(room)
        before = len(self.workers.tasks)
        for work in taken(self.store.work):
            self.workers.claim(work)
        if silent and len(self.workers.tasks) > before:
            self._stall(self.workers.tasks[before], found=1)

    @precondition(lambda self: any(batch_stands(t) for t in self.store.jobs.values()))
    @rule(which=pick, part=pick, force=seldom, also=st.none() | pick)
    def undo_batch(self, which: int, part: int, force: bool, also: int | None) -> None:
        """A batch is undone: all of it, what is behind a savepoint, or a branch."""
        able = [tables for tables in self.store.jobs.values() if batch_stands(tables)]
        self._undo_batch(able[which % len(able)], part, force=force, also=also)

    @precondition(lambda self: self._has_room())
    @rule(steps=chains, part=st.sampled_from((0, 0, 2, 5)), also=st.none() | pick | pick)
    def there_and_back(self, steps: list[Drawn], part: int, also: int | None) -> None:
        """A batch goes well, and begins to be undone."""
        batch = self._submit_batch(steps)
        self._flow(12, room=4)
        if batch_stands(batch):
            self._undo_batch(batch, part, force=False, also=also)

    def _undo_batch(self, batch: JobTables, part: int, *, force: bool, also: int | None) -> None:
        """``also``: meanwhile somebody undoes one of its jobs, and the batch is not told."""
        ways = [BatchUndo(), BatchUndo()]
        ways += [BatchUndo(branch=step.name) for step in batch.steps]
        ways += [BatchUndo(to=step.savepoint) for step in batch.steps if step.savepoint]
        self._ask(UndoJob, batch.job_id, batch=ways[part % len(ways)], force=force)
        self._deliver(room=1)
        if also is None:
            return
        # Not the last one, which is being put back already.
        self._ask(UndoJob, child_id(batch.job_id, also % (len(batch.steps) - 1)))
        self._in_silence(5, room=2)

    @precondition(lambda self: any(map(listens, self.store.jobs.values())))
    @rule(rounds=st.sampled_from((2, 5)), room=st.integers(1, 4))
    def nobody_is_told(self, rounds: int, room: int) -> None:
        """Work goes on, and messages are lost to those that wait for others."""
        self._in_silence(rounds, room)

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
