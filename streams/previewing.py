"""Previewing: what an undo of a job would do now, with nothing written.

Goes through the chunks in the order of the undo, a few in each transaction, and keeps counts
and one page of what would stay as it is; so a job of a million items takes no more memory
than one of a thousand. Others may write meanwhile: it is as true as anything that is read.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy import Connection

from domain.commands import UndoSelection
from domain.events import Cause
from domain.job import Job
from domain.operation import Reversible
from domain.outcomes import Conflicted, Failed, Restored, UndoResult
from domain.ranges import Ranges
from domain.records import Writer
from domain.registry import Registry
from domain.reversal import Part, Terms
from domain.values import Value
from streams.parting import parts_of
from streams.stores.database import Database
from streams.stores.records import Foresight
from streams.stores.targets import Target, targets_of
from streams.undoing import record_tables, require_reversible

BATCH_ITEMS = 5000
"""Items of chunks that are looked at in one transaction."""


@dataclass(frozen=True, slots=True, order=True)
class Obstruction:
    """An item that an undo would not put back; ``by`` is a job's id or an actor, or empty."""

    position: int
    record: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Page:
    """Which of what stays is wanted: the first ``limit`` behind position ``after``."""

    limit: int
    after: int = -1


class WantedUndo(Value):
    """Which undo is previewed."""

    select: UndoSelection = UndoSelection()
    force: bool = False


ALL = WantedUndo()


@dataclass(slots=True)
class Preview:
    """What would become of ``items``, as of ``version`` of the job.

    ``obstructions`` is a page of those counted as conflict or failed. Without ``exact`` the
    operation's own inverse decides, which nobody can ask before; then it is assumed to do.
    """

    version: int
    direction: Cause
    exact: bool
    items: int = 0
    restored: int = 0
    conflict: int = 0
    failed: int = 0
    obstructions: list[Obstruction] = field(default_factory=list)
    more: bool = False

    def count(self, results: Mapping[int, UndoResult], page: Page) -> None:
        """Take in what was foreseen of some items."""
        self.items += len(results)
        for position, result in results.items():
            match result:
                case Restored():
                    self.restored += 1
                case Conflicted(record, by, reason):
                    self.conflict += 1
                    self._note(Obstruction(position, record, by, reason), page)
                case Failed(code, message):
                    self.failed += 1
                    self._note(Obstruction(position, "", "", f"{code}: {message}"), page)

    def _note(self, found: Obstruction, page: Page) -> None:
        if found.position <= page.after:
            return
        insort(self.obstructions, found)
        if len(self.obstructions) > page.limit:
            self.obstructions.pop()
            self.more = True


class Previewer:
    """Previews undos; ``registry`` tells which tables there are."""

    def __init__(self, database: Database, registry: Registry) -> None:
        self._database = database
        self._registry = registry

    async def preview(self, job: Job, page: Page, wanted: WantedUndo = ALL) -> Preview:
        """What an undo would do; raises CommandRefused as the undo itself would."""
        operation = self._registry.get(job.spec.operation)
        require_reversible(operation, job, force=wanted.force)
        job.check_undo()
        select = wanted.select
        parts = await self._database.read(lambda connection: parts_of(connection, job, select))
        by_images = operation.reversible is not Reversible.INVERSE
        direction = job.undo_direction
        preview = Preview(job.version, direction, exact=by_images)
        terms = Terms(force=wanted.force, partial=bool(parts))
        tables = record_tables(self._registry)
        foresight = Foresight(tables, job.tenant, terms) if by_images else None
        whole = [Part(target=one.chunk, items=Ranges()) for one in job.undo_targets(direction)]
        sizes = {effect.chunk: effect.items for effect in job.undo_targets(direction)}
        for some in _batches(parts or whole, sizes):
            work = partial(_foresee, foresight, job, some)
            for results in await self._database.read(work):
                preview.count(results, page)
        return preview


def _batches(parts: Sequence[Part], sizes: Mapping[int, int]) -> Iterator[list[Part]]:
    """Parts of chunks in the order of their undo, a few at a time."""
    batch: list[Part] = []
    items = 0
    for part in parts:
        batch.append(part)
        items += sizes[part.target]
        if items >= BATCH_ITEMS:
            yield batch
            batch, items = [], 0
    if batch:
        yield batch


def _foresee(
    foresight: Foresight | None, job: Job, parts: Sequence[Part], connection: Connection
) -> list[Mapping[int, UndoResult]]:
    targets = targets_of(connection, job.id, [part.target for part in parts])
    return [_of_chunk(foresight, job, part, targets[part.target], connection) for part in parts]


def _of_chunk(
    foresight: Foresight | None, job: Job, part: Part, target: Target, connection: Connection
) -> Mapping[int, UndoResult]:
    positions = target.standing(part.items)
    # An item that wrote nothing has nothing to put back.
    found: dict[int, UndoResult] = dict.fromkeys(positions, Restored())
    if foresight is None or target.images is None:
        return found
    writer = Writer(job.tenant, job.created_by, job.id, target.generation, part.target)
    return found | foresight.foresee(connection, target.images, writer, set(positions))
