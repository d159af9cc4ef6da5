"""Items: where the items of a job stand, read window by window, as few ledgers as will do.

Called by :mod:`streams.queries`, in a reader's thread. The latest chunk in plan order has
the last word on an item, but for what only the job knows: who waits again, and who was
never attempted. What an item has answered stays what it was when an undo of an undo puts it
back: the chunk that worked it tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

from sqlalchemy import Connection

from domain.item_keys import shown_document
from domain.outcomes import ItemStatus
from domain.ranges import Ranges
from streams.stores import keys
from streams.stores import ledger as ledgers
from streams.stores.ledger import LedgerEntry
from streams.stores.outcomes import ledger_of
from streams.stores.payloads import PayloadReader
from streams.stores.survey import (
    NOT_ATTEMPTED,
    REPEATED,
    WINDOW,
    WITHDRAWN,
    Closed,
    RecordName,
    Survey,
    items_that_wrote,
    windows_of,
)

LINES = 100
"""Items as they were sent that are read at once; each may have a megabyte."""
FEW = 10
"""So many are read at first: how large they are is not known."""
BYTES = 4_000_000
"""With so many of them a window is handed on before its end, and a page ends before its limit."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an item is not done."""

    code: str
    message: str
    pointer: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class ItemView:
    """Where an item stands; ``line`` is what was sent, empty when nobody asked for it."""

    position: int
    status: ItemStatus
    result: Any = None
    score: float | None = None
    duration_ms: float | None = None
    error: Fault | None = None
    chunk: int | None = None
    attempt: int | None = None
    line: bytes = b""
    shredded: bool = False
    """Whether what was sent is gone for good."""
    changes: Any = None
    """What a dry run would change, record by record; None where it was only validated."""

    @property
    def item(self) -> Any:
        """What was sent, as a JSON value; as text where it is none, or nests too deeply."""
        return shown_document(self.line) if self.line else None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which items; each that meets all that is given, and all of them when nothing is.

    ``unattempted`` adds to ``statuses`` those that nobody has worked, or not again yet.
    ``record`` is one that the items wrote to, ``key`` what they are called, as text.
    """

    statuses: frozenset[ItemStatus] = frozenset()
    unattempted: bool = False
    code: str | None = None
    record: RecordName | None = None
    key: str | None = None

    @property
    def everything(self) -> bool:
        """Whether no item is left out, whatever has become of it."""
        return replace(self, key=None) == ALL

    def matches(self, status: ItemStatus, code: str) -> bool:
        """Whether an item that stands there is among them, if it wrote to the record."""
        if self.code is not None and self.code != code:
            return False
        if status in self.statuses or not (self.statuses or self.unattempted):
            return True
        return self.unattempted and (status is ItemStatus.PENDING or code == NOT_ATTEMPTED)

    def may_match(self, chunk: Closed) -> bool:
        """Whether an item on which the chunk has the last word can be among them."""
        if self.code is not None and not chunk.may_say(self.code):
            return False
        if self.statuses or self.unattempted:
            return not self.statuses.isdisjoint(chunk.says)
        return True


ALL = Wanted()


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a job's items at one moment.

    ``wrote`` are chunks, for a record; ``named`` those of a key, None when nobody asks for one.
    ``stopped`` is why those that were never attempted were not.
    """

    job_id: str
    total: int
    waiting: Ranges
    dropped: Ranges
    survey: Survey
    wrote: frozenset[int] = frozenset()
    stopped: str = ""
    repeated: Ranges = field(default_factory=Ranges)
    withdrawn: Ranges = field(default_factory=Ranges)
    named: Ranges | None = None
    shredded: bool = False


Said = tuple[LedgerEntry, int | None, int | None]
"""What was said of an item, by which chunk and attempt."""

_PENDING = ItemStatus.PENDING


