"""Documents as the rows of a table, one row an annotation; what is written of them in each cell.

A text without annotations has a row of its own. The rows of one text have the same number in
the column ``document``, and stand together; content, key, labels and metadata of the text are
in its first row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from domain.systems.annotations.formats.contract import WriteOptions
from domain.systems.annotations.formats.documents import Document, TextDocument
from domain.systems.annotations.formats.json_values import compact
from domain.systems.annotations.formats.mapping import Path, mapped, reversed_renames
from domain.systems.annotations.formats.records import shows_selected, text_of
from domain.systems.annotations.formats.table import SPAN, TEXT

COLUMNS = ("document", *TEXT, *SPAN)

Rows = list[list[Any]]
"""The values of the cells; ``None`` for an empty one."""


def header(options: WriteOptions) -> list[str]:
    """The names of the columns; one that a mapping makes is there whatever the rows have."""
    taken = {source.path for source in options.mapping.values() if isinstance(source, Path)}
    names = [*(name for name in COLUMNS if name not in taken), *options.mapping]
    return list(mapped(dict.fromkeys(names, ""), reversed_renames(options.columns)))


def rows_of(documents: Iterable[Document], options: WriteOptions) -> Iterator[Rows]:
    """The rows of each document."""
    names = header(options)
    for number, document in enumerate(documents, start=1):
        rows = (_mapped(row, options) for row in _rows(number, text_of(document)))
        yield [[row.get(name) for name in names] for row in rows]


def cell_text(value: Any) -> str:
    """A value as the text of a cell."""
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value)
    return compact(value) if isinstance(value, dict | list) else str(value)


def read_back(document: Document) -> TextDocument:
    """What a document comes back as: an empty cell is no key."""
    document = text_of(document)
    return replace(document, key=document.key or None)


def _rows(number: int, document: TextDocument) -> Iterator[dict[str, Any]]:
    """With values as they are, since a mapping may lead into them."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {
        "document": number,
        "key": document.key,
        "content": document.content,
        "labels": list(document.labels) or None,
        "text_metadata": dict(document.metadata) or None,
    }
    if not document.spans:
        yield row
    shown = shows_selected(document)
    for span in document.spans:
        yield row | {
            "start_char": span.start,
            "end_char": span.end,
            "label": span.label,
            "selected_text": document.content[span.start : span.end] if shown else None,
            "confidence_score": span.confidence,
            "metadata": dict(span.metadata) or None,
        }
        row = dict.fromkeys(COLUMNS) | {"document": number}


def _mapped(row: dict[str, Any], options: WriteOptions) -> dict[str, Any]:
    return mapped(mapped(row, options.mapping), reversed_renames(options.columns))
