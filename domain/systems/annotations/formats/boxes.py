"""What an image and its boxes must be like, whatever file they come from, and their geometry.

A box that reaches beyond its image is cut to it, and what the file had is kept in the metadata
as ``unclipped``; one that lies outside altogether cannot be taken. Outlines stay as they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from domain.systems.annotations.formats.documents import Box
from domain.systems.annotations.formats.validity import Unfit, shown

Outline = tuple[tuple[float, float], ...]

NAME_LENGTH = 500
LABEL_LENGTH = 200
METADATA_NAME = 200
"""Characters of the names that are stored with an image; what is longer would cost all of it."""
BOXES = 50_000
"""Boxes of one image: a document is held in memory as a whole."""
SIDE = 1_000_000
"""Pixels of one side of an image."""
UNCLIPPED = "unclipped"
ROUNDING = 1e-6
"""By how much of a pixel a box may be off for no other reason than arithmetic."""

_LEADS_OUT = re.compile(
    r"^[/\\]|^[A-Za-z]:[/\\]|^[A-Za-z][A-Za-z0-9+.-]*://|(^|[/\\])\.\.([/\\]|$)"
)
_NO_NAME = re.compile("[\x00-\x1f\x7f\u2028\u2029\ud800-\udfff]")
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")


def image_name(value: Any) -> str:
    """The name of an image, relative to wherever images are; it is never opened."""
    if not isinstance(value, str) or not value.strip() or len(value) > NAME_LENGTH:
        raise Unfit(
            "file_name",
            f"the file name of the image is {shown(value)}; give a name of 1 to {NAME_LENGTH}"
            " characters",
        )
    if _NO_NAME.search(value) or _LEADS_OUT.search(value):
        raise Unfit(
            "file_name",
            f"the file name {shown(value)} is no relative name; give the one below the folder of"
            " images",
        )
    return value


def label_name(value: Any) -> str:
    """The name of a label."""
    plain = isinstance(value, str) and value.strip() and not _NO_TEXT.search(value)
    if plain and len(value) <= LABEL_LENGTH:
        return str(value)
    raise Unfit(
        "no_label",
        f"the name of the label is {shown(value)}; give one of 1 to {LABEL_LENGTH} characters",
    )


def key_of(value: str | None) -> str | None:
    """What a file calls an image."""
    if value is not None and "\0" in value:
        raise Unfit("key", f"the key {shown(value)} has U+0000, which is no text; remove it")
    return value


def metadata_of(metadata: dict[str, Any]) -> dict[str, Any]:
    """The metadata themselves, whose names may not be of any length."""
    for name in metadata:
        if len(name) > METADATA_NAME:
            raise Unfit(
                "metadata",
                f"the field {shown(name)} has a name of {len(name)} characters; shorten it to"
                f" {METADATA_NAME}, or leave the field out",
            )
    return metadata


def image_side(value: Any, which: str) -> int:
    """Width or height of an image in pixels."""
    side = number(value, which)
    if side != int(side) or not 1 <= side <= SIDE:
        raise Unfit(
            "image_size", f"{which} of the image is {shown(value)}; give its pixels, 1 to {SIDE}"
        )
    return int(side)


def number(value: Any, where: str) -> float:
    """A finite number."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15:
        return value
    raise Unfit("not_a_number", f"{where} is {shown(value)}; give a number")


def score(value: Any) -> float:
    """A confidence."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return value
    raise Unfit("score", f"the score is {shown(value)}; give a number from 0 to 1, or none")


def require_room(boxes: Sequence[Box]) -> None:
    """Refuse one more box than an image may have."""
    if len(boxes) >= BOXES:
        raise Unfit(
            "too_many_boxes", f"the image has {len(boxes)} boxes before this one; split the image"
        )


def within(box: Box, width: int, height: int) -> Box:
    """The box cut to its image; raises Unfit where nothing of it is left."""
    if box.width <= 0 or box.height <= 0:
        raise Unfit(
            "empty_box",
            f"the box is {box.width:g} by {box.height:g} pixels; give it an area, or remove it",
        )
    left, top = max(box.x, 0), max(box.y, 0)
    right, bottom = min(box.x + box.width, width), min(box.y + box.height, height)
    if right <= left or bottom <= top:
        raise Unfit(
            "box_outside_image",
            f"the box at {box.x:g}, {box.y:g} lies outside of its image of {width} by {height}"
            " pixels; correct the box or the size of the image",
        )
    beyond = max(left - box.x, top - box.y, box.x + box.width - right, box.y + box.height - bottom)
    if beyond <= ROUNDING:
        return box
    return Box(
        left,
        top,
        right - left,
        bottom - top,
        box.label,
        box.confidence,
        box.polygons,
        box.crowd,
        {**box.metadata, UNCLIPPED: [box.x, box.y, box.width, box.height]},
    )


def extent(points: Sequence[tuple[float, float]]) -> tuple[float, float, float, float]:
    """The rectangle around points: x, y, width, height."""
    left, top = min(x for x, _ in points), min(y for _, y in points)
    return left, top, max(x for x, _ in points) - left, max(y for _, y in points) - top


def area(outline: Outline) -> float:
    """The area within an outline that does not cross itself."""
    shifted = (*outline[1:], outline[0])
    return (
        abs(math.fsum(a * d - c * b for (a, b), (c, d) in zip(outline, shifted, strict=True))) / 2
    )


def as_plain(metadata: Mapping[str, Any], taken: frozenset[str]) -> dict[str, Any]:
    """Metadata as fields beside those of a format, whose names they cannot have."""
    return {name: value for name, value in metadata.items() if name not in taken}
