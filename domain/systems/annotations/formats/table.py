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
from domain.systems.annotations.formats.mapping import (
    FieldMapping,
    Path,
    by_other_names,
    lacking,
    mapped,
    renames,
)
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
_OUR_OFFSETS = frozenset({"start_char", "end_char"})
_OFFSETS = _OUR_OFFSETS | {"start", "end"}
_MAX_ROWS = 100_000
"""Rows of one document."""
_MAX_BESIDE = 500_000
"""Cells of one document that are of its annotations and no field of ours."""
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
    those that it leaves, and of names of ours that it goes by and that are not there. In
    ``guarded`` tables a quote before a formula is none of the text: in ours, and in those of
    others that have no offsets to count it.
    """

    names: tuple[str, ...]
    mapping: FieldMapping
    aliases: Mapping[str, str]
    guarded: bool

    def bare(self, cell: str) -> str:
        """A cell without what keeps it from being run."""
        return unguarded(cell) if self.guarded else cell

    def fields(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """What the columns of a row are here."""
        found = mapped(record, self.mapping)
        return {self.aliases.get(name, name): value for name, value in found.items()}

    def lacking(self, record: Mapping[str, Any]) -> set[str]:
        """Fields of a text whose templates have something empty in a row."""
        found = {self.aliases.get(name, name) for name in lacking(record, self.mapping)}
        return found.difference(SPAN)


def header_of(row: Row, options: ReadOptions) -> Header:
    """The header of a table; raises FileRefused for one that names no content."""
    guarded = _is_guarded(row.cells, options)
    given = {source: name for name, source in options.columns.items()}
    plain = tuple((unguarded(cell) if guarded else cell).strip() for cell in row.cells)
    names = tuple(given.get(name, name) for name in plain)
    twice = {name for name in names if name and names.count(name) > 1}
    if twice:
        raise FileRefused(f"column {min(twice)!r} is there twice; rename one of them")
    mapping = _understood(names, options.mapping)
    aliases = _aliases(names, mapping)
    if "content" not in {*names, *mapping, *aliases.values()}:
        seen = printable(", ".join(plain[:20])[:200])
        raise FileRefused(f"no column is the content, among {seen}; map the one that is")
    return Header(names, mapping, aliases, guarded)


def _is_guarded(cells: Sequence[str], options: ReadOptions) -> bool:
    names = {cell.strip() for cell in cells}
    known = {*names, *options.columns, *options.mapping}
    # Of what tells ours some may have been renamed, or deleted.
    told = len(_OURS & known) * 2 > len(_OURS) or names >= _OUR_OFFSETS
    return ("document" in known and told) or _OFFSETS.isdisjoint(known)


def _understood(names: Sequence[str], mapping: FieldMapping) -> FieldMapping:
    """The mapping by what the file has in the place of our names, where it has not these."""
    others = {
        ours: alias for alias, ours in _ALIASES.items() if alias in names and ours not in names
    }
    return {name: by_other_names(source, others) for name, source in mapping.items()}


def _aliases(names: Sequence[str], mapping: FieldMapping) -> dict[str, str]:
    """Our names by those that are understood, where the mapping has left them."""
    taken = {source.path for source in mapping.values() if isinstance(source, Path)}
    made = {
        name
        for name, source in mapping.items()
        if not isinstance(source, Path) or source.path in names
    }
    left = {*names} - taken | made
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
    beside: list[tuple[dict[str, Any], frozenset[str]]] = field(default_factory=list)
    """Of columns that are no field of ours: what the row of each annotation has otherwise than
    the first, and the names of those where it has the same."""
    alike: dict[frozenset[str], frozenset[str]] = field(default_factory=dict)
    """Such names, which many rows share."""
    kept: int = 0
    """Cells that are held so."""
    labels: list[str] = field(default_factory=list)
    fault: tuple[int, Unfit] | None = None
    torn: bool = False
    """Whether the fields are those of a row at fault, known as far as they can be."""


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
        record = self._record(row.cells if fault is None else self._torn_cells(row, fault))
        fields = self._header.fields(record)
        group = self._group
        if group is not None:
            later = _of_later_row(group, fields, self._header.lacking(record))
            if _goes_on(group, later, fault, self._dialect.quote):
                self._go_on(group, row, fault, later)
                return
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

    def _go_on(self, group: _Group, row: Row, fault: Unfit | None, fields: dict[str, Any]) -> None:
        if fault is None and group.torn and not fields.keys().isdisjoint(("document", "content")):
            # A sound row tells more of the text than the torn one that began it.
            group.fields, group.torn = fields, False
        self._add(group, row, fault, fields)

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

    def _record(self, cells: Sequence[str]) -> dict[str, Any]:
        """The cells by the names of their columns, without those that are empty."""
        fields = {
            name: self._header.bare(cell)
            for name, cell in zip(self._names, cells, strict=False)
            if name and cell
        }
        return mapped(fields, renames(_paths(self._options, self._names)))

    def _rejected(self, line: int, error: Exception, raw: str) -> Rejected:
        return rejection(line, error, self._encoding.raw(raw))


def _paths(options: ReadOptions, names: Sequence[str]) -> dict[str, str]:
    """The renames that no column has taken."""
    return {name: source for name, source in options.columns.items() if name not in names}


def _of_later_row(group: _Group, fields: dict[str, Any], loose: set[str]) -> dict[str, Any]:
    """What a row says that is not the first of its text.

    A template of which something is empty says nothing there: what it is made of may stand in the
    first row alone.
    """
    dropped = {name for name in loose if fields[name] != group.fields.get(name)}
    return {name: value for name, value in fields.items() if name not in dropped}


def _goes_on(group: _Group, fields: dict[str, Any], fault: Unfit | None, quote: str) -> bool:
    """Whether a row is of the document; of one at fault, or behind one, whether it seems to be."""
    first = group.fields
    if fault is None and not group.torn:
        return _continues(first, fields)
    if first.get("document") or fields.get("document"):
        return first.get("document") == fields.get("document")
    content = first.get("content")
    if first.get("key"):
        alike = _may_be_one(content, fields.get("content"), quote)
        return alike and fields.get("key") == first["key"]
    return bool(content) and fields.get("content") == content


def _may_be_one(content: Any, other: Any, quote: str) -> bool:
    """Whether contents of which one is torn may be the same.

    A cell at fault is cut off, or has what stands behind it, or quotes that are none of it.
    """
    if not isinstance(content, str) or not isinstance(other, str):
        return content is None or other is None
    one, another = content.replace(quote, ""), other.replace(quote, "")
    return one.startswith(another) or another.startswith(one)


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
        _keep_beside(group, beside)
        return
    _check_alike(group, fields, tuple(beside))
    if "label" in fields:
        group.labels.append(fields["label"])


def _keep_beside(group: _Group, beside: dict[str, Any]) -> None:
    """Keep what is no field of ours, but not again what the first row has already."""
    other = {name: value for name, value in beside.items() if value != group.fields.get(name)}
    names = frozenset(beside.keys() - other.keys())
    alike = group.alike.setdefault(names, names)
    group.kept += len(other) + (len(names) if alike is names else 0)
    _check_beside(group.kept)
    group.beside.append((other, alike))


def _check_beside(cells: int) -> None:
    if cells > _MAX_BESIDE:
        raise Unfit(
            "too_wide",
            f"the annotations of one text have more than {_MAX_BESIDE:,} cells in columns that "
            "are no field of ours; drop some columns, or split it",
        )


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
    apart = {name for other, _ in group.beside for name in other}
    _check_beside(sum(len(other) + len(alike & apart) for other, alike in group.beside))
    moved = apart if "start_char" in fields or "end_char" in fields else frozenset()
    rest = {n: value for n, value in fields.items() if n not in _KNOWN and n not in moved}
    return rest | {
        "content": fields.get("content"),
        "key": fields.get("key"),
        "labels": [*labels_of(labels), *group.labels],
        "metadata": None if metadata is None else _value(metadata, depth),
        "annotations": [
            span | {name: fields.get(name) for name in alike & apart} | other
            for span, (other, alike) in zip(group.annotations, group.beside, strict=True)
        ],
    }


def _value(cell: Any, depth: int) -> Any:
    return parsed(cell, depth) if isinstance(cell, str) else cell
