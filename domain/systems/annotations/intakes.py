"""Intakes: what documents of files become when they are imported, by what they are of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from domain.operation import Operation
from domain.systems.annotations.formats.contract import Subject, WriteOptions
from domain.systems.annotations.formats.documents import Box, Document, ImageDocument, Span
from domain.systems.annotations.formats.records import record_of, text_of
from domain.systems.annotations.image_importing import import_images
from domain.systems.annotations.importing import import_texts


@dataclass(frozen=True, slots=True)
class Intake:
    """The operation that documents are imported by, and how each is an item of it.

    ``labels`` are those of its annotations, one for each; ``too_large`` is the remedy for a
    document that is more than an item may be.
    """

    subject: Subject
    operation: Operation
    item: Callable[[Document], dict[str, Any]]
    labels: Callable[[Document], list[str]]
    too_large: str


def text_item(document: Document) -> dict[str, Any]:
    """A text as an item of ``texts.import``, without what is empty.

    The words of its spans stand in it once: of the reader they have been looked at, and of many
    long spans they would be more than an item may have.
    """
    text = text_of(document)
    item = record_of(replace(text, spans=()), WriteOptions())
    return item | {"annotations": [_span(span) for span in text.spans]}


def _span(span: Span) -> dict[str, Any]:
    fields: dict[str, Any] = {"start_char": span.start, "end_char": span.end, "label": span.label}
    if span.confidence is not None:
        fields["confidence_score"] = span.confidence
    if span.metadata:
        fields["metadata"] = dict(span.metadata)
    return fields


def image_item(document: Document) -> dict[str, Any]:
    """An image as an item of ``annotations.import_images``, without what is empty."""
    image = image_of(document)
    item: dict[str, Any] = {
        "file_name": image.file_name,
        "width": image.width,
        "height": image.height,
        "boxes": [_box(box, image) for box in image.boxes],
    }
    if image.key is not None:
        item["key"] = image.key
    if image.metadata:
        item["metadata"] = dict(image.metadata)
    return item


def image_of(document: Document) -> ImageDocument:
    """The document, which must be an image: a format of images gives nothing else."""
    if not isinstance(document, ImageDocument):
        raise TypeError(f"{type(document).__name__} is no image")
    return document


def _box(box: Box, image: ImageDocument) -> dict[str, Any]:
    # What arithmetic has left outside of the image is no part of the box.
    x, y = max(box.x, 0), max(box.y, 0)
    fields: dict[str, Any] = {
        "bbox": [x, y, min(box.width, image.width - x), min(box.height, image.height - y)],
        "label": box.label,
    }
    if box.polygons:
        fields["polygons"] = box.polygons
    if box.crowd:
        fields["crowd"] = True
    if box.confidence is not None:
        fields["confidence_score"] = box.confidence
    if box.metadata:
        fields["metadata"] = dict(box.metadata)
    return fields


INTAKES: Final[Mapping[Subject, Intake]] = {
    Subject.TEXT: Intake(
        Subject.TEXT,
        import_texts,
        item=text_item,
        labels=lambda document: [span.label for span in text_of(document).spans],
        too_large="split the text",
    ),
    Subject.IMAGE: Intake(
        Subject.IMAGE,
        import_images,
        item=image_item,
        labels=lambda document: [box.label for box in image_of(document).boxes],
        too_large="give the boxes of the image in several files",
    ),
}
