"""The parts of a job that an undo names."""

from __future__ import annotations

from collections.abc import Iterable

from domain.commands import UndoSelection
from domain.errors import WrongState
from domain.events import Cause
from domain.job import Job
from domain.outcomes import ItemStatus
from domain.ranges import Ranges
from domain.reversal import Part
from tests.model.tables import JobTables


def parts_of(tables: JobTables, job: Job, select: UndoSelection) -> tuple[Part, ...]:
    """What stands of what is named, in the order of the undo; each item has its own record.

    Raises WrongState when of something that is named nothing stands.
    """
    if select.whole:
        return ()
    direction = job.undo_direction
    status = ItemStatus.SUCCEEDED if direction is Cause.ROLLBACK else ItemStatus.ROLLED_BACK
    left, found = set(named(select)), []
    for effect in job.undo_targets(direction):
        stand = tables.standing(effect.chunk, status)
        if select.chunks:
            items = stand if effect.chunk in left else Ranges()
            left.discard(effect.chunk)
        else:
            items = stand & Ranges.of(left)
            if select.records:
                # What wrote nothing is not what wrote to a record.
                items &= Ranges.of(tables.outcomes[effect.chunk].images)
            left -= set(items)
        if items:
            found.append(Part(target=effect.chunk, items=items))
    if left:
        raise WrongState(f"of {min(left)} nothing stands")
    return tuple(found)


def named(select: UndoSelection) -> Iterable[int]:
    """The numbers of what is named: of chunks, items, or the items with those records."""
    records = (int(name.partition("/")[2]) for name in select.records)
    return select.chunks or select.items or tuple(records)
