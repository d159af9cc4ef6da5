"""Coordinators and workers that break one rule of ``docs/state-machine.md`` each.

``python -m tests.model.broken`` lets the model loose on them and prints, for each, whether it
was found out.
"""

from __future__ import annotations

import json

from domain.commands import Command
from domain.dependencies import Ends
from domain.events import JobEvent, JobStatus
from domain.job import Job
from domain.options import After
from domain.ranges import Ranges
from tests.model.coordinator import Coordinator
from tests.model.deciding import Changes
from tests.model.machine import EngineMachine
from tests.model.running import run
from tests.model.tables import ChunkRow, Control, JobTables, Ledger, OutcomeRow
from tests.model.worker import Claim, Task, Workers

ENOUGH = 60_000
"""Steps after which a fault counts as not found."""


class ForgetsToDiscard(Coordinator):
    """Rule 1: keeps its live aggregates when a transaction did not commit."""

    def crash(self) -> None:
        self._sent.clear()


class TrustsItsMemory(Coordinator):
    """Rule 2: does not ask whether its live aggregate is behind."""

    def _current(self, tables: JobTables) -> Job:
        return self.live.get(tables.job_id) or super()._current(tables)


class LosesSlowResults(Coordinator):
    """Rule 8: returns all items of a chunk that is revoked or dies."""

    def _results(self, tables: JobTables, chunk: int) -> Ledger:
        return {}


class KeepsTheEpoch(Coordinator):
    """Rule 8: does not raise the fence."""

    def _commit(self, tables: JobTables, job: Job, changes: Changes, command: Command) -> None:
        super()._commit(tables, job, changes, command)
        tables.control = Control(0, job.version, open=tables.control.open)


class LeavesJobsIdle(Coordinator):
    """Rule 9: the sweep looks at chunks only."""

    def _is_idle(self, tables: JobTables) -> bool:
        return False


class NeverRevives(Coordinator):
    """Rule 9: overdue chunks are left as they are."""

    def _revive(self, tables: JobTables, row: ChunkRow) -> None:
        return


class UsesChunkIdsAgain(Coordinator):
    """Rule 4: forgets which chunks there were."""

    def _append(self, tables: JobTables, event: JobEvent, changes: Changes) -> None:
        super()._append(tables, event, changes)
        self.live[tables.job_id].next_chunk = max(0, self.live[tables.job_id].next_chunk - 1)


class IgnoresTheEpoch(Workers):
    """Rule 6: looks at the attempt only."""

    def _holds(self, tables: JobTables, claim: Claim) -> bool:
        return tables.chunks[claim.chunk].attempt == claim.attempt and (
            claim.chunk not in tables.outcomes or not tables.chunks[claim.chunk].open
        )


class IgnoresOutcomes(Workers):
    """Rule 6: takes effect although the chunk has an outcome."""

    def _holds(self, tables: JobTables, claim: Claim) -> bool:
        row = tables.chunks[claim.chunk]
        return (tables.control.epoch, row.attempt) == (claim.epoch, claim.attempt) and row.open


class UndoesOutOfTurn(Workers):
    """Rule 11: works an undo although one before it waits."""

    def _in_turn(self, tables: JobTables, claims: list[Claim]) -> list[Claim]:
        return claims


class LetsUndosPass(Workers):
    """Rule 11: goes on with the others when an undo of its message was lost."""

    def _held(self, tables: JobTables, task: Task) -> list[Claim]:
        return [claim for claim in task.claims if self._holds(tables, claim)]


class LeavesUndosOpen(Coordinator):
    """Rule 10: cuts an undo that kills, and leaves those behind it where they are."""

    def _give_way(self, tables: JobTables, killer: ChunkRow) -> None:
        return


class RunsOnOverItsLimit(Coordinator):
    """Rule 12: lets what is open go on when a limit was hit."""

    def _heed_limits(self, tables: JobTables, job: Job, changes: Changes, command: Command) -> None:
        return


class ForgetsTheTimer(Coordinator):
    """Rule 13: waits for a moment of which nobody tells it."""

    def _keep_timer(self, tables: JobTables, job: Job) -> None:
        tables.timer = float("inf")


class FiresOnce(Coordinator):
    """Rule 13: drops a timer when it has sent it."""

    def fire(self) -> None:
        super().fire()
        for tables in self._store.jobs.values():
            if tables.timer is not None and tables.timer > self._store.now:
                tables.timer = tables.timer if tables.timer == tables.due else float("inf")


