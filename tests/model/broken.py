"""Coordinators and workers that break one rule of ``docs/state-machine.md`` each.

``python -m tests.model.broken`` lets the model loose on them and prints, for each, whether it
was found out.
"""

from __future__ import annotations

import argparse
import json
import time

from domain.commands import Command, Selection, UndoSelection
from domain.compensation import Tried
from domain.dependencies import Ends
from domain.events import Cause, JobEvent, JobStatus
from domain.job import Job
from domain.options import After
from domain.outcomes import ItemStatus
from domain.ranges import Ranges
from domain.reversal import Part
from tests.model.archivist import Archivist
from tests.model.broken_limits import (
    GivesNothingBack,
    GivesUpAtOnce,
    SharesNothing,
    TakesNoTokens,
    WaitsForEver,
)
from tests.model.coordinator import Coordinator
from tests.model.deciding import Changes
from tests.model.keeping import KeptMachine
from tests.model.machine import EngineMachine
from tests.model.outside import Compensators
from tests.model.running import run
from tests.model.selecting import SelectingMachine
from tests.model.tables import ChunkRow, Control, JobTables, Ledger, OutcomeRow, Record
from tests.model.worker import Claim, Task, Workers

Broken = type[Coordinator] | type[Compensators] | type[Archivist]
A_TRY = 600
"""Steps from one seed. How many are asked for is a part of what hypothesis draws from a seed."""
TRIES = 100
"""After so many a fault counts as not found."""
SOON = 1.2
"""Seconds of the processor after which no better seed need be looked for."""


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


class IgnoresTheEpoch(Compensators):
    """Rule 6: looks at the attempt only."""

    def _holds(self, tables: JobTables, claim: Claim) -> bool:
        return tables.chunks[claim.chunk].attempt == claim.attempt and (
            claim.chunk not in tables.outcomes or not tables.chunks[claim.chunk].open
        )


class IgnoresOutcomes(Compensators):
    """Rule 6: takes effect although the chunk has an outcome."""

    def _holds(self, tables: JobTables, claim: Claim) -> bool:
        row = tables.chunks[claim.chunk]
        return (tables.control.epoch, row.attempt) == (claim.epoch, claim.attempt) and row.open


class UndoesOutOfTurn(Compensators):
    """Rule 11: works an undo although one before it waits."""

    def _in_turn(self, tables: JobTables, claims: list[Claim]) -> list[Claim]:
        return claims


class LetsUndosPass(Compensators):
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


class ForgetsAnItem(Compensators):
    """Rule 7: an undo does not speak of all items that stand."""

    def _to_put_back(self, tables: JobTables, row: ChunkRow) -> Ranges:
        _, rest = tables.to_put_back(row).take(1)
        return rest


class PutsBackTwice(Compensators):
    """Rule 7: an undo puts back all that its target has said, whatever was said since."""

    def _to_put_back(self, tables: JobTables, row: ChunkRow) -> Ranges:
        assert row.target is not None
        said = tables.outcomes[row.target].ledger
        return Ranges.of(position for position, status in said.items() if status is not None)


class CommitsInPart(Compensators):
    """Rule 16: commits what is good of an atomic job, and leaves out the rest."""

    def _commit(self, tables: JobTables, row: ChunkRow) -> OutcomeRow:
        return self._apply(tables, row)


class PreparesForGood(Compensators):
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


class WritesOverChanges(Compensators):
    """Rules 16 and 20: does not look whether a record is as it was seen."""

    def _is_changed(self, tables: JobTables, position: int) -> bool:
        return False


class PutsBackMore(Coordinator):
    """Rule 7: puts back all of a chunk that wrote to a record that an undo names."""

    def _parts(self, tables: JobTables, job: Job, select: UndoSelection) -> tuple[Part, ...]:
        if not select.records:
            return super()._parts(tables, job, select)
        parts = super()._parts(tables, job, select)
        rollback = job.undo_direction is Cause.ROLLBACK
        status = ItemStatus.SUCCEEDED if rollback else ItemStatus.ROLLED_BACK
        stand = ((part.target, tables.standing(part.target, status)) for part in parts)
        return tuple(Part(target=target, items=items) for target, items in stand)


class DoesAllAgain(Coordinator):
    """Works whatever has failed again when a retry names an error."""

    def _failed_like(self, tables: JobTables, failed: Ranges, select: Selection) -> Ranges:
        return failed


class LeavesItOutside(Compensators):
    """Rule 21: puts back the record of an item although what it did outside stands."""

    def _put_back(self, tables: JobTables, row: ChunkRow) -> OutcomeRow:
        return Workers._put_back(self, tables, row)


class AsksAgain(Compensators):
    """Rule 21: forgets what was taken back before it took the chunk over."""

    def _remembered(self, tables: JobTables) -> dict[int, Tried]:
        return {}


