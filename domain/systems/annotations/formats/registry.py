"""All formats, and the one that a file looks like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

from domain.systems.annotations.formats import (
    coco,
    conll,
    delimited,
    doccano,
    json_array,
    json_lines,
    label_studio,
    label_studio_images,
    pascal_voc,
    spreadsheet,
    xml_documents,
    yolo,
)
from domain.systems.annotations.formats.contract import FileRefused, Format, Subject
from domain.systems.annotations.formats.encoding import CHUNK

FORMATS: tuple[Format, ...] = (
    delimited.FORMAT,
    json_lines.FORMAT,
    conll.FORMAT,
    json_array.FORMAT,
    doccano.FORMAT,
    label_studio.FORMAT,
    label_studio_images.FORMAT,
    xml_documents.FORMAT,
    coco.FORMAT,
    yolo.FORMAT,
    pascal_voc.FORMAT,
    spreadsheet.FORMAT,
)

_ENOUGH = 0.3


def format_named(name: str) -> Format:
    """The format of that name; raises FileRefused for one that is not known."""
    for known in FORMATS:
        if known.name == name:
            return known
    names = ", ".join(known.name for known in FORMATS)
    raise FileRefused(f"format {name!r} is not known; choose one of {names}")


def chosen(stream: BinaryIO, name: str, *, explicit: str | None, subject: Subject | None) -> Format:
    """The format of a file: the one that was said, else the one that it looks most like.

    Only those of the subject, where there is one; raises FileRefused where none is left.
    """
    known = [form for form in FORMATS if subject in (None, form.subject)]
    if explicit is None:
        return _alike(stream, name, known)
    named = [form for form in known if explicit in (form.name, form.family)]
    if not named:
        other = format_named(explicit)
        raise FileRefused(f"{other.title} has no {subject}s; choose another format")
    head = _head(stream)
    return max(named, key=lambda form: form.likeness(head, name))


def detected(stream: BinaryIO, name: str) -> Format:
    """The format that a file looks most like; raises FileRefused where it looks like none."""
    return _alike(stream, name, FORMATS)


def _alike(stream: BinaryIO, name: str, known: Sequence[Format]) -> Format:
    head = _head(stream)
    best = max(known, key=lambda form: form.likeness(head, name))
    if best.likeness(head, name) < _ENOUGH:
        titles = ", ".join(form.title for form in known)
        raise FileRefused(f"the file looks like none of {titles}; say which format it has")
    return best


def _head(stream: BinaryIO) -> bytes:
    stream.seek(0)
    head = stream.read(CHUNK)
    stream.seek(0)
    if not head:
        raise FileRefused("the file is empty; upload one with content")
    return head
