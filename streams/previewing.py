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
from domain.compensation import Stage
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
from streams.stores import compensations
from streams.stores.database import Database
from streams.stores.records import Foresight
from streams.stores.targets import Target, targets_of
from streams.undoing import record_tables, require_reversible, terms_for

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


@dataclass(frozen=True, slots=True)
class Note:
    """An item of which there is something to say: what is in its way, or that it is compensated."""

    position: int
    obstruction: Obstruction | None = None


@dataclass(slots=True)
class Preview:
    """What would become of ``items``, as of ``version`` of the job.

    ``notes`` is a page of those counted as conflict, failed or compensated. Without ``exact``
    the operation's own inverse or compensation decides, which nobody can ask before; then it
    is assumed to do. ``outside`` are the effects that would be compensated.
    """

    version: int
    direction: Cause
    exact: bool
    items: int = 0
    restored: int = 0
    conflict: int = 0
    failed: int = 0
    outside: tuple[str, ...] = ()
    compensated: int = 0
    notes: list[Note] = field(default_factory=list)
    more: bool = False

    @property
    def obstructions(self) -> list[Obstruction]:
        """What is in the way, of the page."""
        return [note.obstruction for note in self.notes if note.obstruction is not None]

    @property
    def compensations(self) -> list[int]:
        """Which items would be compensated, of the page."""
        return [note.position for note in self.notes if note.obstruction is None]

    def count(self, seen: Seen, page: Page) -> None:
        """Take in what was foreseen of some items."""
        self.items += len(seen.results)
        for position, result in seen.results.items():
            match result:
                case Restored():
                    self.restored += 1
                    if self.outside and position not in seen.compensated:
                        self.compensated += 1
                        self._note(Note(position), page)
                case Conflicted(record, by, reason):
                    self.conflict += 1
                    self._note(_in_the_way(position, record, by, reason), page)
                case Failed(code, message):
                    self.failed += 1
                    self._note(_in_the_way(position, "", "", f"{code}: {message}"), page)

    def _note(self, found: Note, page: Page) -> None:
        if found.position <= page.after:
            return
        insort(self.notes, found, key=_place)
        if len(self.notes) > page.limit:
            self.notes.pop()
            self.more = True


def _place(note: Note) -> int:
    return note.position


def _in_the_way(position: int, record: str, by: str, reason: str) -> Note:
    return Note(position, Obstruction(position, record, by, reason))


@dataclass(frozen=True, slots=True)
class Seen:
    """What was foreseen of a chunk's items, and which of them are compensated already."""

    results: Mapping[int, UndoResult]
    compensated: frozenset[int] = frozenset()


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
        outside = operation.outside if operation.compensate is not None else ()
        exact = by_images and not outside
        preview = Preview(job.version, direction, exact=exact, outside=outside)
        terms = terms_for(operation, Terms(force=wanted.force, partial=bool(parts)))
        tables = record_tables(self._registry)
        foresight = Foresight(tables, job.tenant, terms) if by_images else None
        whole = [Part(target=one.chunk, items=Ranges()) for one in job.undo_targets(direction)]
        sizes = {effect.chunk: effect.items for effect in job.undo_targets(direction)}
        for some in _batches(parts or whole, sizes):
            work = partial(_foresee, _Look(foresight, job, bool(outside)), some)
            for seen in await self._database.read(work):
                preview.count(seen, page)
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


@dataclass(frozen=True, slots=True)
class _Look:
    """How the chunks of a job are looked at; ``outside``: whether their items are compensated."""

    foresight: Foresight | None
    job: Job
    outside: bool


def _foresee(look: _Look, parts: Sequence[Part], connection: Connection) -> list[Seen]:
    targets = targets_of(connection, look.job.id, [part.target for part in parts])
    return [_of_chunk(look, part, targets[part.target], connection) for part in parts]


def _of_chunk(look: _Look, part: Part, target: Target, connection: Connection) -> Seen:
    job, foresight = look.job, look.foresight
    positions = target.standing(part.items)
    # An item that wrote nothing has nothing to put back.
    found: dict[int, UndoResult] = dict.fromkeys(positions, Restored())
    tried = compensations.tried(connection, job.id, positions) if look.outside else {}
    done = frozenset(p for p, known in tried.items() if known.stage is Stage.DONE)
    if foresight is not None and target.images is not None:
        writer = Writer(job.tenant, job.created_by, job.id, target.generation, part.target)
        found |= foresight.foresee(connection, target.images, writer, set(positions))
    return Seen(found, done)
