"""What becomes of an image and its boxes in a format that cannot hold all of them.

A format says what its reader would give of what its writer wrote; what differs is what it
drops. So the report and the files cannot disagree.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from domain.systems.annotations.formats.boxes import ROUNDING
from domain.systems.annotations.formats.documents import Box, ImageDocument, Loss

MESSAGES = {
    "file_name": "the image comes back under another name",
    "image_size": "the image comes back in another size",
    "key": "the name of the image is dropped",
    "image_metadata": "metadata of the image are dropped or changed",
    "box": "a box is dropped",
    "box_place": "a box comes back at another place or in another size",
    "box_label": "the label of a box is written otherwise",
    "box_confidence": "the confidence of a box is dropped",
    "box_outline": "the outline of a box is dropped or changed",
    "box_crowd": "it is dropped that a box marks a crowd",
    "box_metadata": "metadata of a box are dropped or changed",
    "document": "the document is no image, and the format holds only images",
}


def loss(code: str) -> Loss:
    """A loss by its code."""
    return Loss(code, MESSAGES[code])


def differences(
    before: ImageDocument, after: ImageDocument, boxes: Sequence[Box | None]
) -> Iterator[Loss]:
    """What an image loses by becoming another; ``boxes`` has for each of its own what is left."""
    codes: dict[str, None] = {}
    if before.file_name != after.file_name:
        codes["file_name"] = None
    if (before.width, before.height) != (after.width, after.height):
        codes["image_size"] = None
    if before.key != after.key:
        codes["key"] = None
    if before.metadata != after.metadata:
        codes["image_metadata"] = None
    for old, new in zip(before.boxes, boxes, strict=True):
        codes |= dict.fromkeys(_of_box(old, new))
    yield from map(loss, codes)


def _of_box(old: Box, new: Box | None) -> Iterator[str]:
    if new is None:
        yield "box"
        return
    for code, was, has in (
        ("box_place", _place(old), _place(new)),
        ("box_label", old.label, new.label),
        ("box_confidence", old.confidence, new.confidence),
        ("box_outline", old.polygons, new.polygons),
        ("box_crowd", old.crowd, new.crowd),
        ("box_metadata", dict(old.metadata), dict(new.metadata)),
    ):
        if not _same(was, has):
            yield code


def _place(box: Box) -> tuple[float, float, float, float]:
    return box.x, box.y, box.width, box.height


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal, numbers but for what arithmetic does to them."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=ROUNDING)
    return bool(one == other)
