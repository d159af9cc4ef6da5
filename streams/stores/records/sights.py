"""Sights: which version of each record a transaction was shown, and whether it still stands.

A handler reads a record and writes what it made of it. Where several transactions write at
once, another may have written in between, and its write would be lost without a word. So
what was shown is compared with what is there when the record is locked to be written; if
it has moved, the whole transaction runs again, and then takes its turn (optimistic
concurrency control, then pessimistic: Kung and Robinson 1981).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from domain.errors import RecordsOvertaken
from streams.stores.records.rows import Loaded

Versions = dict[int, int]
"""By record id."""


CAREFUL = 8
"""So many transactions take their turn from the start after one that had to run again."""


class Contention:
    """What the attempts at one transaction have learned; made anew for each transaction.

    ``tables`` are those that an attempt has written to, or wanted to. The attempts after
    the first wait for their turn at them, and read them under lock.
    """

    def __init__(self, tables: Iterable[str] = ()) -> None:
        self.tables = set(tables)
        self.attempts = 0

    def begin(self) -> None:
        """Another attempt begins."""
        self.attempts += 1


class Crowds:
    """Where a worker met others lately, by operation: who met once will meet again soon.

    Used by several threads; what one has just learned may escape another, which harms nobody.
    """

    def __init__(self) -> None:
        self._lately: dict[str, tuple[frozenset[str], int]] = {}

    def expected(self, operation: str) -> Contention:
        """What the next transaction of an operation knows from the start."""
        tables, _ = self._lately.get(operation, (frozenset(), 0))
        return Contention(tables)

    def learn(self, operation: str, met: Contention) -> None:
        """A transaction of an operation has ended."""
        tables, left = self._lately.get(operation, (frozenset(), 0))
        if met.attempts > 1:
            self._lately[operation] = frozenset(met.tables), CAREFUL
        elif left > 1:
            self._lately[operation] = tables, left - 1
        else:
            self._lately.pop(operation, None)


class Sights:
    """Versions that were shown in one transaction, its own writes counted in."""

    def __init__(self) -> None:
        self._shown: dict[str, Versions] = {}
        self._written: list[tuple[str, range | Versions]] = []
        """By table, the ids of new records, or what was there before a change."""
        self._overtaken: RecordsOvertaken | None = None

    def mark(self) -> int:
        """The own writes so far, for ``rewind``."""
        return len(self._written)

    def rewind(self, mark: int) -> None:
        """Forget the own writes after the mark; what was read before stays read."""
        while len(self._written) > mark:
            table, before = self._written.pop()
            shown = self._shown[table]
            if isinstance(before, range):
                for key in [key for key in before if key in shown]:
                    del shown[key]
            else:
                shown |= before

    def show(self, table: str, versions: Iterable[tuple[int, int]]) -> None:
        """Records are read; raises RecordsOvertaken for one that was read otherwise before."""
        shown = self._shown.setdefault(table, {})
        moved = [key for key, version in versions if shown.setdefault(key, version) != version]
        self._refuse(table, moved)

    def check(self, table: str, ids: Sequence[int], present: Loaded) -> None:
        """Records are locked to be written; raises RecordsOvertaken if one has moved."""
        shown = self._shown.get(table)
        if shown:
            moved = [key for key in ids if key in shown and not _stands(shown[key], key, present)]
            self._refuse(table, moved)

    def inserted(self, table: str, ids: range) -> None:
        """The transaction itself has added records."""
        self._shown.setdefault(table, {})
        self._written.append((table, ids))

    def wrote(self, table: str, versions: Sequence[tuple[int, int]], *, deleted: bool) -> None:
        """The transaction itself has moved records that it had loaded, to those versions."""
        shown = self._shown.setdefault(table, {})
        self._written.append((table, {key: version - 1 for key, version in versions}))
        if deleted:
            for key, _ in versions:
                shown.pop(key, None)
        else:
            shown.update(versions)

    def confirm(self) -> None:
        """Raise RecordsOvertaken again if a handler has swallowed it."""
        if self._overtaken is not None:
            raise self._overtaken

    def _refuse(self, table: str, moved: Sequence[int]) -> None:
        if moved:
            self._overtaken = RecordsOvertaken(
                f"{table}/{moved[0]} was changed by somebody else after it was read; "
                "nothing was written, run the transaction again"
            )
            raise self._overtaken


def _stands(version: int, key: int, present: Loaded) -> bool:
    found = present.get(key)
    return found is not None and found[0] == version
