"""Workbooks (XLSX) with the rows that :mod:`.delimited` has as lines.

All sheets with the header of the first one are read, one after the other. What is rejected is
kept as a line of CSV, and written into a workbook again.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any, BinaryIO

from domain.systems.annotations.formats.archives import EMPTY_MAGIC, MAGIC, names_at_start
from domain.systems.annotations.formats.contract import (
    Bounds,
    FileRefused,
    Format,
    ReadOptions,
    Subject,
    WriteOptions,
)
from domain.systems.annotations.formats.documents import Document, Loss, Rejected
from domain.systems.annotations.formats.encoding import Encoding
from domain.systems.annotations.formats.formulas import guarded
from domain.systems.annotations.formats.losses import differences
from domain.systems.annotations.formats.records import text_of
from domain.systems.annotations.formats.rows import Dialect, Row
from domain.systems.annotations.formats.spill import Spill
from domain.systems.annotations.formats.table import Table, header_of
from domain.systems.annotations.formats.table_rejects import DOCUMENT, Numbering, numbering
from domain.systems.annotations.formats.table_rows import cell_text, header, read_back, rows_of
from domain.systems.annotations.formats.workbook import SHARED, Workbook
from domain.systems.annotations.formats.workbook_writing import Cell, Group, fits, workbook

_LINES = Dialect(",", '"', None)
_UTF8 = Encoding("utf-8")
MAX_WHOLE = 10**15
"""Numbers in cells are floating: beyond that, whole ones are written as texts."""


def read(stream: BinaryIO, options: ReadOptions) -> Iterator[Document | Rejected]:
    """The documents of a file, and the rows that are at fault."""
    with Spill(SHARED) as spill:
        book = Workbook(stream, options.bounds, spill)
        first: Row | None = None
        for sheet in book.sheets:
            rows = book.rows(sheet)
            top = next(rows, None)
            if top is None:
                continue
            where = None if first is None else sheet.name
            first = first or _header(top)
            if top.cells != first.cells or top.fault is not None:
                yield _another(sheet.name, top)
                continue
            table = Table(header_of(first, options), _LINES, _UTF8, options)
            for row in rows:
                yield from _of_sheet(table.take(_lined(row, len(first.cells))), where)
            yield from _of_sheet(table.end(), where)
        if first is None:
            raise FileRefused("the workbook has no row; upload one with a header and rows")


def write(documents: Iterable[Document], options: WriteOptions) -> Iterator[bytes]:
    """A workbook with a header, and the rows of each document that fits into cells."""
    groups = ([_row(row) for row in rows] for rows in rows_of(documents, options))
    names = [guarded(name) for name in header(options)]
    yield from workbook(names, (group for group in groups if _all_fit(group)))


def rejects(
    rejected: Iterable[Rejected], source: BinaryIO, options: ReadOptions
) -> Iterator[bytes]:
    """A workbook with the header of the file and the rejected rows, each text with a number."""
    kept = (piece for piece in rejected if piece.raw)
    begun = list(islice(kept, 2))
    first = _first_row(source, options.bounds)
    numbers = numbering(first, options, begun)
    cells = numbers.cells(first.cells, 0) if numbers.guarded else first.cells
    names = [DOCUMENT, *cells] if numbers.added else cells
    texts = enumerate(chain(begun, kept), start=1)
    yield from workbook(names, (_numbered(piece, number, numbers) for number, piece in texts))


def losses(document: Document, options: WriteOptions) -> Iterable[Loss]:
    """A text of which something is too long for a cell is left out."""
    (rows,) = rows_of([document], options)
    kept = _all_fit([_row(row) for row in rows])
    return differences(text_of(document), read_back(document) if kept else None)


def likeness(head: bytes, name: str) -> float:
    """By the names of the first members."""
    if not head.startswith((MAGIC, EMPTY_MAGIC)):
        return 0.0
    names = names_at_start(head)
    if any(one.startswith("xl/") for one in names):
        return 0.97
    of_office = "[Content_Types].xml" in names
    return 0.9 if of_office and name.lower().endswith((".xlsx", ".xlsm")) else 0.0


def _header(top: Row) -> Row:
    if top.fault is not None:
        raise FileRefused(f"the header in row {top.line}: {top.fault.message}")
    return top


def _lined(row: Row, width: int) -> Row:
    """A row as wide as the header where it is narrower, with what it is as a line."""
    cells = [*row.cells, *[""] * (width - len(row.cells))]
    return replace(row, cells=cells, raw=_line(cells))


def _line(cells: Sequence[str]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue()


def _numbered(piece: Rejected, number: int, numbers: Numbering) -> Group:
    """The cells of a rejected text, with its number."""
    text = io.StringIO(piece.raw.decode("utf-8", "surrogateescape"), newline="")
    before = [str(number)] if numbers.added else []
    return [
        [*before, *(cell or None for cell in numbers.cells(row, number))]
        for row in csv.reader(text)
    ]


def _first_row(source: BinaryIO, bounds: Bounds) -> Row:
    with Spill(SHARED) as spill:
        book = Workbook(source, bounds, spill)
        return next(row for sheet in book.sheets for row in book.rows(sheet))


def _of_sheet(
    found: Iterable[Document | Rejected], sheet: str | None
) -> Iterator[Document | Rejected]:
    """What was found, with the name of its sheet where that is not the first."""
    for one in found:
        yield replace(one, file=sheet) if isinstance(one, Rejected) else one


def _another(sheet: str, top: Row) -> Rejected:
    said = "the sheet has another header than the first one; give it the same, or a file of its own"
    return Rejected(top.line, "other_header", said, b"", sheet)


def _row(values: Iterable[Any]) -> list[Cell]:
    """Numbers as they are, all else as text that runs nowhere, not in a CSV made of it either."""
    return [
        value if _is_number(value) or value is None else guarded(cell_text(value))
        for value in values
    ]


def _is_number(value: Any) -> bool:
    """Whether it is a number that a cell gives back as it was."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < MAX_WHOLE


def _all_fit(group: Group) -> bool:
    return all(fits(value) for row in group for value in row)


FORMAT = Format(
    name="xlsx",
    title="Excel workbook (XLSX)",
    subject=Subject.TEXT,
    media_type="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    suffix=".xlsx",
    read=read,
    rejects=rejects,
    likeness=likeness,
    write=write,
    losses=losses,
)
