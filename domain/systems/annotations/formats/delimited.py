"""Delimited text (CSV, TSV and the like): one row an annotation, with its text.

How a text becomes rows: :mod:`.table_rows`. Files of others have no column ``document``: there
rows that follow one another with the same key and content are one text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import BinaryIO

from domain.systems.annotations.formats.contract import (
    Bounds,
    FileRefused,
    Format,
    ReadOptions,
    Subject,
    WriteOptions,
)
from domain.systems.annotations.formats.documents import Document, Loss, Rejected
from domain.systems.annotations.formats.encoding import Encoding, encoding_of, head_text, lines
from domain.systems.annotations.formats.formulas import guarded
from domain.systems.annotations.formats.losses import differences
from domain.systems.annotations.formats.records import text_of
from domain.systems.annotations.formats.rows import Dialect, Row, dialect_of, first_rows, rows
from domain.systems.annotations.formats.table import Table, header_of
from domain.systems.annotations.formats.table_rejects import DOCUMENT, Numbering, numbering
from domain.systems.annotations.formats.table_rows import (
    COLUMNS,
    cell_text,
    header,
    read_back,
    rows_of,
)


def read(stream: BinaryIO, options: ReadOptions) -> Iterator[Document | Rejected]:
    """The documents of a file, and the rows that are at fault."""
    encoding = encoding_of(stream, options.encoding)
    dialect = dialect_of(encoding.beginning_of(stream), options.dialect, _wanted(options))
    found = rows(lines(stream, encoding, options.bounds.line), dialect, options.bounds)
    table = Table(header_of(_header(found), options), dialect, encoding, options)
    for row in found:
        yield from table.take(row)
    yield from table.end()


def write(documents: Iterable[Document], options: WriteOptions) -> Iterator[bytes]:
    """A header, and the rows of each document."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([guarded(name) for name in header(options)])
    for rows_of_one in rows_of(documents, options):
        writer.writerows([guarded(cell_text(value)) for value in row] for row in rows_of_one)
        yield out.getvalue().encode()
        out.seek(0)
        out.truncate()
    yield out.getvalue().encode()


def rejects(
    rejected: Iterable[Rejected], source: BinaryIO, options: ReadOptions
) -> Iterator[bytes]:
    """The header of the file and the rejected rows, in its encoding and dialect.

    Each text has a number there (:mod:`.table_rejects`); what stands in its rows is left as it is.
    """
    encoding = encoding_of(source, options.encoding)
    dialect = dialect_of(encoding.beginning_of(source), options.dialect, _wanted(options))
    found = rows(lines(source, encoding, options.bounds.line), dialect, options.bounds)
    first = _header(found)
    kept = (piece for piece in rejected if piece.raw)
    begun = list(islice(kept, 2))
    numbers = numbering(first, options, begun)
    before = f"{DOCUMENT}{dialect.delimiter}" if numbers.added else ""
    cells = numbers.cells(first.cells, 0) if numbers.guarded else first.cells
    names = _line(first, cells, dialect).rstrip("\r\n")
    yield encoding.beginning + encoding.raw(f"{before}{names}\r\n")
    for number, piece in enumerate(chain(begun, kept), start=1):
        text = _Text(piece, number, encoding, dialect, options.bounds)
        yield from (encoding.raw(_ended(line)) for line in text.lines(numbers))


@dataclass(frozen=True, slots=True)
class _Text:
    """A rejected text, and the number that it may get."""

    piece: Rejected
    number: int
    encoding: Encoding
    dialect: Dialect
    bounds: Bounds

    def lines(self, numbers: Numbering) -> Iterator[str]:
        """Its rows as they stood, with its number."""
        if numbers.place and any(row.fault for row in self._rows()):
            # Where a cell within a torn row is, nobody knows, and its text stays together.
            numbers = Numbering()
        before = f"{self.number}{self.dialect.delimiter}" if numbers.added else ""
        for row in self._rows():
            if row.fault is None:
                yield before + _line(row, numbers.cells(row.cells, self.number), self.dialect)
            elif numbers.place == 0 and row.raw.startswith(self.dialect.delimiter):
                yield numbers.filling(self.number) + row.raw
            else:
                yield before + row.raw

    def _rows(self) -> Iterator[Row]:
        raw = io.BytesIO(self.encoding.mark + self.piece.raw)
        found = lines(raw, self.encoding, self.bounds.line)
        return rows(found, self.dialect, self.bounds)


def _line(row: Row, cells: list[str], dialect: Dialect) -> str:
    """A row with those cells: as it stood, where it has them already."""
    if cells == row.cells:
        return row.raw
    out = io.StringIO()
    writer = csv.writer(
        out,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote,
        escapechar=dialect.escape,
        lineterminator="",
    )
    writer.writerow(cells)
    return out.getvalue()


def _ended(line: str) -> str:
    return line if line.endswith(("\r", "\n")) else line + "\r\n"


def losses(document: Document, _options: WriteOptions) -> Iterable[Loss]:
    """An empty cell is no key: an empty key comes back as none."""
    return differences(text_of(document), read_back(document))


def likeness(head: bytes, name: str) -> float:
    """A header that names a content, or rows of one width."""
    text = head_text(head)
    if text.lstrip("\ufeff \t\r\n")[:1] in ("", "{", "[", "<"):
        return 0.0
    found = first_rows(text, dialect_of(text, None, frozenset(COLUMNS) | {"text"}))
    if not found:
        return 0.0
    suffix = 0.2 if name.lower().endswith((".csv", ".tsv", ".psv")) else 0.0
    if {"content", "text"} & {cell.strip().lower() for cell in found[0]}:
        return 0.7 + suffix
    alike = len(found[0]) > 1 and all(len(row) == len(found[0]) for row in found[:-1])
    return (0.35 if alike and len(found) > 1 else 0.1) + suffix


def _header(found: Iterator[Row]) -> Row:
    header = next(found, None)
    if header is None:
        raise FileRefused("the file has no row; upload one with a header and rows")
    if header.fault is not None:
        raise FileRefused(f"the header in line {header.line}: {header.fault.message}")
    return header


def _wanted(options: ReadOptions) -> frozenset[str]:
    return frozenset((*COLUMNS, "text", *options.columns.values()))


FORMAT = Format(
    name="csv",
    title="Delimited text (CSV, TSV)",
    subject=Subject.TEXT,
    media_type="text/csv",
    suffix=".csv",
    read=read,
    rejects=rejects,
    likeness=likeness,
    write=write,
    losses=losses,
)
