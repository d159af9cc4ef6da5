"""Masks as COCO has them: runs of pixels outside and inside in turn, column by column.

They are read to be checked and measured, never unpacked to pixels: a mask of a few bytes may
stand for any number of these.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from domain.systems.annotations.formats.validity import Unfit, shown

_BITS = 5
_LONGEST = 13
"""Characters of one packed number: 64 bits."""


def is_mask(value: Any) -> bool:
    """Whether it has the fields of one."""
    return isinstance(value, dict) and set(value) == {"counts", "size"}


def runs(mask: Any, width: int, height: int) -> list[int]:
    """The runs of a mask, packed or not; raises Unfit if they do not make up the image."""
    if not is_mask(mask):
        raise Unfit("rle", f"the mask is {shown(mask)}; give its size and counts")
    if mask["size"] != [height, width]:
        raise Unfit(
            "rle",
            "the mask is of another size than its image; give height and width,"
            f" [{height}, {width}]",
        )
    counts = mask["counts"]
    if isinstance(counts, str):
        counts = _unpacked(counts)
    if not isinstance(counts, list) or not all(
        isinstance(run, int) and not isinstance(run, bool) and run >= 0 for run in counts
    ):
        raise Unfit(
            "rle", "the counts of the mask are neither whole numbers nor packed; correct it"
        )
    if sum(counts) != width * height:
        raise Unfit(
            "rle",
            f"the counts of the mask make up {sum(counts)} pixels, and the image has"
            f" {width * height}; correct them",
        )
    return counts


def mask_area(counts: list[int]) -> int:
    """How many pixels are inside."""
    return sum(counts[1::2])


def mask_extent(counts: list[int], height: int) -> tuple[int, int, int, int] | None:
    """The rectangle around the pixels that are inside; ``None`` where none is."""
    left = top = right = bottom = -1
    ends = list(accumulate(counts))
    for start, end in zip(ends[0::2], ends[1::2], strict=False):
        if start == end:
            continue
        first, last = start // height, (end - 1) // height
        # A run that goes on in the next column goes over the whole height.
        low, high = (start % height, (end - 1) % height) if first == last else (0, height - 1)
        left = first if left < 0 else left
        top = low if top < 0 else min(top, low)
        right, bottom = last, max(bottom, high)
    return None if left < 0 else (left, top, right - left + 1, bottom - top + 1)


def _unpacked(text: str) -> list[int]:
    """The runs of a packed mask: 5 bits a character, from the third on as differences."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift >= _BITS * _LONGEST:
            raise Unfit("rle", "the packed counts of the mask are damaged; write them again")
        value |= (code & 0x1F) << shift
        shift += _BITS
        if code & 0x20:
            continue
        if code & 0x10:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise Unfit("rle", "the packed counts of the mask are cut off; write them again")
    return counts
