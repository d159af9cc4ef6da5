"""Boxes of one image that are the same but for what arithmetic does to numbers.

Formats have percents or parts of the image, of which 30.7 comes back as 30.700000000000003.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterator
from itertools import chain, product
from typing import Final, TypeAlias

from domain.systems.annotations.formats.boxes import ROUNDING

Key = tuple[int, float, float, float, float, str | None]
"""Label, left, top, right, bottom and polygon: of two boxes that have these in common, but for
what arithmetic does to numbers, one is the other. What lies beyond the image is no part of it."""
Cell = tuple[int, ...]
Outline: TypeAlias = "array[float]"
"""The corners of a polygon, x and y in turn; none where there is no polygon."""

PER_PIXEL: Final = 1e-9
"""By how much of itself a number may be off as well, in a large image."""
PARTS: Final = 64
"""Into how many a pixel is parted, on either axis, where boxes are looked for."""
TOGETHER: Final = 50
"""Boxes of one place that others are compared with; beyond these only equal ones are known."""


class AlikeBoxes:
    """The boxes of an image that are not the same, each by the first that was seen of it.

    They are looked for by the parts of pixels that their corners are nearest to, which for a
    corner between two are both, and compared then.
    """

    def __init__(self) -> None:
        self._first: set[Key] = set()
        self._by_cell: dict[Cell, list[tuple[Key, Outline]]] = {}

    def known(self, key: Key) -> Key | None:
        """The box that this is, if it has been seen."""
        return key if key in self._first else self._near(key, _outline(key))

    def seen(self, key: Key) -> Key:
        """The box that this is, or itself when it is the first of them."""
        if key in self._first:
            return key
        outline = _outline(key)
        found = self._near(key, outline)
        if found is not None:
            return found
        self._first.add(key)
        together = self._by_cell.setdefault(_cell(key, outline), [])
        if len(together) < TOGETHER:
            together.append((key, outline))
        return key

    def _near(self, key: Key, outline: Outline) -> Key | None:
        for cell in _cells(key, outline):
            for each, corners in self._by_cell.get(cell, ()):
                if all(map(is_near, each[1:5], key[1:5])) and all(map(is_near, corners, outline)):
                    return each
        return None


def is_near(one: float, other: float) -> bool:
    """Whether two numbers are the same but for what arithmetic does to them."""
    return math.isclose(one, other, rel_tol=PER_PIXEL, abs_tol=ROUNDING)


def _outline(key: Key) -> Outline:
    polygon = key[5]
    return array("d", () if polygon is None else chain(*json.loads(polygon)))


def _cell(key: Key, outline: Outline) -> Cell:
    places = (round(at * PARTS) for at in _places(key, outline))
    return (key[0], len(outline), *places)


def _cells(key: Key, outline: Outline) -> Iterator[Cell]:
    """Those in which a box that is the same may be."""
    nearest = (
        {round((at - _slack(at)) * PARTS), round((at + _slack(at)) * PARTS)}
        for at in _places(key, outline)
    )
    return product((key[0],), (len(outline),), *nearest)


def _places(key: Key, outline: Outline) -> Iterator[float]:
    """The corners of a box and the first one of its polygon."""
    return chain(key[1:5], outline[:2])


def _slack(at: float) -> float:
    return ROUNDING + abs(at) * PER_PIXEL
