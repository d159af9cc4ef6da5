"""Keyed diffs: two runs compared by what their items are called, not by where they stand.

The key of an item is the value at a JSON pointer. The keys of both runs are in memory
together, so neither may have more than ``MOST`` items; positions compare runs of any size.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence

from sqlalchemy import Connection

from domain.errors import InvalidCommand
from domain.item_keys import key_of, parts_of
from domain.ranges import Ranges
from streams.diffs import Change, Comparison, Difference, Summary, difference_of
from streams.items import ALL, LINES, ItemReading, ItemView, Standing
from streams.stores.payloads import PayloadReader
from streams.stores.survey import WINDOW

MOST = 50_000

Pair = tuple[int | None, int | None]
"""The positions of one item in this run and in the other; None where it has none."""


class KeyedComparison(Comparison):
    """Compares the items of two runs by their keys.

    Those of this run come first, in order, then those that only the other has. Of several
    items with one key the first meets the first. Items without the key meet none.
    """

    def __init__(self, this: Standing, other: Standing, pairs: Sequence[Pair]) -> None:
        super().__init__(this, other)
        self.total = len(pairs)
        self._pairs = pairs
        self._this, self._other = _Windows(this), _Windows(other)

    def read(
        self, connection: Connection, first: int, end: int, wanted: Collection[Change]
    ) -> list[Difference]:
        """The wanted differences of a span of pairs, in order."""
        found = (
            difference_of(
                first + place,
                self._this.view(connection, mine),
                self._other.view(connection, others),
            )
            for place, (mine, others) in enumerate(self._pairs[first:end])
        )
        return [difference for difference in found if difference.change in wanted]

    def count(self, connection: Connection, first: int, end: int) -> Summary:
        """How the items of a span of pairs differ."""
        summary = Summary()
        for difference in self.read(connection, first, end, tuple(Change)):
            summary.add(difference)
        return summary


def pairs_by_key(
    connection: Connection, this: Standing, other: Standing, pointer: str
) -> list[Pair]:
    """Which items of two runs are the same, by the value at a JSON pointer.

    Raises InvalidCommand when a run is too large for that.
    """
    for standing in (this, other):
        if standing.total > MOST:
            raise InvalidCommand(
                f"job {standing.job_id} has {standing.total} items, and by key at most {MOST} can "
                "be compared; leave out key to compare them by position",
                pointer="/key",
            )
    waiting: dict[bytes, deque[int]] = {}
    for position, key in _keys(connection, other, pointer):
        if key is not None:
            waiting.setdefault(key, deque()).append(position)
    pairs: list[Pair] = []
    met: set[int] = set()
    for position, key in _keys(connection, this, pointer):
        same = waiting.get(key) if key is not None else None
        partner = same.popleft() if same else None
        if partner is not None:
            met.add(partner)
        pairs.append((position, partner))
    pairs += ((None, position) for position in range(other.total) if position not in met)
    return pairs


def _keys(
    connection: Connection, standing: Standing, pointer: str
) -> Iterator[tuple[int, bytes | None]]:
    """Each position with the key of its item."""
    parts = parts_of(pointer)
    reader = PayloadReader()
    for first in range(0, standing.total, LINES):
        items = Ranges.span(first, min(first + LINES, standing.total))
        lines = reader.lines(connection, standing.job_id, items)
        yield from ((p, key_of(line, parts)) for p, line in zip(items, lines, strict=True))


class _Windows:
    """The items of a run, a window at a time; ``MOST`` items are few windows, which are kept."""

    def __init__(self, standing: Standing) -> None:
        self._reading = ItemReading(standing, ALL, payload=False)
        self._total = standing.total
        self._kept: dict[int, dict[int, ItemView]] = {}

    def view(self, connection: Connection, position: int | None) -> ItemView | None:
        """The item at a position; None for none."""
        if position is None:
            return None
        window = position // WINDOW
        if window not in self._kept:
            first, end = window * WINDOW, min((window + 1) * WINDOW, self._total)
            views, _ = self._reading.read(connection, first, end, None)
            self._kept[window] = {view.position: view for view in views}
        return self._kept[window][position]
