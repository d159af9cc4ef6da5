"""JSON: a list of documents, as records.py describes them, or one document."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

from domain.systems.annotations.formats.contract import (
    Format,
    ReadOptions,
    Subject,
    WriteOptions,
)
from domain.systems.annotations.formats.documents import Document, Rejected, TextDocument
from domain.systems.annotations.formats.encoding import encoding_of, head_text
from domain.systems.annotations.formats.json_elements import elements
from domain.systems.annotations.formats.json_lines import losses, object_lines, too_long
from domain.systems.annotations.formats.json_values import compact, parsed
from domain.systems.annotations.formats.records import document_of, record_of
from domain.systems.annotations.formats.rejecting import rejection
from domain.systems.annotations.formats.validity import Unfit


def read(stream: BinaryIO, options: ReadOptions) -> Iterator[Document | Rejected]:
    """The documents of a file, and the elements that are none."""
    return read_elements(stream, options, document_of)


def read_elements(
    stream: BinaryIO,
    options: ReadOptions,
    document: Callable[[Any, ReadOptions], TextDocument],
) -> Iterator[Document | Rejected]:
    """What ``document`` makes of the value of each element."""
    encoding = encoding_of(stream, options.encoding)
    for element in elements(stream, encoding, options.bounds):
        if element.text is None:
            yield too_long(element.line, options.bounds.line)
            continue
        try:
            yield document(value_of(element.text, options.bounds.depth), options)
        except Exception as error:
            yield rejection(element.line, error, encoding.raw(element.text))


def write(documents: Iterable[Document], options: WriteOptions) -> Iterator[bytes]:
    """A list with one line a document."""
    return as_list(compact(record_of(document, options)).encode() for document in documents)


def as_list(
    pieces: Iterable[bytes], encoded: Callable[[str], bytes] = str.encode
) -> Iterator[bytes]:
    """A JSON list of elements, each in a line of its own."""
    before = encoded("[\n")
    for piece in pieces:
        yield before + piece
        before = encoded(",\n")
    yield encoded("[]\n") if before == encoded("[\n") else encoded("\n]\n")


def rejects(
    rejected: Iterable[Rejected], source: BinaryIO, options: ReadOptions
) -> Iterator[bytes]:
    """A list of the rejected elements, in the encoding of the file."""
    encoding = encoding_of(source, options.encoding)
    yield encoding.beginning
    yield from as_list((piece.raw for piece in rejected if piece.raw), encoding.raw)


def likeness(head: bytes, name: str) -> float:
    """A list of objects, or one object that is not the first line of many."""
    text = head_text(head).lstrip("\ufeff \t\r\n")
    suffix = 0.1 if name.lower().endswith(".json") else 0.0
    if text.startswith("[") and text[1:].lstrip()[:1] in ("", "{", "]"):
        return 0.7 + suffix
    if text.startswith("{") and len(object_lines(head)) <= 1:
        return 0.45 + suffix
    return 0.0


def value_of(text: str, depth: int) -> Any:
    """The value of an element's text; raises Unfit where it is none."""
    if not text:
        raise Unfit("not_json", "the file ends before its list does; look whether it is whole")
    return parsed(text, depth)


FORMAT = Format(
    name="json",
    title="JSON",
    subject=Subject.TEXT,
    media_type="application/json",
    suffix=".json",
    read=read,
    rejects=rejects,
    likeness=likeness,
    write=write,
    losses=losses,
)
