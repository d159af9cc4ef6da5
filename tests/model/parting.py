"""The parts of a job that an undo names."""

from __future__ import annotations

from domain.commands import UndoSelection
from domain.errors import WrongState
from domain.events import Cause
from domain.job import Job
from domain.outcomes import ItemStatus
from domain.ranges import Ranges
from domain.reversal import Part
from tests.model.tables import JobTables


def parts_of(tables: JobTables, job: Job, select: UndoSelection) -> tuple[Part, ...]:
    """What stands of what is named, in the order of the undo; each item has its own record."""
    if select.whole:
        return ()
    direction = job.undo_direction
    status = ItemStatus.SUCCEEDED if direction is Cause.ROLLBACK else ItemStatus.ROLLED_BACK
    found = []
    for effect in job.undo_targets(direction):
        stand = tables.standing(effect.chunk, status)
        named = stand if effect.chunk in select.chunks else stand & Ranges.of(select.items)
        if named:
            found.append(Part(target=effect.chunk, items=named))
    if not found:
        raise WrongState("nothing that was named stands")
    return tuple(found)
