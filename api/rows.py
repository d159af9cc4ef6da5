"""Rows: items of a job as lines of CSV or NDJSON, in blocks fit for the network."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

import orjson

from api.documents import item_document
from api.fields import only
from streams.items import ItemView

Row = TypeVar("Row")
Written = TypeVar("Written")

BLOCK = 64_000
LARGE = 32_000
"""What was sent of this size is written in a thread, so that nobody else waits for it."""

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


def _nothing_sent(_row: Any) -> int:
    return 0


async def written(write: Callable[[Row], Written], row: Row, size: int) -> Written:
    """What ``write`` makes of a row, beside the event loop when so much was sent of it."""
    return write(row) if size < LARGE else await asyncio.to_thread(write, row)


async def blocks(
    views: AsyncGenerator[Row, None],
    line: Callable[[Row], bytes],
    head: bytes = b"",
    *,
    size: Callable[[Row], int] = _nothing_sent,
) -> AsyncGenerator[bytes, None]:
    """The lines of all rows, put together to blocks of about ``BLOCK`` bytes.

    ``size`` is how much was sent of a row, where its line has to be made of that.
    """
    block = bytearray(head)
    async with aclosing(views):
        async for view in views:
            block += await written(line, view, size(view))
            if len(block) >= BLOCK:
                yield bytes(block)
                block.clear()
    yield bytes(block)


def json_line(
    fields: frozenset[str] | None = None, *, payload: bool
) -> Callable[[ItemView], bytes]:
    """How a view becomes a line of NDJSON."""
    return lambda view: line_of(only(item_document(view, payload=payload), fields))


def line_of(document: Mapping[str, Any]) -> bytes:
    """A document as a line of NDJSON."""
    return orjson.dumps(document) + b"\n"


def sent_line(view: ItemView) -> bytes:
    """The item as it was sent, byte by byte: what a submit takes again."""
    return view.line + b"\n"


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
