"""A document as a record of named fields, which is what JSON, XML and tables hold.

::

    {
        "key": "doc-1",
        "content": "Ada lives in London.",
        "labels": ["biography"],
        "metadata": {"source": "web"},
        "annotations": [
            {
                "start_char": 0,
                "end_char": 3,
                "label": "PER",
                "selected_text": "Ada",
                "confidence_score": 0.9,
                "metadata": {},
            }
        ],
    }

Only ``content`` must be there. Fields by other names become metadata, so that nothing of a
stranger's file is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from domain.systems.annotations.formats.contract import OffsetUnit, ReadOptions, WriteOptions
from domain.systems.annotations.formats.documents import Document, Span, TextDocument
from domain.systems.annotations.formats.json_values import compact
from domain.systems.annotations.formats.mapping import mapped, renames, reversed_renames
from domain.systems.annotations.formats.offsets import Positions
from domain.systems.annotations.formats.validity import Unfit, fit, score, shown, whole, words

_ALIASES = {"content": "text", "key": "id", "start_char": "start", "end_char": "end"}
_FIELDS = ("key", "content", "labels", "metadata", "annotations")
_SPAN_FIELDS = (
    "start_char",
    "end_char",
    "label",
    "selected_text",
    "confidence_score",
    "metadata",
)

MAX_SELECTED = 1024 * 1024
"""Characters of a text that its annotations show, all together.

Many that are long and overlap say the text over and over, in a line that is longer than any may be.
"""


def document_of(value: Any, options: ReadOptions) -> TextDocument:
    """The document of a record; raises Unfit where it is none."""
    if not isinstance(value, dict):
        raise Unfit("not_a_document", f"{shown(value)} where a document must be; give an object")
    record = _named(mapped(mapped(value, renames(options.columns)), options.mapping), _FIELDS)
    if record.get("content") is None:
        raise Unfit(
            "no_content", 'the document has no "content"; give it one, or map the field that it is'
        )
    content = words(record["content"], "content")
    key = record.get("key")
    return fit(
        TextDocument(
            content,
            spans_of(record.get("annotations"), content, options.offsets),
            None if key is None else words(key, "key"),
            labels_of(record.get("labels")),
            metadata_of(record, _FIELDS, "metadata"),
        )
    )


def record_of(document: Document, options: WriteOptions) -> dict[str, Any]:
    """The record of a document, without the fields that are empty."""
    document = text_of(document)
    record: dict[str, Any] = {}
    if document.key is not None:
        record["key"] = document.key
    record["content"] = document.content
    if document.labels:
        record["labels"] = list(document.labels)
    if document.metadata:
        record["metadata"] = dict(document.metadata)
    record["annotations"] = [span_record(span, document.content) for span in document.spans]
    if not shows_selected(document):
        for annotation in record["annotations"]:
            del annotation["selected_text"]
    return mapped(mapped(record, options.mapping), reversed_renames(options.columns))


def span_record(span: Span, content: str) -> dict[str, Any]:
    """The record of a span."""
    record: dict[str, Any] = {
        "start_char": span.start,
        "end_char": span.end,
        "label": span.label,
        "selected_text": content[span.start : span.end],
    }
    if span.confidence is not None:
        record["confidence_score"] = span.confidence
    if span.metadata:
        record["metadata"] = dict(span.metadata)
    return record


def shows_selected(document: TextDocument) -> bool:
    """Whether each annotation is written with the text that it covers."""
    return sum(span.end - span.start for span in document.spans) <= MAX_SELECTED


def text_of(document: Document) -> TextDocument:
    """The document, which must be a text: a format of texts is given nothing else."""
    if not isinstance(document, TextDocument):
        raise TypeError(f"a format of texts cannot write {type(document).__name__}")
    return document


def spans_of(value: Any, content: str, unit: OffsetUnit) -> tuple[Span, ...]:
    """The spans of a list of records, their offsets in ``unit``."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise Unfit("not_a_list", f"annotations are {shown(value)}; give a list of objects")
    positions = Positions(content, unit)
    return tuple(
        _span(item, f"annotation {number}", content, positions)
        for number, item in enumerate(value, start=1)
    )


def placed(start: int, end: int, positions: Positions, where: str) -> tuple[int, int]:
    """The offsets in code points; raises Unfit where there is no such place in the text."""
    found = positions.code_point(start), positions.code_point(end)
    if found[0] is None or found[1] is None:
        raise Unfit(
            "span_out_of_range",
            f"{where}: {start} to {end} is beyond the text or inside a character; correct it, "
            "or, where offsets count otherwise, count them in code points",
        )
    return found[0], found[1]


def metadata_of(
    record: Mapping[str, Any], fields: tuple[str, ...], where: str
) -> Mapping[str, Any]:
    """The metadata of a record and its fields by other names, none of which covers another.

    What both say alike is there once.
    """
    metadata = record.get("metadata")
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict):
        raise Unfit("not_an_object", f"{where} is {shown(metadata)}; give an object")
    rest = {name: value for name, value in record.items() if name not in fields}
    if not rest:
        return metadata
    other = {name: value for name, value in metadata.items() if not _alike(rest, name, value)}
    return without_collision(rest, other, "metadata")


def _alike(fields: Mapping[str, Any], name: str, value: Any) -> bool:
    return name in fields and compact(fields[name]) == compact(value)


def _span(item: Any, where: str, content: str, positions: Positions) -> Span:
    if not isinstance(item, dict):
        raise Unfit("not_an_object", f"{where} is {shown(item)}; give an object")
    record = _named(item, _SPAN_FIELDS)
    start = whole(record.get("start_char"), f"{where}: start_char")
    end = whole(record.get("end_char"), f"{where}: end_char")
    start, end = placed(start, end, positions, where)
    check_selected(record.get("selected_text"), content[start:end], where)
    return Span(
        start,
        end,
        words(record.get("label"), f"{where}: label"),
        score(record.get("confidence_score"), f"{where}: confidence_score"),
        metadata_of(record, _SPAN_FIELDS, f"{where}: metadata"),
    )


def check_selected(selected: Any, found: str, where: str) -> None:
    """Raise Unfit where a file says that a span covers another text than it does."""
    if selected is not None and selected != found:
        raise Unfit(
            "text_mismatch",
            f"{where}: the file says {shown(selected)}, the text has {shown(found)} there; "
            "correct the offsets, or, where they count otherwise, count them in code points",
        )


def labels_of(value: Any) -> tuple[str, ...]:
    """Labels of the whole text: one name, or a list of them."""
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        raise Unfit("not_a_list", f"labels are {shown(value)}; give a list of names")
    return tuple(words(label, "labels") for label in value)


def _named(record: dict[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    """The record by our names of fields, where it uses the other common ones."""
    for field in fields:
        alias = _ALIASES.get(field)
        if alias in record and field not in record:
            record = {field if name == alias else name: value for name, value in record.items()}
    return record


def without_collision(
    first: Mapping[str, Any], second: Mapping[str, Any], prefix: str
) -> dict[str, Any]:
    """Both together; what has the same name in the second gets a prefix there."""
    found = dict(first)
    for name, value in second.items():
        free = name
        while free in found:
            free = f"{prefix}.{free}"
        found[free] = value
    return found
