"""SqlRecords: the records port on SQLAlchemy, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from sqlalchemy import Connection, select

from domain.records import (
    Call,
    Change,
    Deletion,
    Lookup,
    Missing,
    Probe,
    RecordTable,
    Stale,
    Traces,
    Values,
    Writer,
    WriteResult,
    Written,
)
from streams.stores.infrastructure import is_fault
from streams.stores.records import images as before
from streams.stores.records import probing
from streams.stores.records import rows as store
from streams.stores.records.backend import Backend
from streams.stores.records.bounds import ANYBODY, Bounds
from streams.stores.records.dialects import backend_of
from streams.stores.records.history import Journal
from streams.stores.records.images import Batch, Images, Kind
from streams.stores.records.marks import first_of
from streams.stores.records.reading import (
    by_ids,
    by_ids_prepared,
    columns_of,
    keys_of,
    looked_up,
)
from streams.stores.records.refusals import refusals
from streams.stores.records.rows import Loaded
from streams.stores.records.scope import Discarded, savepoint
from streams.stores.records.shape import OWN, Shape, completed, shape_of
from streams.stores.records.together import KNOWN_ROWS, Kept, Together

Request = TypeVar("Request", Change, Deletion)


class SqlRecords:
    """Records of one tenant, written by one writer; implements :class:`domain.records.Records`.

    ``now`` is in seconds since the epoch. A write that raises RecordRefused (or anything
    else) has done nothing, whatever the caller does next. ``together`` is what the writers
    of one transaction share; who gives it must flush it.
    """

    def __init__(
        self, connection: Connection, writer: Writer, now: float, together: Together | None = None
    ) -> None:
        self._connection = connection
        self._writer = writer
        self._now = now
        self._backend: Backend = backend_of(connection.dialect)
        self._together = together or Together(connection)
        self._together.enter()
        self._journal = Journal(connection, writer, now, self._together)
        self._images = Images()
        self._untouched = False
        """Whether a savepoint stands and nothing was written since."""
        self._bounds = ANYBODY
        self._parts: list[int] = []
        """The items with which parts of files begin."""

    # -- writes -----------------------------------------------------------------------

    def insert(
        self,
        table: RecordTable,
        columns: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
        positions: Sequence[int],
    ) -> range:
        """Insert new records at version 1; see the port."""
        if len(rows) != len(positions):
            raise ValueError(f"{len(rows)} rows need as many positions, not {len(positions)}")
        if not rows:
            return range(0)
        shape = self._shape(table)
        positions = self._bounds.of_records(shape.name, positions)
        keys, values = completed(shape, columns, rows)
        cells = self._backend.cells(shape, keys, values)
        with self._scope(shape):
            self._together.inserted(shape)
            count = len(rows)
            ids = self._together.take_ids(shape, self._journal.table_id(shape), count)
            tenant = self._writer.tenant
            full = [(key, 1, tenant, *row) for key, row in zip(ids, cells, strict=True)]
            self._backend.insert(self._connection, shape, (*OWN, *keys), full)
            self._journal.inserted(shape, ids)
            if self._together.sights is not None:
                self._together.sights.inserted(shape.name, ids)
            self._images.append(
                Batch(
                    Kind.INSERTED,
                    shape.name,
                    ids=list(ids),
                    versions=[1] * count,
                    positions=positions,
                )
            )
        return ids

    def update(self, table: RecordTable, changes: Sequence[Change]) -> list[WriteResult]:
        """Change records; see the port."""
        shape = self._shape(table)
        self._bounds.of_records(shape.name, [change.position for change in changes])
        for keys in {tuple(change.values) for change in changes}:
            shape.check_columns(keys)
        results: dict[int, WriteResult] = {}
        with self._scope(shape):
            self._together.changed(shape)
            for turn in _turns([change.id for change in changes]):
                self._update_turn(shape, {index: changes[index] for index in turn}, results)
        return [results[index] for index in range(len(changes))]

    def delete(self, table: RecordTable, deletions: Sequence[Deletion]) -> list[WriteResult]:
        """Delete records; see the port."""
        shape = self._shape(table)
        self._bounds.of_records(shape.name, [deletion.position for deletion in deletions])
        results: dict[int, WriteResult] = {}
        with self._scope(shape):
            self._together.changed(shape)
            for turn in _turns([deletion.id for deletion in deletions]):
                self._delete_turn(shape, {index: deletions[index] for index in turn}, results)
        return [results[index] for index in range(len(deletions))]

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A scope whose writes, and their before-images, vanish when it raises."""
        images, journal = self._images.mark(), self._journal.mark()
        standing, parts = self._untouched, len(self._parts)
        try:
            with savepoint(self._connection, self._together, standing=standing):
                self._untouched = True
                yield
        except BaseException:
            self._images.rewind(images)
            self._journal.rewind(journal)
            del self._parts[parts:]
            self._untouched = standing
            raise
        if not standing:
            self._untouched = False

    @contextmanager
    def during(self, call: Call) -> Iterator[Traces]:
        """A scope of what one call may leave behind; see the port."""
        images, parts = self._images.mark(), len(self._parts)
        before, self._bounds = self._bounds, Bounds(call)
        try:
            yield lambda: self._images.since(images).union(self._parts[parts:])
        finally:
            self._bounds = before

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """A scope whose writes, and their before-images, vanish at its end."""
        with suppress(Discarded), self.savepoint():
            yield
            raise Discarded

    @property
    def connection(self) -> Connection:
        """The transaction that the records are read and written in."""
        return self._connection

    def is_fault(self, error: BaseException) -> bool:
        """Whether the database of the records is to blame for what a handler has raised."""
        return is_fault(self._connection, error)

    def part(self, position: int) -> None:
        """A part of a file is written in the same transaction: its savepoint no longer stands."""
        self._bounds.of_part(position)
        self._parts.append(position)
        self._untouched = False

    @property
    def now(self) -> float:
        """When what is written now is written, in seconds since the epoch."""
        return self._now

    @property
    def writer(self) -> Writer:
        """Who writes."""
        return self._writer

    @property
    def images(self) -> Images:
        """The before-images of all writes so far."""
        return self._images

    def encoded_images(self) -> bytes | None:
        """The before-images of all writes so far; ``None`` when there were none."""
        return before.encode(self._images)

    # -- reads ------------------------------------------------------------------------

    def fetch(
        self, table: RecordTable, ids: Sequence[int], columns: Sequence[str] = ()
    ) -> dict[int, Mapping[str, Any]]:
        """The tenant's records of those ids, each with its id; see the port."""
        shape = self._shape(table)
        chosen = keys_of(shape, columns)
        # A document in another column could be changed by whoever was given it.
        plain = shape.is_plain(chosen)
        kept = self._together.kept(self._writer.tenant, shape, chosen) if plain else {}
        rows: Kept = {key: kept[key] for key in ids if key in kept}
        missing = sorted(set(ids) - rows.keys())
        if missing:
            read: Kept = dict.fromkeys(missing)
            read.update(self._read(shape, chosen, missing))
            self._together.keep(kept, read)
            rows |= read
        return {key: dict(row) for key, row in rows.items() if row is not None}

    def _read(
        self, shape: Shape, chosen: tuple[str, ...], ids: Sequence[int]
    ) -> Iterator[tuple[int, Mapping[str, Any]]]:
        given = {"tenant": self._writer.tenant, **store.numbers(ids)}
        wanted, locked = self._watched(chosen), self._together.is_contended(shape)
        found: Sequence[Sequence[Any]]
        if shape.is_plain(chosen):
            found = by_ids_prepared(shape, wanted, locked).run(self._connection, **given).rows
        else:
            found = self._connection.execute(by_ids(shape, wanted, locked), given).all()
        self._show(shape, wanted, found)
        return ((row[0], dict(zip(chosen, row, strict=False))) for row in found)

    def _watched(self, chosen: tuple[str, ...]) -> tuple[str, ...]:
        """The columns to read, so that it is known which version was shown."""
        if self._together.sights is None or "version" in chosen:
            return chosen
        return (*chosen, "version")

    def _show(self, shape: Shape, read: tuple[str, ...], rows: Sequence[Sequence[Any]]) -> None:
        if self._together.sights is not None:
            version = read.index("version")
            self._together.sights.show(shape.name, [(row[0], row[version]) for row in rows])

    def find(
        self, table: RecordTable, *where: Any, columns: Sequence[str] = (), limit: int = 1000
    ) -> list[Mapping[str, Any]]:
        """The tenant's records that meet all conditions, by id; see the port."""
        shape = self._shape(table)
        chosen = keys_of(shape, columns)
        wanted = self._watched(chosen)
        statement = (
            select(*columns_of(shape, wanted))
            .where(shape.table.c.tenant == self._writer.tenant, *where)
            .order_by(shape.table.c.id)
            .limit(limit)
        )
        if self._together.is_contended(shape):
            statement = statement.with_for_update(key_share=True, of=shape.table)
        found = self._connection.execute(statement).all()
        self._show(shape, wanted, found)
        return [dict(zip(chosen, row, strict=False)) for row in found]

    def look_up(self, lookup: Lookup, *values: int | str) -> list[Mapping[str, Any]]:
        """The tenant's records that a question is about, by id; see the port."""
        shape = self._shape(lookup.table)
        statement = looked_up(shape, lookup, self._together.is_contended(shape))
        given = {"tenant": self._writer.tenant} | {f"v{n}": value for n, value in enumerate(values)}
        found, keys = statement.run(self._connection, **given).rows, keys_of(shape, ())
        self._show(shape, keys, found)
        return [dict(zip(keys, row, strict=True)) for row in found]

    def each(
        self, table: RecordTable, ids: Sequence[int], columns: Sequence[str] = ()
    ) -> Iterator[Mapping[str, Any]]:
        """The tenant's records of those ids, a few at a time; see the port."""
        if len(ids) <= KNOWN_ROWS:
            yield from self.fetch(table, ids, columns).values()
            return
        shape = self._shape(table)
        chosen = keys_of(shape, columns)
        wanted = self._watched(chosen)
        statement = by_ids(shape, wanted, self._together.is_contended(shape))
        given = {"tenant": self._writer.tenant, **store.numbers(sorted(set(ids)))}
        streamed = {"stream_results": True, "yield_per": KNOWN_ROWS}
        with self._connection.execute(statement, given, execution_options=streamed) as result:
            for found in result.partitions():
                self._show(shape, wanted, found)
                yield from (dict(zip(chosen, row, strict=False)) for row in found)

    def probe(
        self,
        probe: Probe,
        rows: Sequence[Values],
        without: Collection[int] = (),
    ) -> dict[int, Any]:
        """One record's answer to each row of values; see the port."""
        shape, tenant = self._shape(probe.table), self._writer.tenant
        return probing.answers(self._connection, shape, tenant, probe, rows, without)

    def first_of(self, marks: Mapping[str, int]) -> dict[str, int]:
        """The first item of the job with each of the marks; see the port."""
        self._untouched = False
        return first_of(self._connection, self._writer.job_id, marks)

    # -- within a write ---------------------------------------------------------------

    def _shape(self, table: RecordTable) -> Shape:
        return shape_of(table, self._connection.dialect)

    @contextmanager
    def _scope(self, shape: Shape) -> Iterator[None]:
        """A write of several statements, as a whole or not at all."""
        with refusals(shape.name), self.savepoint():
            self._untouched = False
            yield

    def _update_turn(
        self, shape: Shape, changes: Mapping[int, Change], results: dict[int, WriteResult]
    ) -> None:
        """Change records of which none comes twice."""
        present = self._load(shape, changes.values())
        allowed = _allowed(changes, present, results)
        for keys, group in _by_columns(allowed).items():
            values = [tuple(change.values.values()) for change in group]
            cells = self._backend.cells(shape, keys, values)
            rows = [
                (*row, present[change.id][0] + 1, change.id)
                for row, change in zip(cells, group, strict=True)
            ]
            self._backend.update(self._connection, shape, keys, rows)
        self._note(Kind.UPDATED, shape, allowed, present)

    def _delete_turn(
        self, shape: Shape, deletions: Mapping[int, Deletion], results: dict[int, WriteResult]
    ) -> None:
        """Delete records of which none comes twice."""
        present = self._load(shape, deletions.values())
        allowed = _allowed(deletions, present, results)
        ids = [deletion.id for deletion in allowed]
        store.remove(self._connection, shape, ids)
        self._note(Kind.DELETED, shape, allowed, present)

    def _load(self, shape: Shape, requests: Iterable[Change | Deletion]) -> Loaded:
        ids = [request.id for request in requests]
        present = store.load(self._connection, shape, self._writer.tenant, ids)
        if self._together.sights is not None:
            self._together.sights.check(shape.name, ids, present)
        return present

    def _note(
        self, kind: Kind, shape: Shape, done: Sequence[Change | Deletion], present: Loaded
    ) -> None:
        """History and before-images of what was done."""
        if not done:
            return
        ids = [request.id for request in done]
        versions = [present[key][0] + 1 for key in ids]
        pairs = list(zip(ids, versions, strict=True))
        deleted = kind is Kind.DELETED
        self._journal.changed(shape, pairs, deleted=deleted)
        if self._together.sights is not None:
            self._together.sights.wrote(shape.name, pairs, deleted=deleted)
        self._images.append(
            Batch(
                kind,
                shape.name,
                columns=shape.business,
                ids=ids,
                versions=versions,
                positions=self._bounds.named([request.position for request in done]),
                rows=[present[key][1] for key in ids],
            )
        )


