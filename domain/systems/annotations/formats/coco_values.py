"""The images and annotations of COCO as plain JSON values, and the documents they stand for."""

from __future__ import annotations

import math
from typing import Any

from domain.systems.annotations.formats.boxes import (
    Outline,
    area,
    as_plain,
    extent,
    image_name,
    image_side,
    key_of,
    metadata_of,
    number,
    score,
    within,
)
from domain.systems.annotations.formats.documents import Box, ImageDocument
from domain.systems.annotations.formats.rle import is_mask, mask_area, mask_extent, runs
from domain.systems.annotations.formats.validity import Unfit, fit_metadata, is_text, shown

MASK = "rle"
"""Under this name the metadata of a box have its mask, as the file had it."""
AREA = "area"
"""Under this name they have an area that is not that of the outline or box."""

_IMAGE = frozenset({"id", "file_name", "width", "height", "key"})
_BOX = frozenset(
    {"id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation", "score"}
)


def identity(value: Any, which: str) -> str:
    """An id, which must be a whole number; some tools write it as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Unfit("no_id", f"{which} is {shown(value)}; give a whole number")
    if isinstance(value, float):
        if not value.is_integer():
            raise Unfit("no_id", f"{which} is {shown(value)}; give a whole number")
        value = int(value)
    if isinstance(value, str) and not is_text(value):
        raise Unfit("no_id", f"{which} is {shown(value)}, which is no text; give a whole number")
    return str(value)


def image_of(value: dict[str, Any]) -> ImageDocument:
    """An image without its boxes; raises Unfit where it is none."""
    own = identity(value.get("id"), "id")
    key = value.get("key", own)
    image = ImageDocument(
        image_name(value.get("file_name")),
        image_side(value.get("width"), "width"),
        image_side(value.get("height"), "height"),
        key=key_of(key) if key is None or isinstance(key, str) else own,
        metadata=metadata_of(as_plain(value, _IMAGE)),
    )
    fit_metadata({"key": image.key, **image.metadata}, "the image")
    return image


def image_fields(document: ImageDocument, own: int) -> dict[str, Any]:
    """What a file says of an image; its own name for it is kept beside the running number."""
    return {
        "id": own,
        "file_name": document.file_name,
        "width": document.width,
        "height": document.height,
        **({} if document.key == str(own) else {"key": document.key}),
        **as_plain(document.metadata, _IMAGE),
    }


def box_of(value: dict[str, Any], image: ImageDocument, label: str) -> Box:
    """A box from an annotation; raises Unfit where it is none."""
    metadata = metadata_of(as_plain(value, _BOX))
    fit_metadata(metadata, "the annotation")
    outlines, mask = _outlines(value.get("segmentation"), image)
    if mask is not None:
        metadata[MASK] = value["segmentation"]
    place = _place(value.get("bbox"), outlines, mask, image)
    stated = value.get(AREA)
    if stated is not None:
        measured = _area(place, outlines, mask)
        if not math.isclose(number(stated, AREA), measured, rel_tol=1e-9, abs_tol=1e-9):
            metadata[AREA] = stated
    confidence = value.get("score")
    return within(
        Box(
            *place,
            label,
            None if confidence is None else score(confidence),
            outlines,
            _crowd(value.get("iscrowd")),
            metadata,
        ),
        image.width,
        image.height,
    )


def box_fields(box: Box, image: int, category: int) -> dict[str, Any]:
    """What a file says of a box, but for its id."""
    outlines = [[value for point in outline for value in point] for outline in box.polygons]
    mask = box.metadata.get(MASK)
    segmentation: Any = outlines
    if is_mask(mask) and not outlines:
        segmentation = mask
    stated = box.metadata.get(AREA)
    if isinstance(stated, bool) or not isinstance(stated, int | float):
        stated = _area_written(box, mask if segmentation is mask else None)
    return {
        "image_id": image,
        "category_id": category,
        "bbox": [box.x, box.y, box.width, box.height],
        "area": stated,
        "iscrowd": int(box.crowd),
        "segmentation": segmentation,
        **({} if box.confidence is None else {"score": box.confidence}),
        **as_plain(box.metadata, _BOX | {MASK}),
    }


def _area_written(box: Box, mask: Any) -> float:
    counts = None
    if mask is not None:
        try:
            height, width = mask["size"]
            counts = runs(mask, width, height)
        except (TypeError, ValueError):
            counts = None
    return _area((box.x, box.y, box.width, box.height), box.polygons, counts)


def _area(
    place: tuple[float, float, float, float],
    outlines: tuple[Outline, ...],
    mask: list[int] | None,
) -> float:
    if mask is not None:
        return mask_area(mask)
    if outlines:
        return math.fsum(map(area, outlines))
    return place[2] * place[3]


def _crowd(value: Any) -> bool:
    """Files of single objects often leave it out."""
    if value is None or value in (0, 1):
        return bool(value)
    raise Unfit("iscrowd", f"iscrowd is {shown(value)}; give 0 or 1")


def _place(
    value: Any, outlines: tuple[Outline, ...], mask: list[int] | None, image: ImageDocument
) -> tuple[float, float, float, float]:
    if value is None or value == []:
        around = None
        if outlines:
            around = extent([point for outline in outlines for point in outline])
        elif mask is not None:
            around = mask_extent(mask, image.height)
        if around is not None:
            return around
    if not isinstance(value, list) or len(value) != 4:
        raise Unfit("bbox", f"bbox is {shown(value)}; give [x, y, width, height]")
    x, y, width, height = (number(part, "a number of bbox") for part in value)
    return x, y, width, height


def _outlines(value: Any, image: ImageDocument) -> tuple[tuple[Outline, ...], list[int] | None]:
    """The polygons, or the runs of the mask."""
    if value is None or value == []:
        return (), None
    if isinstance(value, dict):
        return (), runs(value, image.width, image.height)
    if not isinstance(value, list):
        raise Unfit("polygon", f"segmentation is {shown(value)}; give a list of polygons or a mask")
    return tuple(map(_outline, value)), None


def _outline(value: Any) -> Outline:
    if not isinstance(value, list) or len(value) < 6 or len(value) % 2:
        raise Unfit(
            "polygon",
            "a polygon is a list of x and y in turn, three points at least; correct it, or leave"
            " the segmentation out",
        )
    numbers = [number(part, "a coordinate") for part in value]
    return tuple(zip(numbers[0::2], numbers[1::2], strict=True))
