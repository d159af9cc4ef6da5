"""The rows of a table put together to documents, one row an annotation.

A document is taken whole or not at all: where one of its rows is at fault, all of them are
rejected, so that no text comes in twice when the row has been corrected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from domain.systems.annotations.formats.contract import FileRefused, ReadOptions
from domain.systems.annotations.formats.documents import Document, Rejected, TextDocument
from domain.systems.annotations.formats.encoding import Encoding
from domain.systems.annotations.formats.formulas import unguarded
from domain.systems.annotations.formats.json_values import parsed
from domain.systems.annotations.formats.mapping import FieldMapping, mapped, renames
from domain.systems.annotations.formats.records import document_of, labels_of
from domain.systems.annotations.formats.rejecting import rejection
from domain.systems.annotations.formats.rows import Dialect, Row, lenient_cells
from domain.systems.annotations.formats.validity import Unfit, printable

TEXT = ("key", "content", "labels", "text_metadata")
SPAN = ("start_char", "end_char", "selected_text", "label", "confidence_score", "metadata")
_MAX_ROWS = 100_000
"""Rows of one document."""

_ALIASES = {
    "text": "content",
    "id": "key",
    "start": "start_char",
    "end": "end_char",
    "confidence": "confidence_score",
}


@dataclass(frozen=True, slots=True)
class Header:
    """The names of the columns, as they are here, and the mapping of what is left to map."""

    names: tuple[str, ...]
    mapping: FieldMapping


def header_of(row: Row, options: ReadOptions) -> Header:
    """The header of a table; raises FileRefused for one that names no content."""
    given = {source: name for name, source in options.columns.items()}
    plain = tuple(unguarded(cell).strip() for cell in row.cells)
    names = tuple(given.get(name, name) for name in plain)
    names = tuple(
        _ALIASES[name] if name in _ALIASES and _ALIASES[name] not in names else name
        for name in names
    )
    twice = {name for name in names if name and names.count(name) > 1}
    if twice:
        raise FileRefused(f"column {min(twice)!r} is there twice; rename one of them")
    if "content" not in names and "content" not in options.mapping:
        shown = printable(", ".join(plain[:20])[:200])
        raise FileRefused(f"no column is the content, among {shown}; map the one that is")
    return Header(names, options.mapping)


@dataclass(slots=True)
class _Group:
    """The rows of one document."""

    line: int
    fields: dict[str, Any]
    raw: list[str] = field(default_factory=list)
    length: int = 0
    rows: int = 0
    annotations: list[dict[str, Any]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    fault: tuple[int, Unfit] | None = None


class Table:
    """Takes the rows of a table one by one and gives documents as they are complete."""

    def __init__(
        self, header: Header, dialect: Dialect, encoding: Encoding, options: ReadOptions
    ) -> None:
        self._names = header.names
        self._mapping = header.mapping
        self._dialect = dialect
        self._encoding = encoding
        self._options = options
        self._record_options = replace(options, columns={}, mapping={})
        self._group: _Group | None = None

    def take(self, row: Row) -> Iterator[Document | Rejected]:
        """What is complete now that this row has come."""
        fault = row.fault or self._width_fault(row)
        if fault is not None:
            if self._group is not None and self._belongs(row, self._group):
                self._add(self._group, row, fault)
                return
            yield from self.end()
            yield self._rejected(row.line, fault, row.raw)
            return
        fields = self._fields(row.cells)
        if self._group is None or not _continues(self._group.fields, fields):
            yield from self.end()
            self._group = _Group(row.line, fields)
        self._add(self._group, row, None, fields)

    def end(self) -> Iterator[Document | Rejected]:
        """The document whose rows have come; none is held afterwards."""
        group, self._group = self._group, None
        if group is None:
            return
        try:
            document = self._document(group)
        except Exception as error:
            line = group.fault[0] if group.fault is not None else group.line
            yield self._rejected(line, error, "".join(group.raw))
        else:
            yield document

    def _document(self, group: _Group) -> TextDocument:
        if group.fault is not None:
            raise group.fault[1]
        return document_of(_record(group, self._options.bounds.depth), self._record_options)

    def _add(
        self, group: _Group, row: Row, fault: Unfit | None, fields: dict[str, Any] | None = None
    ) -> None:
        group.length += len(row.raw)
        group.rows += 1
        if group.length > self._options.bounds.line or group.rows > _MAX_ROWS:
            group.raw.clear()
            group.annotations.clear()
            limit = self._options.bounds.line
            too_long = Unfit(
                "too_long",
                f"the rows of one text exceed {limit:,} bytes or {_MAX_ROWS:,}; split it",
            )
            group.fault = (group.line, too_long)
            return
        ended = row.raw.endswith(("\r", "\n"))
        group.raw.append(row.raw if ended else row.raw + "\r\n")
        if fault is None and fields is not None and group.fault is None:
            try:
                _add_row(group, fields, self._options.bounds.depth)
            except Unfit as unfit:
                fault = unfit
        if fault is not None and group.fault is None:
            group.fault = (row.line, fault)

    def _width_fault(self, row: Row) -> Unfit | None:
        if len(row.cells) == len(self._names):
            return None
        return Unfit(
            "wrong_width",
            f"{len(row.cells)} cells where the header has {len(self._names)}; "
            "add what is missing, or put cells with a delimiter into quotes",
        )

    def _belongs(self, row: Row, group: _Group) -> bool:
        """Whether a row at fault seems to be one of the document's."""
        cells = lenient_cells(row.raw, self._dialect)
        fields = dict(zip(self._names, map(unguarded, cells), strict=False))
        for name in ("document", "key", "content"):
            if group.fields.get(name):
                return bool(fields.get(name) == group.fields[name])
        return False

    def _fields(self, cells: Sequence[str]) -> dict[str, Any]:
        fields = {
            name: unguarded(cell)
            for name, cell in zip(self._names, cells, strict=True)
            if name and cell
        }
        nested = mapped(fields, renames(_paths(self._options, self._names)))
        return mapped(nested, self._mapping)

    def _rejected(self, line: int, error: Exception, raw: str) -> Rejected:
        return rejection(line, error, self._encoding.raw(raw))


