"""The rows of a table put together to documents, one row an annotation.

A document is taken whole or not at all: where one of its rows is at fault, all of them are
rejected, so that no text comes in twice when the row has been corrected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from domain.systems.annotations.formats.contract import FileRefused, ReadOptions
from domain.systems.annotations.formats.documents import Document, Rejected, TextDocument
from domain.systems.annotations.formats.encoding import Encoding
from domain.systems.annotations.formats.formulas import unguarded
from domain.systems.annotations.formats.json_values import parsed
from domain.systems.annotations.formats.mapping import FieldMapping, Path, mapped, renames
from domain.systems.annotations.formats.records import document_of, labels_of
from domain.systems.annotations.formats.rejecting import rejection
from domain.systems.annotations.formats.rows import Dialect, Row, lenient_cells
from domain.systems.annotations.formats.validity import Unfit, printable, shown

TEXT = ("key", "content", "labels", "text_metadata")
SPAN = ("start_char", "end_char", "selected_text", "label", "confidence_score", "metadata")
_KNOWN = frozenset({"document", *TEXT, *SPAN})
_OF_THE_TEXT = ("key", "labels", "text_metadata")
_OURS = frozenset({"text_metadata", "selected_text", "confidence_score"})
"""Columns that hardly anybody else has, beside ``document``."""
_OFFSETS = frozenset({"start_char", "end_char", "start", "end"})
_MAX_ROWS = 100_000
"""Rows of one document."""
_LOOKED_AT = 64 * 1024
"""Characters of a row that has too many cells to make them all."""

_ALIASES = {
    "text": "content",
    "id": "key",
    "start": "start_char",
    "end": "end_char",
    "confidence": "confidence_score",
}


@dataclass(frozen=True, slots=True)
class Header:
    """The names of the columns, and what makes of them those that fields have here.

    The mapping goes by the names that stand in the file; ``aliases`` are what is understood of
    those that it leaves. In ``guarded`` tables a quote before a formula is none of the text: in
    ours, and in those of others that have no offsets to count it.
    """

    names: tuple[str, ...]
    mapping: FieldMapping
    aliases: Mapping[str, str]
    guarded: bool

    def bare(self, cell: str) -> str:
        """A cell without what keeps it from being run."""
        return unguarded(cell) if self.guarded else cell


def header_of(row: Row, options: ReadOptions) -> Header:
    """The header of a table; raises FileRefused for one that names no content."""
    guarded = _is_guarded(row.cells, options)
    given = {source: name for name, source in options.columns.items()}
    plain = tuple((unguarded(cell) if guarded else cell).strip() for cell in row.cells)
    names = tuple(given.get(name, name) for name in plain)
    twice = {name for name in names if name and names.count(name) > 1}
    if twice:
        raise FileRefused(f"column {min(twice)!r} is there twice; rename one of them")
    aliases = _aliases(names, options.mapping)
    if "content" not in {*names, *options.mapping, *aliases.values()}:
        seen = printable(", ".join(plain[:20])[:200])
        raise FileRefused(f"no column is the content, among {seen}; map the one that is")
    return Header(names, options.mapping, aliases, guarded)


def _is_guarded(cells: Sequence[str], options: ReadOptions) -> bool:
    names = {cell.strip() for cell in cells}
    # Of what tells ours a mapping may have renamed one.
    if "document" in names and len(_OURS & names) * 2 > len(_OURS):
        return True
    return _OFFSETS.isdisjoint({*names, *options.columns, *options.mapping})


def _aliases(names: Sequence[str], mapping: FieldMapping) -> dict[str, str]:
    """Our names by those that are understood, where the mapping has left them."""
    taken = {source.path for source in mapping.values() if isinstance(source, Path)}
    left = {*names, *mapping} - (taken - mapping.keys())
    return {alias: ours for alias, ours in _ALIASES.items() if alias in left and ours not in left}


@dataclass(slots=True)
class _Group:
    """The rows of one document."""

    line: int
    fields: dict[str, Any]
    raw: list[str] = field(default_factory=list)
    length: int = 0
    rows: int = 0
    annotations: list[dict[str, Any]] = field(default_factory=list)
    beside: list[dict[str, Any]] = field(default_factory=list)
    """What the row of each annotation has in columns that are no field of ours."""
    labels: list[str] = field(default_factory=list)
    fault: tuple[int, Unfit] | None = None
    torn: bool = False
    """Whether the first row is at fault, so that its fields are known as far as they can be."""


class Table:
    """Takes the rows of a table one by one and gives documents as they are complete."""

    def __init__(
        self, header: Header, dialect: Dialect, encoding: Encoding, options: ReadOptions
    ) -> None:
        self._header = header
        self._names = header.names
        self._dialect = dialect
        self._encoding = encoding
        self._options = options
        self._record_options = replace(options, columns={}, mapping={})
        self._group: _Group | None = None

    def take(self, row: Row) -> Iterator[Document | Rejected]:
        """What is complete now that this row has come."""
        fault = row.fault or self._width_fault(row)
        fields = self._fields(row.cells if fault is None else self._torn_cells(row, fault))
        if self._group is None or not _goes_on(self._group, fields, fault):
            yield from self.end()
            self._group = _Group(row.line, fields, torn=fault is not None)
        self._add(self._group, row, fault, fields)

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

    def _add(self, group: _Group, row: Row, fault: Unfit | None, fields: dict[str, Any]) -> None:
        group.length += len(row.raw)
        group.rows += 1
        if group.length > self._options.bounds.line or group.rows > _MAX_ROWS:
            group.raw.clear()
            group.annotations.clear()
            group.beside.clear()
            limit = self._options.bounds.line
            too_long = Unfit(
                "too_long",
                f"the rows of one text exceed {limit:,} bytes or {_MAX_ROWS:,}; split it",
            )
            group.fault = (group.line, too_long)
            return
        if row.raw:
            ended = row.raw.endswith(("\r", "\n"))
            group.raw.append(row.raw if ended else row.raw + "\r\n")
        if fault is None and group.fault is None:
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

    def _torn_cells(self, row: Row, fault: Unfit) -> list[str]:
        """The cells of a row at fault, as far as they tell of which document it is."""
        raw = row.raw[:_LOOKED_AT] if fault.code == "too_wide" else row.raw
        return lenient_cells(raw, self._dialect)

    def _fields(self, cells: Sequence[str]) -> dict[str, Any]:
        fields = {
            name: self._header.bare(cell)
            for name, cell in zip(self._names, cells, strict=False)
            if name and cell
        }
        nested = mapped(fields, renames(_paths(self._options, self._names)))
        aliases = self._header.aliases
        found = mapped(nested, self._header.mapping)
        return {aliases.get(name, name): value for name, value in found.items()}

    def _rejected(self, line: int, error: Exception, raw: str) -> Rejected:
        return rejection(line, error, self._encoding.raw(raw))


def _paths(options: ReadOptions, names: Sequence[str]) -> dict[str, str]:
    """The renames that no column has taken."""
    return {name: source for name, source in options.columns.items() if name not in names}


def _goes_on(group: _Group, fields: dict[str, Any], fault: Unfit | None) -> bool:
    """Whether a row is of the document; of one at fault, whether it seems to be."""
    if fault is None and not group.torn:
        return _continues(group.fields, fields)
    for name in ("document", "key", "content"):
        if group.fields.get(name):
            return bool(fields.get(name) == group.fields[name])
    return False


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
    _check_alike(group, fields, _OF_THE_TEXT)
    beside = {name: value for name, value in fields.items() if name not in _KNOWN}
    if "start_char" in fields or "end_char" in fields:
        span = {name: fields[name] for name in SPAN if name in fields}
        if "metadata" in span:
            span["metadata"] = _value(span["metadata"], depth)
        # An empty cell is a field that is not there, and an empty text is not selected.
        group.annotations.append(span)
        group.beside.append(beside)
        return
    _check_alike(group, fields, tuple(beside))
    if "label" in fields:
        group.labels.append(fields["label"])


def _check_alike(group: _Group, fields: dict[str, Any], names: Sequence[str]) -> None:
    """Raise Unfit for what a row says otherwise of its text: it has no place beside the first."""
    for name in names:
        if name in fields and fields[name] != group.fields.get(name):
            raise Unfit(
                "fields_differ",
                f"the row has another {shown(name)} than the first row of its text; "
                "give it the same or nothing there or, if it is a text of its own, another number "
                "in the column document",
            )


def _record(group: _Group, depth: int) -> dict[str, Any]:
    """The record of a document, as records.py takes it.

    A column is of the text if all its rows say the same there, or only the first does; else it
    is of the annotations.
    """
    fields = group.fields
    labels = fields.get("labels")
    if isinstance(labels, str) and labels.startswith("["):
        labels = _value(labels, depth)
    metadata = fields.get("text_metadata")
    apart = {
        name
        for beside in group.beside
        for name, value in beside.items()
        if value != fields.get(name)
    }
    moved = apart if "start_char" in fields or "end_char" in fields else frozenset()
    rest = {n: value for n, value in fields.items() if n not in _KNOWN and n not in moved}
    return rest | {
        "content": fields.get("content"),
        "key": fields.get("key"),
        "labels": [*labels_of(labels), *group.labels],
        "metadata": None if metadata is None else _value(metadata, depth),
        "annotations": [
            span | {name: value for name, value in beside.items() if name in apart}
            for span, beside in zip(group.annotations, group.beside, strict=True)
        ],
    }


def _value(cell: Any, depth: int) -> Any:
    return parsed(cell, depth) if isinstance(cell, str) else cell
