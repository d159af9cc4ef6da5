"""Diffs: two runs compared item by item, a window of both at a time.

A run is a job as it stands, as it was at a version, or as a generation of it has left it.
Called by :mod:`streams.queries`, in a reader's thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from sqlalchemy import Connection

from domain.outcomes import ItemStatus
from streams.items import ALL, ItemReading, ItemView, Standing
from streams.stores.survey import WINDOW


class Change(StrEnum):
    """How an item of one run differs from the same one of the other."""

    SAME = "same"
    STATUS = "status"
    RESULT = "result"
    ONLY_THIS = "only_this"
    ONLY_OTHER = "only_other"


DIFFERENT = frozenset(Change) - {Change.SAME}


@dataclass(frozen=True, slots=True)
class Run:
    """A job, or what it was: at a version, or when a generation of it had ended."""

    job_id: str
    version: int | None = None
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """An item of two runs, of which one may have none; ``position`` is its place in the diff."""

    position: int
    change: Change
    this: ItemView | None
    other: ItemView | None


Move = tuple[ItemStatus, ItemStatus]
"""The status in this run, and in the other."""


@dataclass(slots=True)
class Summary:
    """How many items differ in which way; ``moves`` counts those of another status."""

    changes: Counter[Change] = field(default_factory=Counter)
    moves: Counter[Move] = field(default_factory=Counter)

    def add(self, difference: Difference) -> None:
        """One more item."""
        self.changes[difference.change] += 1
        if difference.change is Change.STATUS and difference.this and difference.other:
            self.moves[difference.this.status, difference.other.status] += 1

    def __add__(self, other: Summary) -> Summary:
        return Summary(self.changes + other.changes, self.moves + other.moves)


class Comparison:
    """Compares the items of two runs by their positions."""

    def __init__(self, this: Standing, other: Standing) -> None:
        self.total = max(this.total, other.total)
        self._runs = [
            (standing.total, ItemReading(standing, ALL, payload=False))
            for standing in (this, other)
        ]

    def spans(self, after: int) -> Iterator[tuple[int, int]]:
        """The positions behind ``after``, a window at a time."""
        first = after + 1
        while first < self.total:
            end = min((first // WINDOW + 1) * WINDOW, self.total)
            yield first, end
            first = end

    def read(
        self, connection: Connection, first: int, end: int, wanted: Collection[Change]
    ) -> list[Difference]:
        """The wanted differences of a span within a window, in order."""
        this, other = (
            _views(connection, reading, first, min(end, total)) for total, reading in self._runs
        )
        found = (
            difference_of(position, this.get(position), other.get(position))
            for position in range(first, end)
        )
        return [difference for difference in found if difference.change in wanted]

    def count(self, connection: Connection, first: int, end: int) -> Summary:
        """How the items of a span within a window differ."""
        summary = Summary()
        for difference in self.read(connection, first, end, tuple(Change)):
            summary.add(difference)
        return summary


def _views(
    connection: Connection, reading: ItemReading, first: int, end: int
) -> dict[int, ItemView]:
    if first >= end:
        return {}
    views, _ = reading.read(connection, first, end, None)
    return {view.position: view for view in views}


def difference_of(position: int, this: ItemView | None, other: ItemView | None) -> Difference:
    """How an item of this run differs from that of the other."""
    if other is None:
        change = Change.ONLY_THIS
    elif this is None:
        change = Change.ONLY_OTHER
    elif this.status is not other.status:
        change = Change.STATUS
    elif (this.result, this.score, this.error) != (other.result, other.score, other.error):
        change = Change.RESULT
    else:
        change = Change.SAME
    return Difference(position, change, this, other)