def _paths(options: ReadOptions, names: Sequence[str]) -> dict[str, str]:
    """The renames that no column has taken."""
    return {name: source for name, source in options.columns.items() if name not in names}


def _continues(first: dict[str, Any], fields: dict[str, Any]) -> bool:
    """Whether a row is of the same document as the row that began it."""
    if "document" in first or "document" in fields:
        return first.get("document") == fields.get("document")
    if "content" not in first or first.get("key") != fields.get("key"):
        return False
    content = fields.get("content")
    return content == first["content"] or (content is None and "key" in fields)


def _add_row(group: _Group, fields: dict[str, Any], depth: int) -> None:
    content = fields.get("content")
    if content is not None and content != group.fields.get("content"):
        raise Unfit(
            "content_differs",
            "the row has another content than the first row of its text; "
            "give it a number of its own in the column document, or the same content",
        )
    if "start_char" in fields or "end_char" in fields:
        span = {name: fields[name] for name in SPAN if name in fields}
        if "metadata" in span:
            span["metadata"] = _value(span["metadata"], depth)
        # An empty cell is a field that is not there, and an empty text is not selected.
        group.annotations.append(span)
    elif "label" in fields:
        group.labels.append(fields["label"])


def _record(group: _Group, depth: int) -> dict[str, Any]:
    """The record of a document, as records.py takes it."""
    fields = group.fields
    labels = fields.get("labels")
    if isinstance(labels, str) and labels.startswith("["):
        labels = _value(labels, depth)
    metadata = fields.get("text_metadata")
    known = {"document", *TEXT, *SPAN}
    rest = {name: value for name, value in fields.items() if name not in known}
    return rest | {
        "content": fields.get("content"),
        "key": fields.get("key"),
        "labels": [*labels_of(labels), *group.labels],
        "metadata": None if metadata is None else _value(metadata, depth),
        "annotations": group.annotations,
    }


def _value(cell: Any, depth: int) -> Any:
    return parsed(cell, depth) if isinstance(cell, str) else cell
