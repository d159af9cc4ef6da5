"""What items have done outside of the database, and how an undo takes it back: rule 21.

The outside takes back once what it is asked with one key, however often it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping

from domain.compensation import Stage, Tried, attempts_before
from domain.outcomes import Conflicted, Failed, ItemStatus, Restored, UndoResult
from tests.model.kinds import PATIENCE
from tests.model.tables import ChunkRow, Image, JobTables, Ledger, OutcomeRow
from tests.model.worker import Claim, Task, WorkerDiedError, Workers, outcome, restore


class Compensators(Workers):
    """Workers whose undo chunks may have something to take back outside, one by one."""

    def progress(self, task: Task, *, hint: bool) -> None:
        """The next call, the note of what became of it, or the end of the chunk."""
        tables = self._store.jobs[task.job_id]
        row = tables.chunks[task.claims[0].chunk]
        if not (tables.outside and row.cause.undoing):
            super().progress(task, hint=hint)
            return
        # The others have not been claimed: each is worked by itself.
        try:
            settled = self._step(tables, task, row)
        except WorkerDiedError:
            self.tasks.remove(task)
            return
        if settled:
            self.tasks.remove(task)
            if hint:
                self._hint(task.job_id)

    def _in_turn(self, tables: JobTables, claims: list[Claim]) -> list[Claim]:
        claims = super()._in_turn(tables, claims)
        undoing = any(tables.chunks[claim.chunk].cause.undoing for claim in claims)
        return claims[:1] if tables.outside and undoing else claims

    def _step(self, tables: JobTables, task: Task, row: ChunkRow) -> bool:
        """One transaction or one call; true when the task has nothing more to do."""
        claim = task.claims[0]
        if task.known is None:
            if not self._holds(tables, claim):
                return True
            task.known = self._remembered(tables)
        if task.tried is not None:
            tried, task.tried = task.tried, None
            task.known[tried.position] = tried
            return not self._noted(tables, claim, tried)
        left = [p for p in self._to_put_back(tables, row) if not _of(task.known, p, tables)]
        if left:
            # Nobody looks at the fence before: who lost the chunk may ask once more.
            mine = self._holds(tables, claim)
            task.tried = self._call(tables, row, self._next(left), task.known, mine=mine)
            return False
        if self._holds(tables, claim):
            tables.settle(row.chunk, self._put_back(tables, row))
        return True

    def _next(self, left: list[int]) -> int:
        """The last item that is still to be asked for."""
        return max(left)

    def _remembered(self, tables: JobTables) -> dict[int, Tried]:
        """What earlier calls have led to, whoever made them."""
        return dict(tables.tried)

    def _call(
        self,
        tables: JobTables,
        row: ChunkRow,
        position: int,
        known: Mapping[int, Tried],
        *,
        mine: bool,
    ) -> Tried:
        """Ask outside, unless what is in the way of the record shows that it is in vain."""
        before, generation = known.get(position), tables.generation
        attempts = attempts_before(before, generation)
        assert row.target is not None
        image = tables.outcomes[row.target].images.get(position)
        record = tables.records[position]
        if image is not None and record.version != image.left and not tables.forced:
            gone = Conflicted("record", "somebody", "it has changed")
            return Tried(position, generation, attempts, gone)
        nature = tables.nature(position)
        if nature == "u":
            raise WorkerDiedError
        if mine:
            tables.ask_outside(row.target, position)
        if nature == "b" and not self._store.mended:
            ended = attempts + 1 >= PATIENCE
            bad = Failed("away", "nobody answers", retryable=True)
            return Tried(position, generation, attempts + 1, bad, ended)
        record.outside = 0
        return Tried(position, generation, attempts + 1, Restored())

    def _noted(self, tables: JobTables, claim: Claim, tried: Tried) -> bool:
        """Under the fence; false when somebody else has the chunk by now."""
        if not self._holds(tables, claim):
            return False
        self._note(tables, tried)
        return True

    def _note(self, tables: JobTables, tried: Tried) -> None:
        known = tables.tried.get(tried.position)
        done = known is not None and known.stage is Stage.DONE
        assert not done or tried.stage is Stage.DONE, "what is taken back is not any more"
        tables.tried[tried.position] = tried

    def _put_back(self, tables: JobTables, row: ChunkRow) -> OutcomeRow:
        if not tables.outside:
            return super()._put_back(tables, row)
        assert row.target is not None
        before = tables.outcomes[row.target].images
        ledger: Ledger = {}
        images: dict[int, Image] = {}
        for position in self._to_put_back(tables, row):
            known = _of(tables.tried, position, tables)
            if isinstance(known, Conflicted):
                ledger[position] = ItemStatus.CONFLICT
            elif isinstance(known, Restored):
                ledger[position] = restore(tables, row, position, before.get(position), images)
            else:
                ledger[position] = None
        return outcome(self._store, row, ledger, images=images)


def _of(known: Mapping[int, Tried], position: int, tables: JobTables) -> UndoResult | None:
    """What need not be asked for again."""
    tried = known.get(position)
    return None if tried is None else tried.of(tables.generation)
