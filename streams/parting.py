"""Parting: which items of which chunks an undo of a part of a job takes.

Called by :mod:`streams.deciding`, within the coordinator's transaction, and by the preview.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import orjson
from sqlalchemy import Connection, bindparam, select

from domain import portions
from domain.commands import UndoSelection
from domain.errors import InvalidCommand, WrongState
from domain.job import Job
from domain.ranges import Ranges
from domain.reversal import Part
from streams.stores.records.goals import goals_of, groups_of
from streams.stores.records.images import decode
from streams.stores.schema import chunks
from streams.stores.statements import Statement, among, listed
from streams.stores.survey import RecordName, chunks_that_wrote
from streams.stores.targets import Target, targets_of

MAX_PARTS = 2000
"""Chunks of which an undo takes a part; more are undone as a whole, or in several steps."""

_REACH = Statement(
    lambda dialect: select(chunks.c.chunk, chunks.c["items"], chunks.c.target).where(
        chunks.c.job_id == bindparam("job"), among(chunks.c.chunk, dialect)
    )
)


def parts_of(connection: Connection, job: Job, select: UndoSelection) -> tuple[Part, ...]:
    """What is to be put back, in the order of the undo; empty for all that stands.

    Raises WrongState for what is named and does not stand.
    """
    if select.whole:
        return ()
    standing = [effect.chunk for effect in job.undo_targets(job.undo_direction)]
    wanted = _Wanted(connection, job, select)
    named = wanted.chunks(standing)
    if len(named) > MAX_PARTS:
        raise InvalidCommand(
            f"these are parts of {len(named)} chunks, {MAX_PARTS} at once are possible; undo "
            "fewer, or all",
            pointer="/items",
        )
    targets = targets_of(connection, job.id, named)
    parts = tuple(
        Part(target=chunk, items=items)
        for chunk in named
        if (items := wanted.of(chunk, targets[chunk]))
    )
    wanted.require_found()
    if sum(portions.weight(part.items) for part in parts) > portions.MAX_SPANS:
        raise InvalidCommand(
            "these are more scattered items than one event holds; undo fewer, or all",
            pointer="/items",
        )
    return parts


class _Wanted:
    """The selection, looked up."""

    def __init__(self, connection: Connection, job: Job, select: UndoSelection) -> None:
        self._connection = connection
        self._job = job
        self._select = select
        self._items = Ranges.of(select.items)
        self._records = {_key(name) for name in select.records}
        self._found: set[object] = set()

    def chunks(self, standing: Sequence[int]) -> list[int]:
        """The chunks that may hold what is wanted, in their order."""
        if self._select.chunks:
            chosen: Collection[int] = set(self._select.chunks)
        elif self._records:
            chosen = set(self._writers())
        else:
            chosen = set(self._holding(standing))
        return [chunk for chunk in standing if chunk in chosen]

    def of(self, chunk: int, target: Target) -> Ranges:
        """The items of a chunk that are wanted, with all that are put back along with them."""
        stand = target.standing(Ranges())
        if self._select.chunks:
            self._found.add(chunk)
            return stand
        groups = list(_groups(target))
        stands = set(stand)
        wanted: set[int] = set(self._items & stand)
        self._found |= wanted
        for positions, records in groups:
            own = records & self._records
            if own and positions & stands:
                self._found |= own
                wanted |= positions
        # Those that wrote nothing are in no group.
        taken = [positions for positions, _ in groups if positions & wanted]
        return Ranges.of(wanted.union(*taken)) & stand

    def require_found(self) -> None:
        """Raise WrongState for the first thing named of which nothing stands."""
        named: Iterable[object] = self._select.chunks or self._records or self._select.items
        for one in named:
            if one not in self._found:
                raise WrongState(
                    f"of {self._said(one)} nothing stands that could be put back; name only what "
                    "does, as undo-preview shows"
                )

    def _said(self, one: object) -> str:
        if isinstance(one, tuple):
            return f"record {one[0]}/{one[1]}"
        return f"chunk {one}" if self._select.chunks else f"item {one}"

    def _writers(self) -> Iterator[int]:
        for table, record in self._records:
            name = RecordName(table, record)
            yield from chunks_that_wrote(self._connection, self._job.tenant, self._job.id, name)

    def _holding(self, standing: Sequence[int]) -> Iterator[int]:
        """The chunks of which one of the items is; an undo chunk of all has its target's."""
        looked_at = {chunk: chunk for chunk in standing}
        # A redo of all has an undo of all as its target, and so on. It ends: a target was closed
        # before its undo was planned, so that its number is lower.
        while looked_at:
            known = self._reach(sorted(set(looked_at.values())))
            further: dict[int, int] = {}
            for chunk, place in looked_at.items():
                # What was put away since the job was read has no rows any more.
                items, target = known.get(place, (Ranges(), None))
                if not items and target is not None:
                    further[chunk] = target
                elif items & self._items:
                    yield chunk
            looked_at = further

    def _reach(self, numbered: Sequence[int]) -> Mapping[int, tuple[Ranges, int | None]]:
        rows = _REACH.run(self._connection, job=self._job.id, numbers=listed(numbered))
        return {
            chunk: (Ranges.from_spans(orjson.loads(items)), target) for chunk, items, target in rows
        }


def _groups(target: Target) -> Iterator[tuple[set[int], set[tuple[str, int]]]]:
    """Items that are put back only together, with their records."""
    if target.images is None:
        return
    images = decode(target.images)
    for group in groups_of(goals_of(images), images.together):
        yield set(group.positions), {(goal.table, goal.id) for goal in group.goals}


def _key(name: str) -> tuple[str, int]:
    table, _, number = name.partition("/")
    return table, int(number)
