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
from streams.items import ALL, ItemReading, ItemView, Said, Standing, view_of
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
        return [
            Difference(
                position,
                change,
                None if change is Change.ONLY_OTHER else view_of(position, this),
                None if change is Change.ONLY_THIS else view_of(position, other),
            )
            for position, change, this, other in self._compared(connection, first, end)
            if change in wanted
        ]

    def count(self, connection: Connection, first: int, end: int) -> Summary:
        """How the items of a span within a window differ."""
        summary = Summary()
        for _, change, this, other in self._compared(connection, first, end):
            summary.changes[change] += 1
            if change is Change.STATUS:
                summary.moves[_status(this), _status(other)] += 1
        return summary

    def _compared(
        self, connection: Connection, first: int, end: int
    ) -> Iterator[tuple[int, Change, Said | None, Said | None]]:
        """All items of a span; most of them are the same, and no view of those is needed."""
        this, other = (
            dict(reading.said(connection, first, min(end, total))) if first < total else {}
            for total, reading in self._runs
        )
        for position in range(first, end):
            mine, others = this.get(position), other.get(position)
            if position not in other:
                change = Change.ONLY_THIS
            elif position not in this:
                change = Change.ONLY_OTHER
            else:
                change = _change(mine, others)
            yield position, change, mine, others


def _change(this: Said | None, other: Said | None) -> Change:
    """How what was said last differs; when and by which chunk is no difference."""
    if this is None or other is None:
        return Change.SAME if this is other else Change.STATUS
    mine, others = this[0], other[0]
    if mine.status is not others.status:
        return Change.STATUS
    same = (
        mine.result == others.result
        and mine.score == others.score
        and mine.code == others.code
        and (mine.message, mine.pointer, mine.retryable)
        == (others.message, others.pointer, others.retryable)
    )
    return Change.SAME if same else Change.RESULT


def _status(said: Said | None) -> ItemStatus:
    return (said[0].status if said is not None else None) or ItemStatus.PENDING


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
