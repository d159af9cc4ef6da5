"""JSON lines: one document a line, as records.py describes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

from domain.systems.annotations.formats.contract import (
    FileRefused,
    Format,
    ReadOptions,
    Subject,
    WriteOptions,
)
from domain.systems.annotations.formats.documents import Document, Loss, Rejected, TextDocument
from domain.systems.annotations.formats.encoding import (
    CHUNK,
    encoding_of,
    head_text,
    lines,
)
from domain.systems.annotations.formats.json_values import compact, parsed
from domain.systems.annotations.formats.records import document_of, record_of
from domain.systems.annotations.formats.rejecting import rejection

_BLANKS = " \t\r\n"


def read(stream: BinaryIO, options: ReadOptions) -> Iterator[Document | Rejected]:
    """The documents of a file, and the lines that are none."""
    return read_lines(stream, options, document_of)


def read_lines(
    stream: BinaryIO,
    options: ReadOptions,
    document: Callable[[Any, ReadOptions], TextDocument],
) -> Iterator[Document | Rejected]:
    """What ``document`` makes of the value of each line that is not blank."""
    encoding = encoding_of(stream, options.encoding)
    _refuse_other(encoding.beginning_of(stream))
    for number, line in lines(stream, encoding, options.bounds.line):
        if line is None:
            yield too_long(number, options.bounds.line)
            continue
        text = line.strip(_BLANKS)
        if not text:
            continue
        try:
            yield document(parsed(text, options.bounds.depth), options)
        except Exception as error:
            yield rejection(number, error, encoding.raw(text))


def too_long(number: int, limit: int) -> Rejected:
    """A piece that is not taken into memory, and so not into the file of rejects either."""
    return Rejected(
        number,
        "too_long",
        f"longer than {limit:,} bytes; split the text, and upload it by itself",
        b"",
    )


def write(documents: Iterable[Document], options: WriteOptions) -> Iterator[bytes]:
    """One line a document."""
    for document in documents:
        yield compact(record_of(document, options)).encode() + b"\n"


def rejects(
    rejected: Iterable[Rejected], source: BinaryIO, options: ReadOptions
) -> Iterator[bytes]:
    """The rejected lines, in the encoding of the file."""
    encoding = encoding_of(source, options.encoding)
    yield encoding.beginning
    end = encoding.raw("\n")
    for piece in rejected:
        if piece.raw:
            yield piece.raw + end


def losses(_document: Document, _options: WriteOptions) -> Iterable[Loss]:
    """Nothing is dropped."""
    return ()


def likeness(head: bytes, name: str) -> float:
    """Lines that each begin and end as an object does."""
    found = object_lines(head)
    if not found:
        return 0.0
    return 0.9 if name.lower().endswith((".jsonl", ".ndjson")) else 0.7 if len(found) > 1 else 0.5


def object_lines(head: bytes) -> list[str]:
    """The whole lines of a head, if most of them look like objects."""
    text = head_text(head)
    found = [line.strip(_BLANKS) for line in text.replace("\r", "\n").split("\n")]
    found = [line for line in found if line]
    if len(found) > 1 and len(head) >= CHUNK:
        found.pop()
    alike = [line for line in found if line.startswith("{")]
    closed = sum(line.endswith("}") for line in alike)
    if len(head) >= CHUNK and len(found) == 1:
        closed = len(alike)
    return alike if alike and closed * 2 > len(found) else []


def _refuse_other(head: str) -> None:
    beginnings = [line.lstrip(_BLANKS)[:1] for line in head.replace("\r", "\n").split("\n")]
    if "{" not in beginnings:
        remedy = "choose the format json" if "[" in beginnings else "choose its format"
        raise FileRefused(f"no line of the file's beginning is a JSON object; {remedy}")


FORMAT = Format(
    name="jsonl",
    title="JSON lines",
    subject=Subject.TEXT,
    media_type="application/x-ndjson",
    suffix=".jsonl",
    read=read,
    rejects=rejects,
    likeness=likeness,
    write=write,
    losses=losses,
)
