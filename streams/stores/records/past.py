"""Past: the versions of one record, who wrote them, and what is still known of their values.

Who and when is in the history, for ever. The values are in the before-images of the write
that came next, and the last ones in the record itself; where an image was never made, as of
an edit by hand, or is gone, they are not known, and nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from domain.events import Cause
from domain.records import Writer
from streams.stores.records import images as before
from streams.stores.records.dialects import backend_of
from streams.stores.records.images import Images, Kind
from streams.stores.records.rows import peek
from streams.stores.records.shape import Shape
from streams.stores.schema import chunks, history, outcomes, record_tables, writers

BYTES = 4_000_000
"""With so much of values a page is handed on before its end."""
STEP = 50
"""Writes that are read at once on the way back."""
MAX_STEPS = 20
"""How far back is looked for who wrote a value; at most, since each may need an image."""

Cells = Mapping[str, Any]
State = Cells | None
"""A record's business columns as cells, empty while it is not there; None is not known."""

ABSENT: Cells = {}


@dataclass(frozen=True, slots=True)
class Write:
    """One write to a record; ``cause`` is that of its chunk, None for an edit by hand."""

    version: int
    deleted: bool
    writer: Writer
    at: float
    cause: Cause | None


@dataclass(frozen=True, slots=True)
class Changed:
    """A column that a write has given another value."""

    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Version:
    """A write with what it left and what it changed; None where that is not known.

    ``values`` are empty after a deletion; a record that came into being has changed all of
    its columns from None.
    """

    write: Write
    values: Mapping[str, Any] | None
    changed: Mapping[str, Changed] | None


@dataclass(frozen=True, slots=True)
class Blame:
    """Who wrote a column's present value; if not ``certain``, that write or an earlier one."""

    value: Any
    write: Write
    certain: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """A record as it is: its last write, and the blame of each column, none if it is deleted."""

    last: Write
    columns: Mapping[str, Blame]