class AsksForwards(Compensators):
    """Rule 21: takes back what was done first before what was done last."""

    def _next(self, left: list[int]) -> int:
        return min(left)


class ClearsTooSoon(Archivist):
    """Rule 22: clears what a file has before the job says so."""

    def _may_clear(self, tables: JobTables) -> bool:
        return True


class PutsAwayUnheard(Coordinator):
    """Rule 17: puts a batch away without having heard how its jobs are."""

    def _hear_first(self, batch: Job, command: Command) -> None:
        return


class LooksAgain(Coordinator):
    """Rule 23: takes the versions of records when it begins, and not those that were found."""

    def _selected(self, tables: JobTables, manifest: str) -> list[Record]:
        records = super()._selected(tables, manifest)
        tables.seen = {n: record.version for n, record in enumerate(records)}
        return records


BROKEN: dict[Broken, int] = {
    ForgetsToDiscard: 7,
    TrustsItsMemory: 0,
    LosesSlowResults: 305,
    KeepsTheEpoch: 0,
    LeavesJobsIdle: 7,
    NeverRevives: 104,
    UsesChunkIdsAgain: 0,
    IgnoresTheEpoch: 7,
    IgnoresOutcomes: 300,
    UndoesOutOfTurn: 0,
    LetsUndosPass: 308,
    LeavesUndosOpen: 3,
    RunsOnOverItsLimit: 321,
    ForgetsTheTimer: 319,
    FiresOnce: 114,
    ForgetsAnItem: 0,
    PutsBackTwice: 0,
    CommitsInPart: 29,
    PreparesForGood: 0,
    StartsTooEarly: 0,
    ForgetsWhoWaits: 2,
    PausesInPart: 2,
    UndoesStepsAtOnce: 0,
    DoesStepsAgain: 3,
    MovesInSilence: 2,
    HasAllTheTime: 1,
    AppliesStalePlans: 1,
    WritesOverChanges: 4,
    PutsBackMore: 0,
    DoesAllAgain: 2,
    LeavesItOutside: 10,
    AsksAgain: 3,
    AsksForwards: 300,
    ClearsTooSoon: 307,
    PutsAwayUnheard: 300,
    LooksAgain: 303,
    SharesNothing: 1,
    GivesNothingBack: 0,
    TakesNoTokens: 0,
    WaitsForEver: 2,
    GivesUpAtOnce: 2,
}
"""With a seed that finds the fault soon; any other does in the end."""


def part_of(broken: Broken) -> str:
    """What of the machine it takes the place of."""
    if issubclass(broken, Archivist):
        return "archives"
    return "coordinator" if issubclass(broken, Coordinator) else "worker"


def machine_of(broken: Broken) -> type[EngineMachine]:
    """What draws the least beside that in which a rule is broken, and so finds it sooner."""
    if broken is LooksAgain:
        return SelectingMachine
    keeping = issubclass(broken, Archivist) or broken is PutsAwayUnheard
    return KeptMachine if keeping else EngineMachine


def is_found(broken: Broken, seed: int, tries: int = TRIES) -> bool:
    """Whether the model finds out who breaks a rule, from that seed or one of the next."""
    return any(_falls(broken, number) for number in range(seed, seed + tries))


def _falls(broken: Broken, seed: int) -> bool:
    whole = machine_of(broken)
    machine = type(whole.__name__, (whole,), {part_of(broken): broken})
    try:
        run(A_TRY, seed, machines=(machine,), shrink=False)
    except (AssertionError, RuntimeError):
        return True
    return False


def soonest(broken: Broken, seeds: range) -> tuple[float, int]:
    """After how many seconds of the processor it is found, and from which of those seeds."""
    found = [(float("inf"), -1)]
    for seed in seeds:
        begun = time.process_time()
        if is_found(broken, seed, tries=1):
            found.append((time.process_time() - begun, seed))
        if min(found)[0] < SOON:
            break
    return min(found)


def main() -> None:
    """Print who is found out; or look for seeds anew, when the model draws otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.model.broken", description=__doc__)
    parser.add_argument("--seeds", type=int, help="look among so many for better ones")
    parser.add_argument("--first", type=int, default=0, help="from this one on")
    parser.add_argument("names", nargs="*", help="only of these classes")
    asked = parser.parse_args()
    wanted = {k: seed for k, seed in BROKEN.items() if k.__name__ in (asked.names or k.__name__)}
    if asked.seeds is None:
        print(json.dumps({kind.__name__: is_found(kind, seed) for kind, seed in wanted.items()}))
        return
    for kind in wanted:
        seconds, seed = soonest(kind, range(asked.first, asked.first + asked.seeds))
        print(f"{kind.__name__}: {seed},  # {seconds:.2f} s", flush=True)


if __name__ == "__main__":
    main()
