"""What has become of each item, read from the outcome rows alone."""

from __future__ import annotations

from dataclasses import dataclass

from domain.events import Cause
from domain.outcomes import Closing, ItemStatus
from tests.model.tables import TIMEOUT, JobTables, Ledger, Mark, wrong


@dataclass(slots=True)
class Item:
    """An item's status, how many effects of it stand, and the attempts that have failed.

    ``waits`` is true for one that failed and is pending until it is tried again. ``nature`` is
    that of the body which it had then, ``code`` with what it has failed last.
    """

    nature: str
    status: ItemStatus = ItemStatus.PENDING
    effects: int = 0
    tries: int = 0
    waits: bool = False
    code: str = ""


def fold(tables: JobTables, *, recorded: bool) -> list[Item]:
    """Each item by its latest closed chunk in plan order; ``recorded`` leaves out the others."""
    natures = tables.natures
    items = [Item(natures[n % len(natures)]) for n in range(len(tables.records))]
    marks = list(tables.marks)
    for chunk in (*sorted(tables.outcomes), len(tables.chunks)):
        while marks and marks[0].at <= chunk:
            _mark(items, marks[0])
            del marks[0]
        row = tables.outcomes.get(chunk)
        if row is not None and (row.recorded or not recorded):
            say(tables, items, chunk, row.ledger)
            if row.closed.closing is Closing.PREPARED:
                for position in row.closed.returned:
                    items[position].waits = False
    return items


def _mark(items: list[Item], mark: Mark) -> None:
    if mark.kind == "skip":
        for position in mark.items:
            assert items[position].status is ItemStatus.PENDING, "skipped after it was worked"
            items[position].status = ItemStatus.SKIPPED
        return
    if mark.kind == "retry":
        for position in mark.items:
            again = (ItemStatus.FAILED, ItemStatus.SKIPPED)
            assert items[position].status in again, f"item {position} is retried"
            items[position] = Item(mark.bodies.get(position, items[position].nature))
        return
    if mark.kind == "edit":
        for position, nature in mark.bodies.items():
            items[position].nature = nature
        return
    for item in items:
        if item.status is ItemStatus.PENDING:
            item.status = ItemStatus.FAILED if item.waits else ItemStatus.SKIPPED
            item.waits = False


def say(tables: JobTables, items: list[Item], chunk: int, ledger: Ledger) -> None:
    """Take in what a chunk says of its items."""
    cause = tables.chunks[chunk].cause
    for position, status in ledger.items():
        if status is None:
            continue
        item = items[position]
        item.status, item.waits, item.effects = status, False, 0
        if status is ItemStatus.FAILED:
            late = (chunk, position) in tables.errors
            item.code, retryable = TIMEOUT if late else wrong(item.nature)
            item.tries += 1
            if (
                item.tries < _attempts(tables, item.code, retryable=retryable)
                and cause is not Cause.COMMIT
            ):
                item.status, item.waits = ItemStatus.PENDING, True
        elif status is ItemStatus.SUCCEEDED:
            item.effects = 1
        elif status is ItemStatus.CONFLICT:
            item.effects = 1 if cause is Cause.ROLLBACK else 0


def _attempts(tables: JobTables, code: str, *, retryable: bool) -> int:
    """How often an item is tried that always fails so."""
    policy = tables.options.retry
    if policy is None:
        return 1
    if code in policy.codes:
        return policy.codes[code].attempts
    return policy.attempts if retryable else 1
