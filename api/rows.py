"""Rows: items of a job as lines of CSV or NDJSON, in blocks fit for the network."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Generic, TypeVar

import orjson

from api.bodies import LARGE
from api.documents import item_document
from api.fields import only
from streams.items import ItemView

Row = TypeVar("Row")

BLOCK = 64_000
BESIDE = 256_000
"""So much is written in a thread at once: to ask for less takes longer than to write it."""
AT_ONCE = 100
"""Rows that are written at once, if they are not large."""

COLUMNS = (
    "position",
    "status",
    "code",
    "message",
    "pointer",
    "retryable",
    "score",
    "duration_ms",
    "chunk",
    "attempt",
    "result",
    "changes",
)

_FORMULA = re.compile(r"\s*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")


def sent_size(view: ItemView) -> int:
    """How much was sent of an item."""
    return len(view.line)


def nothing_sent(_row: Any) -> int:
    """As of rows that are made of nothing that was sent."""
    return 0


class Writer(Generic[Row]):
    """Writes rows, several at once: in the event loop when they are small, else in a thread.

    ``size`` is how much was sent of a row, where it has to be made of that. How large a result
    is shows only when it is written: rows are taken to be like the last ones, the first row
    goes alone, and whatever is too large on the way ends what is written with it.
    """

    def __init__(
        self, write: Callable[[Row], bytes], size: Callable[[Row], int] = nothing_sent
    ) -> None:
        self._write = write
        self._size = size
        self._rows: list[Row] = []
        self._sent = 0
        self._small = False
        """Whether the last rows were."""
        self._fitting = 1
        """So many rows are written next."""

    @property
    def waiting(self) -> bool:
        """Whether rows are not written yet."""
        return bool(self._rows)

    @property
    def due(self) -> bool:
        """Whether as many rows wait as are written at once."""
        return len(self._rows) >= self._fitting or self._sent >= BESIDE

    def add(self, row: Row) -> None:
        """One more row to write."""
        self._rows.append(row)
        self._sent += self._size(row)

    async def write(self) -> list[bytes]:
        """The next rows of those that wait, one or more."""
        rows = self._rows[: self._fitting]
        if self._small and self._sent < LARGE:
            written = self._first(rows, LARGE)
        else:
            written = await asyncio.to_thread(self._first, rows, BESIDE)
        done = rows[: len(written)]
        del self._rows[: len(done)]
        self._sent -= sum(map(self._size, done))
        self._expect(len(done), sum(map(len, written)))
        return written

    def _first(self, rows: Sequence[Row], most: int) -> list[bytes]:
        """All rows as they are written, or the first ones if those are ``most`` already."""
        written: list[bytes] = []
        size = 0
        for row in rows:
            written.append(self._write(row))
            size += len(written[-1])
            if size >= most:
                break
        return written

    def _expect(self, count: int, size: int) -> None:
        """The next rows are like the last ones, of which so many had this size."""
        self._small = AT_ONCE * size < LARGE * count
        self._fitting = max(1, min(AT_ONCE, BESIDE * count // max(size, 1)))


def blocks(
    views: AsyncGenerator[Row, None],
    line: Callable[[Row], bytes],
    head: bytes = b"",
    *,
    size: Callable[[Row], int] = nothing_sent,
) -> AsyncGenerator[bytes, None]:
    """The lines of all rows, put together to blocks of about ``BLOCK`` bytes.

    ``size`` is how much was sent of a row, where its line has to be made of that.
    """
    return _blocks(_pieces(views, Writer(line, size)), head)


def sent_blocks(views: AsyncGenerator[ItemView, None]) -> AsyncGenerator[bytes, None]:
    """The items as they were sent, byte by byte: what a submit takes again."""
    return _blocks(_sent(views))


async def _sent(views: AsyncGenerator[ItemView, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(views):
        async for view in views:
            yield view.line + b"\n"


async def _blocks(
    pieces: AsyncGenerator[bytes, None], head: bytes = b""
) -> AsyncGenerator[bytes, None]:
    block = bytearray(head)
    async with aclosing(pieces):
        async for piece in pieces:
            block += piece
            if len(block) >= BLOCK:
                yield bytes(block)
                block.clear()
    yield bytes(block)


async def _pieces(
    views: AsyncGenerator[Row, None], writer: Writer[Row]
) -> AsyncGenerator[bytes, None]:
    """The lines of all rows, as many together as are written at once."""
    async with aclosing(views):
        async for view in views:
            writer.add(view)
            while writer.due:
                yield b"".join(await writer.write())
    while writer.waiting:
        yield b"".join(await writer.write())


def json_line(
    fields: frozenset[str] | None = None, *, payload: bool
) -> Callable[[ItemView], bytes]:
    """How a view becomes a line of NDJSON."""
    return lambda view: line_of(only(item_document(view, payload=payload), fields))


def line_of(document: Mapping[str, Any]) -> bytes:
    """A document as a line of NDJSON."""
    return orjson.dumps(document) + b"\n"


def csv_head(*, payload: bool) -> bytes:
    """The line with the names of the columns."""
    return _csv([*COLUMNS, "item"] if payload else list(COLUMNS))


def csv_line(*, payload: bool) -> Callable[[ItemView], bytes]:
    """How a view becomes a line of CSV (RFC 4180); results and items are JSON in a cell."""

    def line(view: ItemView) -> bytes:
        error = view.error
        cells: list[Any] = [
            view.position,
            view.status.value,
            error.code if error else None,
            error.message if error else None,
            error.pointer if error else None,
            error.retryable if error else None,
            view.score,
            view.duration_ms,
            view.chunk,
            view.attempt,
            _json(view.result),
            _json(view.changes),
        ]
        return _csv([*cells, _json(view.item)] if payload else cells)

    return line


def _json(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def _csv(cells: list[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow([_cell(cell) for cell in cells])
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    """A cell that no spreadsheet takes for a formula; numbers stay numbers."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text