def _turns(ids: Sequence[int]) -> list[list[int]]:
    """Indexes into ``ids``, cut so that no id comes twice in a turn; order within an id is kept."""
    if len(set(ids)) == len(ids):
        return [list(range(len(ids)))]
    turns: list[list[int]] = []
    seen: dict[int, int] = {}
    for index, key in enumerate(ids):
        turn = seen.get(key, 0)
        seen[key] = turn + 1
        if turn == len(turns):
            turns.append([])
        turns[turn].append(index)
    return turns


_MISSING = Missing()


def _allowed(
    requests: Mapping[int, Request], present: Loaded, results: dict[int, WriteResult]
) -> list[Request]:
    """The requests that may be done; ``results`` gets the result of every one."""
    allowed: list[Request] = []
    for index, request in requests.items():
        found = present.get(request.id)
        if found is None:
            results[index] = _MISSING
        elif request.version is not None and request.version != found[0]:
            results[index] = Stale(found[0])
        else:
            results[index] = Written(found[0] + 1)
            allowed.append(request)
    return allowed


def _by_columns(changes: Sequence[Change]) -> dict[tuple[str, ...], list[Change]]:
    groups: dict[tuple[str, ...], list[Change]] = {}
    for change in changes:
        groups.setdefault(tuple(change.values), []).append(change)
    return groups
