"""Records port: versioned rows that an operation reads and writes.

A table takes part when it has the columns ``id`` (integer key), ``version`` and
``tenant``. Every write goes through this port, single edits included: it counts the
version up, keeps the row as it was before, and notes who wrote. The implementation
(:mod:`streams.stores.records`) does so in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol


class RecordTable(Protocol):
    """A SQLAlchemy table with ``id``, ``version`` and ``tenant``."""

    @property
    def name(self) -> str:
        """The table's name in the database."""
        ...


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes: a job's chunk, or an actor who edits by hand (``job_id`` empty)."""

    tenant: str
    actor: str
    job_id: str = ""
    generation: int = 0
    chunk: int = 0

    @property
    def name(self) -> str:
        """How a conflict names this writer: the job's id, or the actor."""
        return self.job_id or self.actor


NOBODY = -1
"""The position of what no item causes, or does not say which."""


class Leaves(StrEnum):
    """What a function of an operation may leave behind."""

    RECORDS = "records"
    """And parts of files."""
    PARTS = "parts"
    """And no record: the operation only reads."""
    NOTHING = "nothing"
    """It only judges."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a function of an operation: what it may leave behind, for which items.

    An undo puts back what the items of a job have written, so there is no write of another one.
    What names no item is that of ``alone``, the item of a function that is given one.
    """

    positions: Sequence[int] = ()
    leaves: Leaves = Leaves.NOTHING
    alone: int = NOBODY


Traces = Callable[[], Set[int]]
"""For which items something was written in a call, and is there."""


@dataclass(frozen=True, slots=True)
class Change:
    """New values for some columns of one record.

    ``version``, when given, must be the record's present one. ``position`` is the item that
    causes the change; a function that is given one item may leave it out, as may who edits by hand.
    """

    id: int
    values: Mapping[str, Any]
    version: int | None = None
    position: int = NOBODY


@dataclass(frozen=True, slots=True)
class Deletion:
    """One record to delete; fields as in :class:`Change`."""

    id: int
    version: int | None = None
    position: int = NOBODY


@dataclass(frozen=True, slots=True)
class Written:
    """The write took effect; the record is now at ``version``."""

    version: int


@dataclass(frozen=True, slots=True)
class Missing:
    """There is no such record for this tenant."""


@dataclass(frozen=True, slots=True)
class Stale:
    """The record is at ``version``, not at the one that was asked for."""

    version: int


WriteResult = Written | Missing | Stale


Values = tuple[int | str | None, ...]
"""What a probe is given to ask about."""


@dataclass(frozen=True, eq=False)
class Probe:
    """A question about each of many rows of values: is there a record that stands so to it?

    ``kinds`` are the types of the values, ``int`` or ``str``. ``where`` is given the columns
    ``v0``, ``v1``... of a row and those of the table, and returns SQLAlchemy conditions;
    ``value`` makes the answer of the columns of the table. Declare one once, at the top of a
    module: it is compiled at its first use. ``otherwise`` are conditions for a second look
    where the first finds nothing: of two ranges of an index, say, which one condition would
    not be.
    """

    table: RecordTable
    kinds: tuple[type, ...]
    where: Callable[[Any, Any], Sequence[Any]]
    value: Callable[[Any], Any]
    otherwise: Callable[[Any, Any], Sequence[Any]] | None = None


@dataclass(frozen=True, eq=False)
class Lookup:
    """A question that is asked for every chunk: which records stand so to a few values?

    As :class:`Probe`, but about all records of one row of values; ``limit`` of them at most.
    Declare one once, at the top of a module: its statement is made at its first use.
    """

    table: RecordTable
    kinds: tuple[type, ...]
    where: Callable[[Any, Any], Sequence[Any]]
    limit: int


class Parts(Protocol):
    """What a job makes of its items, as the parts of a file, in the transaction of their outcome.

    They are kept when the items' outcome is, and never without it; they go with the job's files.
    """

    def add(self, position: int, data: bytes) -> None:
        """A part that begins with the item at ``position``: parts are put together in that order.

        An item belongs to one part, and those of a part stand together.
        """
        ...


class Records(Protocol):
    """Reads and writes of one tenant, by one writer, in one transaction."""

    def insert(
        self,
        table: RecordTable,
        columns: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
        positions: Sequence[int],
    ) -> range:
        """Insert new records at version 1; returns their ids, consecutive.

        ``columns`` names the values of each row, without id, version and tenant;
        ``positions`` are the items that cause them, one a row.
        """
        ...

    def update(self, table: RecordTable, changes: Sequence[Change]) -> list[WriteResult]:
        """Change records; one result a change, in order."""
        ...

    def delete(self, table: RecordTable, deletions: Sequence[Deletion]) -> list[WriteResult]:
        """Delete records; one result a deletion, in order."""
        ...

    def fetch(
        self, table: RecordTable, ids: Sequence[int], columns: Sequence[str] = ()
    ) -> dict[int, Mapping[str, Any]]:
        """The tenant's records of those ids (all columns when none are named)."""
        ...

    def find(
        self, table: RecordTable, *where: Any, columns: Sequence[str] = (), limit: int = 1000
    ) -> list[Mapping[str, Any]]:
        """The tenant's records that meet all conditions (SQLAlchemy expressions), by id."""
        ...

    def look_up(self, lookup: Lookup, *values: int | str) -> list[Mapping[str, Any]]:
        """As ``find``, all columns, by a question that was declared.

        Values are as the driver has them: a truth value may be 0 or 1.
        """
        ...

    def each(
        self, table: RecordTable, ids: Sequence[int], columns: Sequence[str] = ()
    ) -> Iterator[Mapping[str, Any]]:
        """As ``fetch``, with one query however many they are, a few in memory at a time.

        In no order; go through all of them before the next write.
        """
        ...

    def probe(
        self,
        probe: Probe,
        rows: Sequence[Values],
        without: Collection[int] = (),
    ) -> dict[int, Any]:
        """The answer of one record, whichever, to each row that has one, by the row's place.

        One query for all rows; the records whose ids are in ``without`` are not asked.
        """
        ...

    def first_of(self, marks: Mapping[str, int]) -> dict[str, int]:
        """The position of the first item of the job with each of the marks.

        ``marks`` are what items say of themselves, up to 200 characters, with their positions;
        they are kept for the items of the job that come later, in whichever chunk.
        """
        ...

    def savepoint(self) -> AbstractContextManager[None]:
        """A scope whose writes, and their before-images, vanish when it raises."""
        ...

    def during(self, call: Call) -> AbstractContextManager[Traces]:
        """A scope in which a write that the call may not leave raises PluginInvalid.

        The engine's own: it is around the function already.
        """
        ...
