"""Exported images, each with its boxes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from domain.operation import Context, operation
from domain.outcomes import Result
from domain.systems.annotations import tables
from domain.systems.annotations.export_reading import Row, Source, exported, parted
from domain.systems.annotations.export_terms import Export, Exported
from domain.systems.annotations.formats.contract import Subject
from domain.systems.annotations.formats.documents import Box, ImageDocument

Outline = tuple[tuple[float, float], ...]


class ImageExport(Export):
    """Parameters of exports of images; there are no rules by which a box is valid."""

    subject: ClassVar[Subject] = Subject.IMAGE


@operation(
    "annotations.export_images",
    item=Exported,
    params=ImageExport,
    per="chunk",
    independent=True,
    read_only=True,
    selectable=tables.images,
    codes=["too_many_annotations"],
)
def export_images(ctx: Context, items: Sequence[Exported]) -> list[Result]:
    """Read images of a project with their boxes, for a file; nothing is changed."""
    return exported(ctx, _IMAGES, [item.id for item in items], ctx.params.lost)


def _document(image: Row, marks: Sequence[Row], names: Mapping[int, str]) -> ImageDocument:
    metadata, of_file = parted(json.loads(image["metadata"]), _is_of_image)
    return ImageDocument(
        image["file_name"],
        image["width"],
        image["height"],
        tuple(_box(mark, names[mark["label_id"]]) for mark in marks),
        of_file.get("key"),
        metadata,
    )


def _box(mark: Row, label: str) -> Box:
    """A box with all of its outlines: the first is its own, an import keeps the others apart."""
    metadata, of_file = parted(json.loads(mark["metadata"]), _is_of_box)
    own = [] if mark["polygon"] is None else [json.loads(mark["polygon"])]
    return Box(
        mark["x"],
        mark["y"],
        mark["width"],
        mark["height"],
        label,
        mark["confidence_score"],
        tuple(map(_outline, [*own, *of_file.get("polygons", ())])),
        bool(of_file.get("crowd", False)),
        metadata,
    )


def _outline(points: Sequence[Sequence[float]]) -> Outline:
    return tuple((x, y) for x, y in points)


def _is_of_image(value: Any) -> bool:
    """Whether an import can have written it of an image."""
    return isinstance(value, dict) and value.keys() == {"key"} and isinstance(value["key"], str)


def _is_of_box(value: Any) -> bool:
    """Whether an import can have written it of a box."""
    if not isinstance(value, dict) or not value or not value.keys() <= {"polygons", "crowd"}:
        return False
    outlines = value.get("polygons", [])
    return (
        value.get("crowd", True) is True
        and isinstance(outlines, list)
        and all(isinstance(outline, list) and _is_outline(outline) for outline in outlines)
    )


def _is_outline(points: list[Any]) -> bool:
    return len(points) > 2 and all(
        isinstance(point, list)
        and [type(number) in (int, float) for number in point] == [True, True]
        for point in points
    )


def _all(_ctx: Context, rows: list[Row]) -> list[Row]:
    return rows


_IMAGES: Final = Source(
    one="image",
    table=tables.images,
    columns=("version", "file_name", "width", "height", "metadata"),
    marks=tables.boxes,
    mark_columns=(
        *("version", "image_id", "label_id", "x", "y", "width", "height"),
        "confidence_score",
    ),
    reference="image_id",
    place=lambda mark: mark["id"],
    document=_document,
    chosen=_all,
    shapes=("polygon", "metadata"),
)
