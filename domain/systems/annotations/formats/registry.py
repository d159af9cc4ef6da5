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
from domain.systems.annotations.formats.archives import names_as_head
from domain.systems.annotations.formats.contract import FileRefused, Format, Subject
from domain.systems.annotations.formats.encoding import head_of
from domain.systems.annotations.formats.json_heads import first_objects, is_within_first

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
_OF_ANY_OBJECTS = (json_lines.FORMAT, json_array.FORMAT)
"""What objects look like as long as nothing of another format is seen in them."""


def format_named(name: str) -> Format:
    """The format of that name; raises FileRefused for one that is not known."""
    for known in FORMATS:
        if known.name == name:
            return known
    names = ", ".join(known.name for known in FORMATS)
    raise FileRefused(f"format {name!r} is not known; choose one of {names}")


def chosen(
    stream: BinaryIO,
    name: str,
    *,
    explicit: str | None,
    subject: Subject | None,
    encoding: str | None = None,
) -> Format:
    """The format of a file: the one that was said, else the one that it looks most like.

    Only those of the subject, where there is one; raises FileRefused where none is left. What
    was said of its encoding is how it is looked at.
    """
    known = [form for form in FORMATS if subject in (None, form.subject)]
    if explicit is None:
        return _alike(stream, name, known, encoding)
    named = [form for form in known if explicit in (form.name, form.family)]
    if not named:
        other = format_named(explicit)
        raise FileRefused(f"{other.title} has no {subject}s; choose another format")
    head = _head(stream, encoding)
    if len(named) > 1 and is_within_first(head):
        head = first_objects(stream, encoding) or head
    return max(named, key=lambda form: form.likeness(head, name))


def detected(stream: BinaryIO, name: str) -> Format:
    """The format that a file looks most like; raises FileRefused where it looks like none."""
    return _alike(stream, name, FORMATS, None)


def _alike(stream: BinaryIO, name: str, known: Sequence[Format], encoding: str | None) -> Format:
    head = _head(stream, encoding)
    best, likeness = _most(known, head, name)
    if (best in _OF_ANY_OBJECTS or likeness < _ENOUGH) and is_within_first(head):
        best, likeness = _most(known, _further(stream, encoding), name)
    if likeness < _ENOUGH:
        titles = ", ".join(form.title for form in known)
        raise FileRefused(f"the file looks like none of {titles}; say which format it has")
    return best


def _most(known: Sequence[Format], head: bytes, name: str) -> tuple[Format, float]:
    found = [(form, form.likeness(head, name)) for form in known]
    return max(found, key=lambda one: one[1])


def _further(stream: BinaryIO, encoding: str | None) -> bytes:
    """What a file begins with whose first object goes on behind its head.

    What tells its format may stand behind a long text, and annotations that are read as metadata
    are lost without a word.
    """
    head = first_objects(stream, encoding)
    if not head:
        raise FileRefused(
            "the first object of the file has no end that tells its format; say which it has"
        )
    return head


def _head(stream: BinaryIO, encoding: str | None) -> bytes:
    head = head_of(stream, encoding)
    if not head:
        raise FileRefused("the file is empty; upload one with content")
    return names_as_head(stream) or head
