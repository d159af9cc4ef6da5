"""Together: what the writers of one transaction share, so that many cost little more than one.

Several small chunks are worked in one transaction, each by a writer of its own. What one
has looked up holds for the next, ids are taken for all of them, and the history of new records
waits for ``flush``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import orjson
from sqlalchemy import (
    Connection,
    Dialect,
    bindparam,
    insert,
    select,
    update,
)

from domain.records import Writer
from streams.stores.records.backend import NUMBERS
from streams.stores.records.dialects import backend_of
from streams.stores.records.shape import Shape
from streams.stores.records.sights import Contention, Sights
from streams.stores.schema import writers
from streams.stores.statements import Prepared, fixed, prepare

KNOWN_ROWS = 64
"""Records of a table that are kept at most; one of them may be a text of a million characters."""

Kept = dict[int, Mapping[str, Any] | None]
"""Records by id; ``None`` where there is none."""
By = tuple[Writer, int]
"""Who writes to which table."""
Mark = tuple[dict[str, int], dict[By, int], dict[str, range], int, int]
"""Numbers of tables and writers, ids that are left, how much waits, and how much was written."""


@dataclass(frozen=True, slots=True)
class Wrote:
    """To how many records of a table somebody has written; what comes back is changed."""

    created: int = 0
    changed: int = 0
    deleted: int = 0


@dataclass(frozen=True, slots=True)
class Inserted:
    """New records of one writer, whose history waits."""

    writer: Writer
    at: float
    table: int
    ids: range


_NONE: Mapping[str, int] = MappingProxyType({})


class Together:
    """Belongs to one transaction.

    ``writers`` are how many will come, one after the other; with more than one, whoever made
    this must ``flush`` it before the commit. ``tables`` are numbers that are known already,
    ``contention`` what earlier attempts at the transaction have learned. ``sole`` says that all
    savepoints of records in the transaction are this one's.
    """

    def __init__(
        self,
        connection: Connection,
        writers: int = 1,
        *,
        tables: Mapping[str, int] = _NONE,
        contention: Contention | None = None,
        sole: bool = False,
    ) -> None:
        self.tables = dict(tables)
        self.writers: dict[By, int] = {}
        self.waits = writers > 1
        """Whether history may wait."""
        self.lingers = sole and backend_of(connection.dialect).far
        """Whether a savepoint may be left to be released with the next, or by the commit."""
        self.unreleased = False
        self.sights: Sights | None = None
        """Where others may write meanwhile."""
        self._connection = connection
        self._contention = contention or Contention()
        self._contended = frozenset(self._contention.tables)
        self._watch()
        self._left = writers
        self._waiting: list[Inserted] = []
        self._kept: dict[tuple[str, str, tuple[str, ...]], Kept] = {}
        self._ids: dict[str, range] = {}

    def _watch(self) -> None:
        backend = backend_of(self._connection.dialect)
        if not backend.alone:
            self.sights = Sights()
            if self._contended:
                backend.take_turn(self._connection, sorted(self._contended))

    def enter(self) -> None:
        """The next writer comes."""
        self._left = max(self._left - 1, 0)

    def mark(self) -> Mark:
        """What is known and waits now, for ``rewind``."""
        written = self.sights.mark() if self.sights else 0
        known = self.tables.copy(), self.writers.copy(), self._ids.copy()
        return *known, len(self._waiting), written

    def rewind(self, mark: Mark) -> None:
        """Forget what came after the mark."""
        self.tables, self.writers, ids, waiting, written = mark
        # Where they are not free again, what is left of a block is still ours: to take it for
        # lost would draw another one for each chunk of a dry run.
        if backend_of(self._connection.dialect).gives_back:
            self._ids = ids
        del self._waiting[waiting:]
        if self.sights:
            self.sights.rewind(written)
        self._kept.clear()

    # -- reads ------------------------------------------------------------------------

    def kept(self, tenant: str, shape: Shape, columns: tuple[str, ...]) -> Kept:
        """Records that were read before and not written since; of columns that are plain."""
        return self._kept.setdefault((shape.name, tenant, columns), {})

    def keep(self, kept: Kept, rows: Kept) -> None:
        """Keep a few records that were just read."""
        if len(kept) + len(rows) > KNOWN_ROWS:
            kept.clear()
        if len(rows) <= KNOWN_ROWS:
            kept.update(rows)

    def inserted(self, shape: Shape) -> None:
        """A table has more records: what was read of it no longer holds."""
        for key in [key for key in self._kept if key[0] == shape.name]:
            del self._kept[key]

    def changed(self, shape: Shape) -> None:
        """Records change or go, and with them whatever the database ties to them."""
        self._kept.clear()
        self._contention.tables.add(shape.name)

    def is_contended(self, shape: Shape) -> bool:
        """Whether records of a table are to be locked when they are read."""
        return shape.name in self._contended

    # -- writes -----------------------------------------------------------------------

    def take_ids(self, shape: Shape, table: int, count: int) -> range:
        """Ids that nobody had before, consecutive; the next writers may have some of the rest."""
        backend = backend_of(shape.dialect)
        if not self.waits:
            first = backend.allocate(self._connection, shape, table, count)
            return range(first, first + count)
        ids = self._ids.get(shape.name, range(0))
        if len(ids) < count:
            more = count * (self._left + 1)
            first = backend.allocate(self._connection, shape, table, more)
            ids = range(first, first + more)
        self._ids[shape.name] = ids[count:]
        return ids[:count]

    def wait(self, inserted: Inserted) -> None:
        """Have the history of new records written by ``flush``."""
        self._waiting.append(inserted)

    def flush(self) -> None:
        """Write what waits, together; raises RecordsOvertaken if a handler hid it."""
        if self.sights:
            self.sights.confirm()
        if not self._waiting:
            return
        self._count_waiting()
        several = [
            (one.table, one.ids[0], one.ids[-1], self.writers[one.writer, one.table])
            for one in self._waiting
        ]
        self._waiting.clear()
        backend_of(self._connection.dialect).note_new(self._connection, several)

    def _count_waiting(self) -> None:
        """Who wrote what waits, and how much."""
        counts: Counter[By] = Counter()
        for one in self._waiting:
            counts[one.writer, one.table] += len(one.ids)
        for by in counts.keys() & self.writers.keys():
            count_more(self._connection, self.writers[by], Wrote(created=counts.pop(by)))
        times = {(one.writer, one.table): one.at for one in reversed(self._waiting)}
        self._add_writers(counts, times)

    def _add_writers(self, counts: Mapping[By, int], times: Mapping[By, float]) -> None:
        """Those of a job differ by generation, chunk and table."""
        by_job: dict[tuple[str, str, str], dict[tuple[int, int, int], By]] = {}
        for by in counts:
            writer, table = by
            same = by_job.setdefault((writer.tenant, writer.actor, writer.job_id), {})
            same[writer.generation, writer.chunk, table] = by
        for (tenant, actor, job_id), same in by_job.items():
            rows = [(*key, counts[by]) for key, by in same.items()]
            found = _add_writers(self._connection.dialect).run(
                self._connection,
                tenant=tenant,
                actor=actor,
                job_id=job_id,
                written_at=min(times[by] for by in same.values()),
                **{NUMBERS: orjson.dumps(rows).decode()},
            )
            for number, *key in found:
                generation, chunk, table = key
                self.writers[same[generation, chunk, table]] = int(number)


def count_more(connection: Connection, writer: int, wrote: Wrote) -> None:
    """Somebody who has written to a table writes to more of its records."""
    _count_more.run(connection, by=writer, **asdict(wrote))


_count_more = fixed(
    update(writers)
    .where(writers.c.writer == bindparam("by"))
    .values(
        created=writers.c.created + bindparam("created"),
        changed=writers.c.changed + bindparam("changed"),
        deleted=writers.c.deleted + bindparam("deleted"),
    )
)


@lru_cache(maxsize=16)
def _add_writers(dialect: Dialect) -> Prepared:
    columns = writers.c
    chunks = backend_of(dialect).numbers(4)
    source = select(
        bindparam("tenant", type_=columns.tenant.type),
        bindparam("actor", type_=columns.actor.type),
        bindparam("job_id", type_=columns.job_id.type),
        chunks.c.n0,
        chunks.c.n1,
        bindparam("written_at", type_=columns.written_at.type),
        chunks.c.n2,
        chunks.c.n3,
    )
    names = ["tenant", "actor", "job_id", "generation", "chunk", "written_at"]
    names += ["table_id", "created"]
    added = insert(writers).from_select(names, source, include_defaults=False)
    keys = columns.writer, columns.generation, columns.chunk, columns.table_id
    return prepare(added.returning(*keys), dialect)
