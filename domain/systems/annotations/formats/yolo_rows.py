"""A row of a YOLO label file and the box that it stands for.

``class x y width height`` is a box by its centre, ``class x1 y1 x2 y2 x3 y3 ...`` an outline, in
parts of the image.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from domain.systems.annotations.formats.boxes import Outline, extent, label_name, within
from domain.systems.annotations.formats.documents import Box
from domain.systems.annotations.formats.validity import Unfit, shown

_NUMBER = re.compile(r"^[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?$", re.ASCII)
_CLASS = re.compile(r"^(\d{1,6})(?:\.0*)?$", re.ASCII)
_BESIDE = 0.01
"""How far beyond the image a place may be: what training tools take."""
_TOKENS = 200_000


def looks_like_row(line: bytes) -> bool:
    """Whether a line could be meant as one."""
    tokens = line[:10_000].split()
    return len(tokens) > 4 and all(_NUMBER.match(token.decode("latin-1")) for token in tokens[:5])


def box_of(row: bytes, width: int, height: int, names: Mapping[int, str]) -> Box:
    """The box of a row; raises Unfit where it is none."""
    tokens = row.decode("utf-8", "replace").split(maxsplit=_TOKENS)
    if len(tokens) < 5:
        raise Unfit(
            "row_width",
            f"{len(tokens)} columns; a box is class, x, y, width, height, and an outline has three"
            " points at least",
        )
    label = _label(tokens[0], names)
    if len(tokens) == 6:
        raise Unfit(
            "row_width",
            "6 columns are neither a box (5) nor an outline (7 or more); remove the last one if it"
            " is a confidence",
        )
    if len(tokens) > 5 and (len(tokens) % 2 == 0 or len(tokens) >= _TOKENS):
        raise Unfit(
            "row_width",
            f"{len(tokens)} columns; an outline is the class, then x and y of each point",
        )
    return _placed([_part(token) for token in tokens[1:]], width, height, label)


def row_of(box: Box, width: int, height: int, place: int, *, outlined: bool) -> str | None:
    """The row of a box; ``None`` where YOLO has no place for it, or no reader would take it."""
    if box.crowd:
        return None
    parts = _outline(box, width, height) if outlined else _rectangle(box, width, height)
    if parts is None or not _is_taken(parts, width, height):
        return None
    return " ".join([str(place), *map(repr, parts)]) + "\n"


def has_outline(box: Box) -> bool:
    """Whether a box is more than its rectangle."""
    return not box.crowd and any(len(outline) > 2 for outline in box.polygons)


def _placed(parts: Sequence[float], width: int, height: int, label: str) -> Box:
    """The box of four numbers, or of the points of an outline; raises Unfit where it is none."""
    if len(parts) == 4:
        x, y, wide, high = parts
        box = Box(
            (x - wide / 2) * width, (y - high / 2) * height, wide * width, high * height, label
        )
        return within(box, width, height)
    outline = tuple((x * width, y * height) for x, y in zip(parts[0::2], parts[1::2], strict=True))
    return within(Box(*extent(outline), label, polygons=(outline,)), width, height)


def _is_taken(parts: Sequence[float], width: int, height: int) -> bool:
    """Whether a reader finds a box: at an edge a small one may be less than a number can tell."""
    if not all(map(math.isfinite, parts)):
        return False
    try:
        _placed(parts, width, height, "")
    except Unfit:
        return False
    return True


def _label(token: str, names: Mapping[int, str]) -> str:
    matched = _CLASS.match(token)
    if matched is None:
        raise Unfit("class", f"the class is {shown(token)}; give its number, from 0")
    name = names.get(int(matched[1]))
    if name is None or not name.strip():
        raise Unfit("unknown_class", f"class {token} has no name; add it to the names of classes")
    return label_name(name)


def _part(token: str) -> float:
    if not _NUMBER.match(token):
        raise Unfit(
            "not_a_number", f"{shown(token)} is no number; give a part of the image, 0 to 1"
        )
    value = float(token)
    if not -_BESIDE <= value <= 1 + _BESIDE:
        raise Unfit(
            "not_normalised",
            f"{shown(token)} is not from 0 to 1; divide pixels by width or height of the image",
        )
    return value


def _corners(box: Box, width: int, height: int) -> tuple[float, float, float, float] | None:
    """Of the part within the image, as parts of it; ``None`` where nothing is."""
    left, top = max(box.x, 0), max(box.y, 0)
    right, bottom = min(box.x + box.width, width), min(box.y + box.height, height)
    if not (left < right and top < bottom):
        return None
    return left / width, top / height, right / width, bottom / height


def _rectangle(box: Box, width: int, height: int) -> list[float] | None:
    corners = _corners(box, width, height)
    if corners is None:
        return None
    left, top, right, bottom = corners
    return [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]


def _outline(box: Box, width: int, height: int) -> list[float] | None:
    outlines = [outline for outline in box.polygons if len(outline) > 2]
    if not outlines:
        corners = _corners(box, width, height)
        if corners is None:
            return None
        left, top, right, bottom = corners
        return [left, top, right, top, right, bottom, left, bottom]
    return [
        part
        for x, y in _joined(outlines)
        for part in (min(max(x / width, 0.0), 1.0), min(max(y / height, 0.0), 1.0))
    ]


def _joined(outlines: list[Outline]) -> Outline:
    """Several outlines as one: lines without width lead to each and back again."""
    first, *others = outlines
    if not others:
        return first
    start = first[0]
    joined = [*first, start]
    for outline in others:
        joined += [*outline, outline[0], start]
    return tuple(joined[:-1])
