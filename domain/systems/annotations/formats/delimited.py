"""Delimited text (CSV, TSV and the like): one row an annotation, with its text.

How a text becomes rows: :mod:`.table_rows`. Files of others have no column ``document``: there
rows that follow one another with the same key and content are one text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
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

    Where the file does not number its texts, several are numbered here: two that stood apart
    there follow one another here, and would be one when they have been corrected.
    """
    encoding = encoding_of(source, options.encoding)
    dialect = dialect_of(encoding.beginning_of(source), options.dialect, _wanted(options))
    found = rows(lines(source, encoding, options.bounds.line), dialect, options.bounds)
    first = _header(found)
    kept = (piece for piece in rejected if piece.raw)
    begun = list(islice(kept, 2))
    told_apart = "document" in {*header_of(first, options).names, *options.mapping}
    numbered = told_apart or len(begun) < 2
    before = "" if numbered else f"document{dialect.delimiter}"
    yield encoding.beginning + encoding.raw(before + first.raw.rstrip("\r\n") + "\r\n")
    for number, piece in enumerate(chain(begun, kept), start=1):
        before = "" if numbered else f"{number}{dialect.delimiter}"
        for row in _rows_again(piece, encoding, dialect, options.bounds):
            ended = row.raw.endswith(("\r", "\n"))
            yield encoding.raw(before + row.raw + ("" if ended else "\r\n"))


def _rows_again(
    piece: Rejected, encoding: Encoding, dialect: Dialect, bounds: Bounds
) -> Iterator[Row]:
    """The rows of what was rejected, as they stood."""
    raw = io.BytesIO(encoding.mark + piece.raw)
    return rows(lines(raw, encoding, bounds.line), dialect, bounds)


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
