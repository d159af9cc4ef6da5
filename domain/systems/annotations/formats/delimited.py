"""Delimited text (CSV, TSV and the like): one row an annotation, with its text.

A text without annotations has a row of its own. The rows of one text have the same number in
the column ``document``, and stand together; content, key, labels and metadata of the text are
in its first row. Files of others have no such column: there rows that follow one another with
the same key and content are one text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from domain.systems.annotations.formats.contract import (
    FileRefused,
    Format,
    ReadOptions,
    Subject,
    WriteOptions,
)
from domain.systems.annotations.formats.documents import Document, Loss, Rejected
from domain.systems.annotations.formats.encoding import encoding_of, head_text, lines
from domain.systems.annotations.formats.formulas import guarded
from domain.systems.annotations.formats.json_values import compact
from domain.systems.annotations.formats.losses import differences
from domain.systems.annotations.formats.mapping import mapped, reversed_renames
from domain.systems.annotations.formats.records import text_of
from domain.systems.annotations.formats.rows import Row, dialect_of, first_rows, rows
from domain.systems.annotations.formats.table import SPAN, TEXT, Table, header_of

COLUMNS = ("document", *TEXT, *SPAN)


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
    names = list(_mapped(dict.fromkeys(COLUMNS, ""), options))
    writer.writerow([guarded(name) for name in names])
    for number, document in enumerate(documents, start=1):
        for row in _rows(number, document):
            cells = _mapped(row, options)
            writer.writerow([guarded(_cell(cells.get(name))) for name in names])
        yield out.getvalue().encode()
        out.seek(0)
        out.truncate()
    yield out.getvalue().encode()


def rejects(
    rejected: Iterable[Rejected], source: BinaryIO, options: ReadOptions
) -> Iterator[bytes]:
    """The header of the file and the rejected rows, in its encoding and dialect."""
    encoding = encoding_of(source, options.encoding)
    dialect = dialect_of(encoding.beginning_of(source), options.dialect, _wanted(options))
    header = _header(rows(lines(source, encoding, options.bounds.line), dialect, options.bounds))
    yield encoding.beginning + encoding.raw(header.raw.rstrip("\r\n") + "\r\n")
    for piece in rejected:
        if piece.raw:
            yield piece.raw
            if not piece.raw.endswith((encoding.raw("\n"), encoding.raw("\r"))):
                yield encoding.raw("\r\n")


def losses(document: Document, _options: WriteOptions) -> Iterable[Loss]:
    """An empty cell is no key: an empty key comes back as none."""
    document = text_of(document)
    return differences(document, replace(document, key=document.key or None))


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


def _rows(number: int, document: Document) -> Iterator[dict[str, Any]]:
    document = text_of(document)
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {
        "document": number,
        "key": document.key,
        "content": document.content,
        "labels": compact(list(document.labels)) if document.labels else None,
        "text_metadata": compact(dict(document.metadata)) if document.metadata else None,
    }
    if not document.spans:
        yield row
    for span in document.spans:
        yield row | {
            "start_char": span.start,
            "end_char": span.end,
            "label": span.label,
            "selected_text": document.content[span.start : span.end],
            "confidence_score": span.confidence,
            "metadata": compact(dict(span.metadata)) if span.metadata else None,
        }
        row = dict.fromkeys(COLUMNS) | {"document": number}


def _mapped(row: dict[str, Any], options: WriteOptions) -> dict[str, Any]:
    return mapped(mapped(row, options.mapping), reversed_renames(options.columns))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value)
    return compact(value) if isinstance(value, dict | list) else str(value)


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