class ItemReading:
    """Reads the wanted items of a job; ``payload`` adds what was sent."""

    def __init__(self, standing: Standing, wanted: Wanted, *, payload: bool) -> None:
        self._standing = standing
        self._wanted = wanted
        self._payload = payload
        self._reader = PayloadReader()
        self._waits = wanted.matches(_PENDING, "")
        self._drops = wanted.matches(ItemStatus.SKIPPED, NOT_ATTEMPTED)
        self._repeats = wanted.matches(ItemStatus.SKIPPED, REPEATED)
        self._withdraws = wanted.matches(ItemStatus.SKIPPED, WITHDRAWN)

    def spans(self, after: int) -> Iterator[tuple[int, int]]:
        """Spans of positions behind ``after`` that may hold wanted items, a window each."""
        total = self._standing.total
        for window in self._windows(after // WINDOW if after > 0 else 0):
            first, end = max(window * WINDOW, after + 1), min((window + 1) * WINDOW, total)
            if first < end:
                yield first, end

    def read(
        self, connection: Connection, first: int, end: int, limit: int | None
    ) -> tuple[list[ItemView], int]:
        """The wanted items of a span within a window, and up to where they were read."""
        chosen = self.said(connection, first, end)[:limit]
        if not self._payload:
            return [view_of(position, said) for position, said in chosen], end
        if self._standing.shredded:
            views = [view_of(position, said) for position, said in chosen]
            return [replace(view, shredded=True) for view in views], end
        return self._with_lines(connection, chosen, end)

    def _with_lines(
        self, connection: Connection, chosen: Sequence[tuple[int, Said | None]], end: int
    ) -> tuple[list[ItemView], int]:
        views: list[ItemView] = []
        size = 0
        while len(views) < len(chosen):
            start = len(views)
            part = chosen[start : start + _at_once(start, size)]
            wanted = Ranges.of(position for position, _ in part)
            lines = self._reader.lines(connection, self._standing.job_id, wanted)
            views += [view_of(*known, line) for known, line in zip(part, lines, strict=True)]
            size += sum(map(len, lines))
            if size > BYTES and len(views) < len(chosen):
                return views, views[-1].position + 1
        return views, end

    def _windows(self, first: int) -> Iterator[int]:
        standing, wanted = self._standing, self._wanted
        known = [ranges for ranges, asked in self._known() if asked]
        aggregate = {window for ranges in known for window in windows_of(ranges)}
        named = None if standing.named is None else set(windows_of(standing.named))
        for window in range(first, -(-standing.total // WINDOW)):
            if named is not None and window not in named:
                continue
            closed = standing.survey.in_window(window)
            if wanted.record is not None:
                if any(chunk.chunk in standing.wrote for chunk in closed):
                    yield window
            elif (
                wanted.everything
                or window in aggregate
                or any(wanted.may_match(chunk) for chunk in closed)
            ):
                yield window

    def _known(self) -> Sequence[tuple[Ranges, bool]]:
        """What the job itself knows, and whether that is asked for."""
        standing = self._standing
        return (
            (standing.waiting, self._waits),
            (standing.dropped, self._drops),
            (standing.repeated, self._repeats),
            (standing.withdrawn, self._withdraws),
        )

    def said(self, connection: Connection, first: int, end: int) -> list[tuple[int, Said | None]]:
        """The wanted positions of a span with what was said of them, in order."""
        found: dict[int, Said | None] = {}
        spoken: set[int] = set()
        waiting = self._standing.waiting.within(first, end)
        dropped = self._standing.dropped.within(first, end)
        repeated = self._standing.repeated.within(first, end)
        withdrawn = self._standing.withdrawn.within(first, end)
        spoken.update(waiting, dropped, repeated, withdrawn)
        if self._waits:
            found.update(dict.fromkeys(waiting))
        if self._drops:
            why = self._standing.stopped
            found.update({position: _never(position, why) for position in dropped})
        if self._withdraws:
            found.update({position: _withdrawn(position) for position in withdrawn})
        if self._repeats and repeated:
            winners = keys.winners(connection, self._standing.job_id, first, end)
            found.update({position: _instead(position, winners) for position in repeated})
        found.update(self._last_words(connection, first, end, spoken))
        if self._wanted.everything:
            # Of those nobody has spoken, and the job does not say why.
            found.update(dict.fromkeys(set(range(first, end)).difference(found)))
        if self._wanted.record is not None:
            wrote = self._wrote(connection, first, self._wanted.record)
            found = {position: said for position, said in found.items() if position in wrote}
        if self._standing.named is not None:
            named = set(self._standing.named.within(first, end))
            found = {position: said for position, said in found.items() if position in named}
        return sorted(found.items(), key=_position)

    def _last_words(
        self, connection: Connection, first: int, end: int, spoken: set[int]
    ) -> Iterator[tuple[int, Said]]:
        """The last words that match, of positions that are not ``spoken`` of yet."""
        closed = self._standing.survey.in_window(first // WINDOW)
        job_id = self._standing.job_id
        words = _LastWords(self._wanted, spoken)
        for chunk, matching in _needed(closed, self._wanted):
            data = ledger_of(connection, job_id, chunk.chunk)
            if matching:
                yield from words.take(chunk, ledgers.entries(data, first, end))
            else:
                spoken.update(position for position, _ in ledgers.statuses(data))
        yield from words.unanswered()

    def _wrote(self, connection: Connection, first: int, record: RecordName) -> set[int]:
        closed = self._standing.survey.in_window(first // WINDOW)
        found: set[int] = set()
        for chunk in closed:
            if chunk.chunk in self._standing.wrote:
                found |= items_that_wrote(connection, self._standing.job_id, chunk.chunk, record)
        return found


def _at_once(read: int, size: int) -> int:
    """How many lines are read next, by how large those were that are there."""
    if not read:
        return FEW
    return max(1, min(LINES, (BYTES - size) * read // max(size, 1)))


class _LastWords:
    """What the chunks say of items nobody has ``spoken`` of yet; the latest chunk comes first."""

    def __init__(self, wanted: Wanted, spoken: set[int]) -> None:
        self._wanted = wanted
        self._spoken = spoken
        self._back: dict[int, Said] = {}
        """Items that an undo has made succeed again: what they have answered comes later.

        The chunk that tells has said of them what the undo said, so it is read for the same.
        """

    def take(self, chunk: Closed, entries: Iterable[LedgerEntry]) -> Iterator[tuple[int, Said]]:
        """The wanted words of one more chunk."""
        for entry in entries:
            position = entry.position
            succeeded = entry.status is ItemStatus.SUCCEEDED
            if succeeded and not chunk.undo and position in self._back:
                yield position, _answered(self._back.pop(position), entry)
            elif self._is_last(entry):
                said = entry, chunk.chunk, chunk.attempt
                if succeeded and chunk.undo:
                    self._back[position] = said
                else:
                    yield position, said

    def unanswered(self) -> Iterator[tuple[int, Said]]:
        """What is left when all were taken."""
        yield from self._back.items()

    def _is_last(self, entry: LedgerEntry) -> bool:
        """Whether that is a wanted word, and the last one on its item."""
        if entry.status is None or entry.position in self._spoken:
            return False
        self._spoken.add(entry.position)
        return self._wanted.matches(entry.status, entry.code)


def _answered(said: Said, worked: LedgerEntry) -> Said:
    """What an undo has said of an item, with what the item has answered."""
    entry, chunk, attempt = said
    return replace(entry, result=worked.result, score=worked.score), chunk, attempt


def _needed(closed: Sequence[Closed], wanted: Wanted) -> Iterator[tuple[Closed, bool]]:
    """The chunks to read, the latest first, and whether they may have what is wanted.

    One that has nothing of it is read if it may have the last word on what another has said.
    """
    matching = [chunk for chunk in closed if wanted.may_match(chunk)]
    # The chunks of a first round stand one behind the other, and none meets an older one.
    ends = list(accumulate((chunk.reach[1] for chunk in matching), max))
    for chunk in reversed(closed):
        if not matching:
            return
        if matching[-1] is chunk:
            matching.pop()
            yield chunk, True
        elif chunk.reach[0] < ends[len(matching) - 1] and any(map(chunk.meets, matching)):
            yield chunk, False


def _position(known: tuple[int, Said | None]) -> int:
    return known[0]


def _never(position: int, why: str) -> Said:
    message = why or "the job was stopped before this item was worked"
    entry = LedgerEntry(position, ItemStatus.SKIPPED, code=NOT_ATTEMPTED, message=message)
    return entry, None, None


def _instead(position: int, winners: Mapping[int, int]) -> Said:
    message = f"item {winners[position]} has the same key, and is worked instead"
    entry = LedgerEntry(position, ItemStatus.SKIPPED, code=REPEATED, message=message)
    return entry, None, None


def _withdrawn(position: int) -> Said:
    message = "the item was taken out of the draft before the start"
    entry = LedgerEntry(position, ItemStatus.SKIPPED, code=WITHDRAWN, message=message)
    return entry, None, None


def fault_of(entry: LedgerEntry) -> Fault | None:
    """Why an item is not done, if that is what was said of it."""
    if not entry.code:
        return None
    return Fault(entry.code, entry.message, entry.pointer, entry.retryable)


def view_of(position: int, said: Said | None, line: bytes = b"") -> ItemView:
    """An item by what was said of it; ``None`` when nobody has spoken."""
    if said is None:
        return ItemView(position, _PENDING, line=line)
    entry, chunk, attempt = said
    return ItemView(
        position,
        entry.status or _PENDING,
        entry.result,
        entry.score,
        entry.duration_ms,
        fault_of(entry),
        chunk,
        attempt,
        line,
        changes=entry.changes,
    )
