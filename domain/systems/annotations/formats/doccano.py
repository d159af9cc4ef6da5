"""doccano's JSON lines: a text a line, with ``label: [[start, end, "TAG"]]``.

Read are all the shapes that its versions and kinds of project have written: spans as lists or
as ``entities`` with offsets by name, labels of whole texts as texts, and ``cats`` beside spans.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from domain.systems.annotations.formats.contract import (
    Format,
    ReadOptions,
    Subject,
    WriteOptions,
)
from domain.systems.annotations.formats.documents import (
    Document,
    Loss,
    Rejected,
    Span,
    TextDocument,
)
from domain.systems.annotations.formats.json_heads import begun_with
from domain.systems.annotations.formats.json_lines import object_lines, read_lines, rejects
from domain.systems.annotations.formats.json_values import compact
from domain.systems.annotations.formats.losses import differences
from domain.systems.annotations.formats.mapping import FieldMapping, mapped, renames
from domain.systems.annotations.formats.offsets import Positions
from domain.systems.annotations.formats.records import placed, text_of, without_collision
from domain.systems.annotations.formats.validity import Unfit, fit, shown, whole, words

_LABELS = ("label", "labels", "entities", "cats", "annotations")
_COMMENTS = ("Comments", "comments")
_OURS = ("id", "text", "meta", *_LABELS, *_COMMENTS)


def read(stream: BinaryIO, options: ReadOptions) -> Iterator[Document | Rejected]:
    """The documents of a file, and the lines that are none."""
    return read_lines(stream, options, _document)


def write(documents: Iterable[Document], _options: WriteOptions) -> Iterator[bytes]:
    """One line a document: its metadata beside its text, where doccano looks for them."""
    for document in documents:
        yield compact(_record(text_of(document))).encode() + b"\n"


def losses(document: Document, _options: WriteOptions) -> Iterable[Loss]:
    """Spans are offsets and a label, and nothing else."""
    document = text_of(document)
    bare = tuple(Span(span.start, span.end, span.label) for span in document.spans)
    return differences(document, replace(document, spans=bare))


def likeness(head: bytes, _name: str) -> float:
    """Lines with a text and labels as doccano has them."""
    found = object_lines(head)[:20]
    alike = 0
    for line in found:
        begun = begun_with(line)
        alike += begun is not None and _is_alike(begun.value)
    return 0.95 if found and alike * 2 > len(found) else 0.0


def _is_alike(value: dict[str, Any]) -> bool:
    if "text" not in value or "annotations" in value:
        return False
    return any(isinstance(value.get(name), list) for name in ("label", "entities", "cats"))


def _document(value: Any, options: ReadOptions) -> TextDocument:
    if not isinstance(value, dict):
        raise Unfit("not_a_document", f"{shown(value)} where a document must be; give an object")
    columns = {{"content": "text", "key": "id"}.get(n, n): c for n, c in options.columns.items()}
    record, aside = _with_mapped(mapped(value, renames(columns)), options.mapping)
    content = record.get("text", record.get("content"))
    if content is None:
        raise Unfit("no_content", 'the line has no "text"; give it one, or map the field')
    content = words(content, "text")
    positions = Positions(content, options.offsets)
    spans: list[Span] = []
    labels: list[str] = []
    for name in _LABELS:
        for item in _listed(record.get(name), name):
            if isinstance(item, list | dict):
                spans.append(_span(item, f"annotation {len(spans) + 1}", positions))
            else:
                labels.append(_label(item, name))
    key = record.get("id", record.get("key"))
    return fit(
        TextDocument(
            content,
            tuple(spans),
            None if key is None else words(key, "id"),
            tuple(labels),
            without_collision(aside, _metadata(record), "meta"),
        )
    )


def _with_mapped(
    record: dict[str, Any], mapping: FieldMapping
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The record with what is mapped where doccano has it, and what stood there before."""
    found, aside = mapped(record, mapping), {}
    for ours, theirs in (("content", "text"), ("key", "id")):
        if ours in mapping and ours in found:
            if theirs in found:
                aside[theirs] = found[theirs]
            found[theirs] = found.pop(ours)
    return found, aside


def _label(item: Any, name: str) -> str:
    if not isinstance(item, str):
        raise Unfit("no_label", f"{name} has {shown(item)}; give [start, end, label] or a name")
    return item


def _listed(value: Any, name: str) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise Unfit("not_a_list", f"{name} is {shown(value)}; give a list")
    return value


def _span(item: list[Any] | dict[str, Any], where: str, positions: Positions) -> Span:
    if isinstance(item, dict):
        start, end = item.get("start_offset"), item.get("end_offset")
        parts = [start, end, item.get("label")]
    else:
        parts = item
    if len(parts) != 3:
        raise Unfit("not_a_list", f"{where} has {len(parts)} parts; give start, end and label")
    start, end = placed(
        whole(parts[0], f"{where}: start"), whole(parts[1], f"{where}: end"), positions, where
    )
    return Span(start, end, words(parts[2], f"{where}: label"))


def _metadata(record: dict[str, Any]) -> dict[str, Any]:
    """What doccano has beside the text, and what it had in ``meta``."""
    found = {
        name: value
        for name, value in record.items()
        if name not in _OURS or (name in _COMMENTS and value != [])
    }
    for name in ("content", "key"):
        if ("text" if name == "content" else "id") not in record:
            found.pop(name, None)
    meta = record.get("meta")
    if isinstance(meta, dict):
        return without_collision(found, meta, "meta")
    return found if meta is None else found | {"meta": meta}


def _record(document: TextDocument) -> dict[str, Any]:
    spans = [[span.start, span.end, span.label] for span in document.spans]
    record: dict[str, Any] = {} if document.key is None else {"id": document.key}
    record["text"] = document.content
    if spans and document.labels:
        record |= {"entities": spans, "cats": list(document.labels)}
    else:
        record["label"] = spans or list(document.labels)
    reserved = {*_OURS, "content", "key"}
    record |= {name: value for name, value in document.metadata.items() if name not in reserved}
    meta = {name: value for name, value in document.metadata.items() if name in reserved}
    return record | {"meta": meta} if meta else record


FORMAT = Format(
    name="doccano",
    title="doccano JSON lines",
    subject=Subject.TEXT,
    media_type="application/x-ndjson",
    suffix=".jsonl",
    read=read,
    rejects=rejects,
    likeness=likeness,
    write=write,
    losses=losses,
)
