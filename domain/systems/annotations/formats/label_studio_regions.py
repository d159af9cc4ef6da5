"""Regions of Label Studio's images: rectangles and polygons, in percent, as boxes and back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from domain.systems.annotations.formats.boxes import (
    Outline,
    extent,
    label_name,
    metadata_of,
    number,
    score,
    within,
)
from domain.systems.annotations.formats.documents import Box, ImageDocument
from domain.systems.annotations.formats.label_studio import object_in
from domain.systems.annotations.formats.label_studio_heads import SHAPES
from domain.systems.annotations.formats.records import without_collision
from domain.systems.annotations.formats.validity import Unfit, fit_metadata, shown

Place = tuple[float, float, float, float]

RECTANGLE, POLYGON = "rectanglelabels", "polygonlabels"
_LABELS: Final = (RECTANGLE, POLYGON, "labels")


def boxes_of(region: dict[str, Any], image: ImageDocument) -> Iterator[Box]:
    """The boxes of a region: one for each of its labels; raises Unfit where it is none."""
    value = region["value"]
    names = names_in(value)
    if SHAPES & value.keys():
        kind = region.get("type", "region")
        raise Unfit("no_box", f"{shown(kind)} has no corners; draw a rectangle or a polygon")
    if not names:
        raise Unfit("no_label", "the region has no label; give it one")
    place, outline = _shape(value, image)
    metadata = metadata_of(object_in(region.get("meta"), "meta"))
    fit_metadata(metadata, "meta of the region")
    turn = value.get("rotation") or 0
    if turn and "points" not in value:
        metadata = without_collision(metadata, {"rotation": turn}, "region")
    said = region.get("score")
    confidence = None if said is None else score(said)
    outlines = () if outline is None else (outline,)
    for name in names:
        box = Box(*place, label_name(name), confidence, outlines, metadata=metadata)
        yield within(box, image.width, image.height)


def _shape(value: dict[str, Any], image: ImageDocument) -> tuple[Place, Outline | None]:
    if "points" in value:
        outline = _outline(value["points"], image)
        return extent(outline), outline
    x, y, width, height = (
        number(value.get(name), name) / 100 * side
        for name, side in (
            ("x", image.width),
            ("y", image.height),
            ("width", image.width),
            ("height", image.height),
        )
    )
    turn = number(value.get("rotation") or 0, "rotation") % 360
    if not turn:
        return (x, y, width, height), None
    outline = _turned((x, y, width, height), math.radians(turn))
    return extent(outline), outline


def _outline(points: Any, image: ImageDocument) -> Outline:
    if not isinstance(points, list) or len(points) < 3:
        raise Unfit("polygon", "the polygon has fewer than three points; draw it again")
    corners = []
    for point in points:
        if not isinstance(point, list) or len(point) != 2:
            raise Unfit("polygon", f"{shown(point)} where a point must be; give [x, y]")
        x, y = (number(part, "a coordinate") for part in point)
        corners.append((x / 100 * image.width, y / 100 * image.height))
    return tuple(corners)


def _turned(place: Place, angle: float) -> Outline:
    """The corners of a rectangle that is turned about its upper left one, clockwise."""
    x, y, width, height = place
    cosine, sine = math.cos(angle), math.sin(angle)
    return tuple(
        (x + a * cosine - b * sine, y + a * sine + b * cosine)
        for a, b in ((0, 0), (width, 0), (width, height), (0, height))
    )


def names_in(value: Any) -> list[Any] | None:
    """The labels of a region, whatever kind of tag it is."""
    if isinstance(value, dict):
        for name in _LABELS:
            if isinstance(value.get(name), list):
                return list(value[name])
    return None


def region_of(place: int, box: Box, image: ImageDocument) -> dict[str, Any]:
    """The region of a box: its first outline, or its rectangle where it has none."""
    outline = box.polygons[0] if box.polygons else None
    kind = RECTANGLE if outline is None else POLYGON
    value: dict[str, Any]
    if outline is None:
        value = {
            "x": box.x / image.width * 100,
            "y": box.y / image.height * 100,
            "width": box.width / image.width * 100,
            "height": box.height / image.height * 100,
            "rotation": 0,
        }
    else:
        points = [[x / image.width * 100, y / image.height * 100] for x, y in outline]
        value = {"points": points, "closed": True}
    return {
        "id": f"region-{place}",
        "from_name": "label" if outline is None else "polygon",
        "to_name": "image",
        "type": kind,
        "original_width": image.width,
        "original_height": image.height,
        "image_rotation": 0,
        "value": value | {kind: [box.label]},
        **({} if box.confidence is None else {"score": box.confidence}),
        **({"meta": dict(box.metadata)} if box.metadata else {}),
    }
