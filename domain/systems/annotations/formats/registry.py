"""All formats, and the one that a file looks like."""

from __future__ import annotations

from typing import BinaryIO

from domain.systems.annotations.formats import (
    coco,
    conll,
    delimited,
    doccano,
    json_array,
    json_lines,
    label_studio,
    pascal_voc,
    xml_documents,
    yolo,
)
from domain.systems.annotations.formats.contract import FileRefused, Format
from domain.systems.annotations.formats.encoding import CHUNK

FORMATS: tuple[Format, ...] = (
    delimited.FORMAT,
    json_lines.FORMAT,
    conll.FORMAT,
    json_array.FORMAT,
    doccano.FORMAT,
    label_studio.FORMAT,
    xml_documents.FORMAT,
    coco.FORMAT,
    yolo.FORMAT,
    pascal_voc.FORMAT,
)

_ENOUGH = 0.3


def format_named(name: str) -> Format:
    """The format of that name; raises FileRefused for one that is not known."""
    for known in FORMATS:
        if known.name == name:
            return known
    names = ", ".join(known.name for known in FORMATS)
    raise FileRefused(f"format {name!r} is not known; choose one of {names}")


def detected(stream: BinaryIO, name: str) -> Format:
    """The format that a file looks most like; raises FileRefused where it looks like none."""
    stream.seek(0)
    head = stream.read(CHUNK)
    stream.seek(0)
    if not head:
        raise FileRefused("the file is empty; upload one with content")
    best = max(FORMATS, key=lambda known: known.likeness(head, name))
    if best.likeness(head, name) < _ENOUGH:
        raise FileRefused("the file looks like none of the known formats; say which it has")
    return best