class ForgetsAnItem(Workers):
    """Rule 7: an undo does not speak of all items that stand."""

    def _to_put_back(self, tables: JobTables, row: ChunkRow) -> Ranges:
        _, rest = tables.to_put_back(row).take(1)
        return rest


class PutsBackTwice(Workers):
    """Rule 7: an undo puts back all that its target has said, whatever was said since."""

    def _to_put_back(self, tables: JobTables, row: ChunkRow) -> Ranges:
        assert row.target is not None
        said = tables.outcomes[row.target].ledger
        return Ranges.of(position for position, status in said.items() if status is not None)


class CommitsInPart(Workers):
    """Rule 16: commits what is good of an atomic job, and leaves out the rest."""

    def _commit(self, tables: JobTables, row: ChunkRow) -> OutcomeRow:
        return self._apply(tables, row)


class PreparesForGood(Workers):
    """Rule 16: does not take back what it has prepared."""

    def _prepare(self, tables: JobTables, row: ChunkRow) -> OutcomeRow:
        return self._apply(tables, row)


class StartsTooEarly(Coordinator):
    """Rule 15: takes a job that goes on for one that has ended well."""

    def _ends(self, awaited: tuple[After, ...]) -> Ends:
        going_on = {after.job_id: JobStatus.COMPLETED for after in awaited}
        return {**going_on, **super()._ends(awaited)}


class ForgetsWhoWaits(Coordinator):
    """Rule 15: the sweep does not look for those who wait for nothing any more."""

    def _may_follow(self, tables: JobTables) -> bool:
        return False


class PausesInPart(Coordinator):
    """Rule 17: asks only some jobs of a batch for what is asked of it."""

    def _ask_all(self, batch: Job, changes: Changes, command: Command, verb: str) -> None:
        self._ask(batch, 0, changes, command, verb)


class UndoesStepsAtOnce(Coordinator):
    """Rule 17: puts back a step although one after it stands."""

    def _next_to_undo(self, batch: Job) -> list[int]:
        return batch.undoing


class DoesStepsAgain(Coordinator):
    """Rule 17: asks a step for its undo that was put back already."""

    def _is_put_back(self, job: Job) -> bool:
        return True


class MovesInSilence(Coordinator):
    """Rule 17: does not say that a job of a batch has moved."""

    def _say_moved(self, tables: JobTables) -> None:
        return


class HasAllTheTime(Coordinator):
    """Rule 19: lets a run go on past its timeout."""

    def _heed_timeout(
        self, tables: JobTables, job: Job, changes: Changes, command: Command
    ) -> None:
        return


class AppliesStalePlans(Coordinator):
    """Rule 20: takes a plan although what it was made of has changed."""

    def _require_unchanged(self, tables: JobTables) -> None:
        return


class WritesOverChanges(Workers):
    """Rules 16 and 20: does not look whether a record is as it was seen."""

    def _is_changed(self, tables: JobTables, position: int) -> bool:
        return False


BROKEN: dict[type[Coordinator] | type[Workers], int] = {
    ForgetsToDiscard: 4,
    TrustsItsMemory: 0,
    LosesSlowResults: 1,
    KeepsTheEpoch: 0,
    LeavesJobsIdle: 3,
    NeverRevives: 5,
    UsesChunkIdsAgain: 0,
    IgnoresTheEpoch: 0,
    IgnoresOutcomes: 0,
    UndoesOutOfTurn: 2,
    LetsUndosPass: 4,
    LeavesUndosOpen: 5,
    RunsOnOverItsLimit: 8,
    ForgetsTheTimer: 8,
    FiresOnce: 13,
    ForgetsAnItem: 0,
    PutsBackTwice: 0,
    CommitsInPart: 4,
    PreparesForGood: 0,
    StartsTooEarly: 0,
    ForgetsWhoWaits: 8,
    PausesInPart: 4,
    UndoesStepsAtOnce: 0,
    DoesStepsAgain: 4,
    MovesInSilence: 0,
    HasAllTheTime: 1,
    AppliesStalePlans: 5,
    WritesOverChanges: 4,
}
"""With a seed that finds the fault soon; any other does in the end."""


def is_found(broken: type[Coordinator] | type[Workers], seed: int) -> bool:
    """Whether the model finds out who breaks a rule."""
    part = "coordinator" if issubclass(broken, Coordinator) else "worker"
    machine = type("EngineMachine", (EngineMachine,), {part: broken})
    try:
        run(ENOUGH, seed, machine=machine, shrink=False)
    except (AssertionError, RuntimeError):
        return True
    return False


if __name__ == "__main__":
    print(json.dumps({kind.__name__: is_found(kind, seed) for kind, seed in BROKEN.items()}))