class Past:
    """Looks back at one record of a tenant; belongs to one transaction."""

    def __init__(self, connection: Connection, shape: Shape, tenant: str, record_id: int) -> None:
        self._connection = connection
        self._shape = shape
        self._tenant = tenant
        self._record_id = record_id
        self._images: tuple[tuple[str, int], Images | None] | None = None

    def page(self, cursor: int | None, limit: int) -> tuple[list[Version], int | None]:
        """Versions below ``cursor``, the latest first, and the cursor of the next page."""
        writes = self._writes(cursor, limit + 1)
        found: list[tuple[Write, State, State]] = []
        size = 0
        after = self._left_by(writes[0], cursor) if writes else ABSENT
        for write in writes[:limit]:
            earlier = self._before(write)
            found.append((write, ABSENT if write.deleted else after, earlier))
            size += sum(len(cell) for cell in (earlier or ABSENT).values() if _is_long(cell))
            after = earlier
            if size > BYTES:
                break
        following = found[-1][0].version if len(found) < len(writes) else None
        return self._shown(found), following

    def is_known(self) -> bool:
        """Whether the tenant ever had the record."""
        return bool(self._writes(None, 1))

    def standing(self) -> Standing | None:
        """Who wrote what the record has now; None for one that the tenant never had."""
        writes = self._writes(None, 1)
        if not writes:
            return None
        last = writes[0]
        version, present = self._present()
        # Whoever wrote past the port has left no trace of it.
        blamed = self._blamed(present) if version == last.version else {}
        (values,) = self._values([present])
        columns = {key: Blame(values[key], *blamed.get(key, (last, False))) for key in present}
        return Standing(last, columns)

    # -- the way back -------------------------------------------------------------------

    def _blamed(self, present: Cells) -> dict[str, tuple[Write, bool]]:
        """By column, the write that gave it its present value, and whether that is certain."""
        found: dict[str, tuple[Write, bool]] = {}
        left = set(present)
        last: Write | None = None
        for write in self._back():
            last = write
            earlier = self._before(write)
            if earlier is None:
                return found | dict.fromkeys(left, (write, False))
            # A column that the table got later is in no image of that time.
            news = {key for key in left if not earlier or earlier.get(key) != present[key]}
            found |= {key: (write, not earlier or key in earlier) for key in news}
            left -= news
            if not left:
                return found
        if last is not None:
            found |= dict.fromkeys(left, (last, False))
        return found

    def _back(self) -> Iterator[Write]:
        cursor: int | None = None
        for _ in range(MAX_STEPS):
            writes = self._writes(cursor, STEP)
            yield from writes
            if len(writes) < STEP:
                return
            cursor = writes[-1].version

    def _writes(self, below: int | None, limit: int) -> list[Write]:
        """Writes of the tenant to versions ``below``, the latest first."""
        statement = self._select().order_by(history.c.version.desc()).limit(limit)
        if below is not None:
            statement = statement.where(history.c.version < below)
        return [_write(row) for row in self._connection.execute(statement)]

    def _select(self) -> Select[Any]:
        of_chunk = (chunks.c.job_id == writers.c.job_id) & (chunks.c.chunk == writers.c.chunk)
        return (
            select(history.c.version, history.c.deleted, writers, chunks.c.cause)
            .select_from(history)
            .join(record_tables, record_tables.c.table_id == history.c.table_id)
            .join(writers, writers.c.writer == history.c.writer)
            .outerjoin(chunks, of_chunk)
            .where(
                record_tables.c.name == self._shape.name,
                history.c.record_id == self._record_id,
                writers.c.tenant == self._tenant,
            )
        )

    # -- values -------------------------------------------------------------------------

    def _left_by(self, write: Write, cursor: int | None) -> State:
        """What a write has left: what the next one has overwritten, or the record itself."""
        if cursor is not None:
            behind = self._select().where(history.c.version > write.version)
            row = self._connection.execute(behind.order_by(history.c.version).limit(1)).first()
            if row is not None:
                return self._before(_write(row))
        version, present = self._present()
        return present if version == write.version else None

    def _present(self) -> tuple[int | None, Cells]:
        """The version and the cells of the record, if it is there."""
        found = peek(self._connection, self._shape, self._tenant, self._record_id)
        if found is None:
            return None, ABSENT
        return found[0], dict(zip(self._shape.business, found[1], strict=True))

    def _before(self, write: Write) -> State:
        """What a write has overwritten."""
        images = self._images_of(write.writer)
        for batch in images.batches if images is not None else ():
            if batch.table != self._shape.name:
                continue
            for place, (key, version) in enumerate(zip(batch.ids, batch.versions, strict=True)):
                if key == self._record_id and version == write.version:
                    if batch.kind is Kind.INSERTED:
                        return ABSENT
                    cells = dict(zip(batch.columns, batch.rows[place], strict=True))
                    return {key: cells[key] for key in self._shape.business if key in cells}
        return None

    def _images_of(self, writer: Writer) -> Images | None:
        if not writer.job_id:
            return None
        own = writer.job_id, writer.chunk
        if self._images is None or self._images[0] != own:
            data = self._connection.scalar(
                select(outcomes.c.images).where(
                    outcomes.c.job_id == writer.job_id, outcomes.c.chunk == writer.chunk
                )
            )
            # One after the other mostly comes from the same chunk, and one may be large.
            self._images = own, None if data is None else before.decode(bytes(data))
        return self._images[1]

    def _shown(self, found: Sequence[tuple[Write, State, State]]) -> list[Version]:
        values = self._values(
            [state for _, after, earlier in found for state in (after or ABSENT, earlier or ABSENT)]
        )
        versions = []
        for place, (write, after, earlier) in enumerate(found):
            now, was = values[2 * place], values[2 * place + 1]
            changed = None
            if after is not None and earlier is not None:
                keys = [key for key in after if not earlier or earlier.get(key) != after[key]]
                known = [key for key in keys if not earlier or key in earlier]
                changed = {key: Changed(was.get(key), now[key]) for key in known}
            versions.append(Version(write, None if after is None else now, changed))
        return versions

    def _values(self, states: Sequence[Cells]) -> list[dict[str, Any]]:
        """Cells as the Python values of their columns."""
        keys = self._shape.business
        rows = [tuple(state.get(key) for key in keys) for state in states]
        backend = backend_of(self._shape.dialect)
        values = backend.values(self._connection, self._shape, keys, rows)
        return [
            {key: value for key, value in zip(keys, row, strict=True) if key in state}
            for state, row in zip(states, values, strict=True)
        ]


def _write(row: Row[Any]) -> Write:
    writer = Writer(row.tenant, row.actor, row.job_id, row.generation, row.chunk)
    by_job = bool(row.job_id) and row.cause is not None
    return Write(
        row.version,
        bool(row.deleted),
        writer,
        row.written_at,
        Cause(row.cause) if by_job else None,
    )


def _is_long(cell: Any) -> bool:
    return isinstance(cell, str | bytes)
