"""Export documents: texts and images as they wait for their file, a line each. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any, Final

from domain.systems.annotations.formats.documents import (
    Box,
    Document,
    ImageDocument,
    Span,
    TextDocument,
)

_SPAN: Final = tuple(field.name for field in fields(Span))
_BOX: Final = tuple(field.name for field in fields(Box))


def packed(documents: Iterable[Document]) -> bytes:
    """Documents as lines of JSON."""
    return b"".join(_line(document) for document in documents)


def unpacked(data: bytes) -> Iterator[Document]:
    """The documents again, one by one."""
    for line in data.split(b"\n")[:-1]:
        # Parts of an export that was made by an earlier release may have what is no number.
        found = json.loads(line, parse_constant=lambda _: None)
        if "spans" in found:
            found["spans"] = tuple(Span(*values) for values in found["spans"])
            yield TextDocument(**found | {"labels": tuple(found["labels"])})
        else:
            found["boxes"] = tuple(_box(values) for values in found["boxes"])
            yield ImageDocument(**found)


def _line(document: Document) -> bytes:
    values: dict[str, Any] = {
        field.name: getattr(document, field.name) for field in fields(document)
    }
    if isinstance(document, TextDocument):
        values["spans"] = [[getattr(each, name) for name in _SPAN] for each in document.spans]
    else:
        values["boxes"] = [[getattr(each, name) for name in _BOX] for each in document.boxes]
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _box(values: list[Any]) -> Box:
    named = dict(zip(_BOX, values, strict=True))
    outlines = tuple(tuple((x, y) for x, y in outline) for outline in named["polygons"])
    return Box(**named | {"polygons": outlines})
