"""Batches above all: what the jobs of one do to one another, and callers to each of them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from domain.commands import CancelJob, UndoJob
from tests.model.acting import ENDED, verbs
from tests.model.callers import coin, pick
from tests.model.kinds import batches, endings
from tests.model.machine import EngineMachine
from tests.model.tables import JobTables


class BatchingMachine(EngineMachine):
    """The same engine, asked for batches and hardly for anything else."""

    @initialize(steps=batches())
    def first_job(self, steps: list[Any]) -> None:
        """There is always a batch."""
        self._submit_batch(steps)

    @precondition(lambda self: self._has_room())
    @rule(steps=batches())
    def another_batch(self, steps: list[Any]) -> None:
        """One more, as often as a job by itself."""
        self._submit_batch(steps)

    @precondition(lambda self: any(map(verbs, self._batches())))
    @rule(which=pick, verb=pick, calm=st.sampled_from((0, 2, 10)), end=endings)
    def ask_a_batch(self, which: int, verb: int, calm: int, end: dict[str, bool]) -> None:
        """A verb that a batch allows."""
        self._ask_one(self._batches(), which, verb, end)
        self._flow(calm, room=2)

    @precondition(lambda self: any(map(verbs, self._children())))
    @rule(which=pick, verb=pick, calm=st.sampled_from((0, 2, 10)), end=endings, silent=coin)
    def ask_a_child(
        self, which: int, verb: int, calm: int, end: dict[str, bool], silent: bool
    ) -> None:
        """A verb that a job of a batch allows; ``silent``: the batch hears of its end alone."""
        self._ask_one(self._children(), which, verb, end)
        if silent:
            self._in_silence(8, room=3)
            self.coordinators[1].sweep(room=2)
        self._flow(calm, room=2)

    @precondition(lambda self: self._ended())
    @rule(which=pick, times=st.integers(1, 2), sweeps=coin)
    def undo_each_child(self, which: int, times: int, sweeps: bool) -> None:
        """Each job of a batch is undone by itself, maybe twice; the batch hears at the end."""
        ended = self._ended()
        batch = ended[which % len(ended)]
        for _ in range(times):
            for child in self._children():
                if child.parent == batch.job_id:
                    self._ask(UndoJob, child.job_id)
            self._in_silence(8, room=3)
        if sweeps:
            self.coordinators[1].sweep(room=2)
        self._flow(2, room=2)

    def _ask_one(self, among: list[JobTables], which: int, verb: int, end: dict[str, bool]) -> None:
        able = [tables for tables in among if verbs(tables)]
        tables = able[which % len(able)]
        possible = verbs(tables)
        asked = possible[verb % len(possible)]
        self._ask(asked, tables.job_id, **(end if asked is CancelJob else {}))

    def _batches(self) -> list[JobTables]:
        return [tables for tables in self.store.jobs.values() if tables.steps]

    def _children(self) -> list[JobTables]:
        return [tables for tables in self.store.jobs.values() if tables.parent]

    def _ended(self) -> list[JobTables]:
        return [batch for batch in self._batches() if batch.status in ENDED]
