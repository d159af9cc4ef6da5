"""XML: ``documents`` with a ``document`` each.

::

    <documents>
      <document key="doc-1">
        <content>Ada lives in London.</content>
        <label>biography</label>
        <metadata>{"source": "web"}</metadata>
        <annotation start_char="0" end_char="3" label="PER" confidence_score="0.9">Ada</annotation>
      </document>
    </documents>

Metadata are JSON, those of an annotation in its attribute ``metadata``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, BinaryIO
from xml.sax.saxutils import escape, quoteattr

from domain.systems.annotations.formats.contract import (
    FileRefused,
    Format,
    ReadOptions,
    Subject,
    WriteOptions,
)
from domain.systems.annotations.formats.documents import (
    Document,
    Loss,
    Rejected,
    TextDocument,
)
from domain.systems.annotations.formats.encoding import encoding_of, head_text
from domain.systems.annotations.formats.json_values import parsed
from domain.systems.annotations.formats.losses import differences
from domain.systems.annotations.formats.mapping import mapped, renames
from domain.systems.annotations.formats.records import (
    document_of,
    labels_of,
    shows_selected,
    span_record,
    text_of,
)
from domain.systems.annotations.formats.rejecting import rejection
from domain.systems.annotations.formats.validity import Unfit, shown
from domain.systems.annotations.formats.xml_elements import Element, Node, elements

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BEGINNING = '<?xml version="1.0" encoding="{}"?>\n<documents>\n'
_END = "</documents>\n"


def read(stream: BinaryIO, options: ReadOptions) -> Iterator[Document | Rejected]:
    """The documents of a file, and the elements that are none."""
    encoding = encoding_of(stream, options.encoding)
    plain = replace(options, columns={}, mapping={})
    for element in elements(stream, encoding, _element_name(options), options.bounds):
        try:
            yield document_of(_record(element, options), plain)
        except Exception as error:
            yield rejection(element.line, error, encoding.raw(element.raw))


def write(documents: Iterable[Document], _options: WriteOptions) -> Iterator[bytes]:
    """One element a document."""
    yield _BEGINNING.format("UTF-8").encode()
    for document in documents:
        yield _element(_kept(text_of(document))).encode()
    yield _END.encode()


def rejects(
    rejected: Iterable[Rejected], source: BinaryIO, options: ReadOptions
) -> Iterator[bytes]:
    """The rejected elements within their root, in the encoding of the file."""
    encoding = encoding_of(source, options.encoding)
    name = "UTF-16" if encoding.name.startswith("utf-16") else encoding.name
    yield encoding.beginning + encoding.raw(_BEGINNING.format(name))
    for piece in rejected:
        if piece.raw:
            yield piece.raw + encoding.raw("\n")
    yield encoding.raw(_END)


def losses(document: Document, _options: WriteOptions) -> Iterable[Loss]:
    """XML has no place for most control characters."""
    document = text_of(document)
    return differences(document, _kept(document))


def likeness(head: bytes, name: str) -> float:
    """A root of documents."""
    text = re.sub(r"<\?.*?\?>|<!--.*?-->", "", head_text(head[:4096]), flags=re.DOTALL)
    if re.match(r"\s*<documents[\s>/]", text):
        return 0.95
    suffix = 0.2 if name.lower().endswith(".xml") else 0.0
    return 0.2 + suffix if re.match(r"\s*<\w", text) else 0.0


def _element_name(options: ReadOptions) -> str:
    name = (options.dialect or {}).get("element", "document")
    if not re.fullmatch(r"[\w.-]{1,100}", name):
        raise FileRefused(f"dialect: element {name!r} is no name of an element; correct it")
    return name


def _record(element: Element, options: ReadOptions) -> dict[str, Any]:
    """The record of an element, as records.py takes it."""
    if element.fault is not None:
        raise element.fault
    node = element.node
    record: dict[str, Any] = dict(node.attributes)
    labels: list[str] = []
    annotations: list[dict[str, Any]] = []
    for child in node.children:
        if child.name == "label":
            labels.append(child.text)
        elif child.name == "annotation":
            annotations.append(_annotation(child, options.bounds.depth))
        elif child.name in record:
            raise Unfit("twice", f"<{child.name}> is there twice; leave one, or rename it")
        else:
            record[child.name] = _text(child)
    record = mapped(mapped(record, renames(options.columns)), options.mapping)
    if "metadata" in record:
        record["metadata"] = _value(record["metadata"], options.bounds.depth)
    own = labels_of(record.get("labels"))
    return record | {"labels": [*own, *labels], "annotations": annotations}


def _annotation(node: Node, depth: int) -> dict[str, Any]:
    record: dict[str, Any] = dict(node.attributes)
    if "metadata" in record:
        record["metadata"] = _value(record["metadata"], depth)
    text = _text(node)
    return record | {"selected_text": text} if text else record


def _text(node: Node) -> str:
    if node.children:
        raise Unfit("unknown_element", f"<{node.name}> has elements within; it may have text only")
    return node.text


def _value(text: Any, depth: int) -> Any:
    if not isinstance(text, str):
        raise Unfit("not_an_object", f"metadata is {shown(text)}; give a JSON object")
    return parsed(text, depth) if text.strip() else {}


def _kept(document: TextDocument) -> TextDocument:
    """The document with U+FFFD for each character that XML cannot have."""
    spans = tuple(replace(span, label=_clean(span.label)) for span in document.spans)
    return replace(
        document,
        content=_clean(document.content),
        spans=spans,
        key=None if document.key is None else _clean(document.key),
        labels=tuple(map(_clean, document.labels)),
    )


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def _element(document: TextDocument) -> str:
    key = "" if document.key is None else f" key={_attribute(document.key)}"
    parts = [f"<document{key}>\n<content>{_escaped(document.content)}</content>\n"]
    parts += [f"<label>{_escaped(label)}</label>\n" for label in document.labels]
    if document.metadata:
        parts.append(f"<metadata>{_escaped(_json(document.metadata))}</metadata>\n")
    told = shows_selected(document)
    for span in document.spans:
        record = span_record(span, document.content)
        covered = record.pop("selected_text")
        selected = covered if told else ""
        if span.metadata:
            record["metadata"] = _json(span.metadata)
        attributes = "".join(f" {name}={_attribute(value)}" for name, value in record.items())
        parts.append(f"<annotation{attributes}>{_escaped(selected)}</annotation>\n")
    return "".join([*parts, "</document>\n"])


def _json(value: Any) -> str:
    """JSON in ASCII, which has no character that XML lacks."""
    return json.dumps(dict(value), allow_nan=False, separators=(",", ":"))


def _escaped(text: str) -> str:
    return escape(text, {"\r": "&#13;"})


def _attribute(value: Any) -> str:
    text = repr(value) if isinstance(value, float) else str(value)
    return quoteattr(text)


FORMAT = Format(
    name="xml",
    title="XML",
    subject=Subject.TEXT,
    media_type="application/xml",
    suffix=".xml",
    read=read,
    rejects=rejects,
    likeness=likeness,
    write=write,
    losses=losses,
)
