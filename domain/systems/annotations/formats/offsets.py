"""Offsets in a text: by code points, as Countermand counts, by UTF-16 units and by bytes.

A browser counts UTF-16 units, many programs count the bytes of UTF-8. All three agree as long
as a text is plain ASCII, and drift apart with the first emoji.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from itertools import accumulate

from domain.systems.annotations.formats.contract import OffsetUnit


class Positions:
    """The places between the characters of one text, counted in some unit."""

    def __init__(self, content: str, unit: OffsetUnit) -> None:
        self._length = len(content)
        self._places = _places(content, unit)

    def code_point(self, offset: int) -> int | None:
        """The code point at an offset; ``None`` inside a character or beyond the text."""
        if self._places is None:
            return offset if 0 <= offset <= self._length else None
        found = bisect_left(self._places, offset)
        if found > self._length or self._places[found] != offset:
            return None
        return found

    def offset(self, code_point: int) -> int:
        """The offset of a code point of the text, or of its end."""
        return code_point if self._places is None else self._places[code_point]


def _places(content: str, unit: OffsetUnit) -> array[int] | None:
    """The offset of each code point and of the end; ``None`` where the units agree."""
    if unit is OffsetUnit.CODE_POINTS or content.isascii():
        return None
    if unit is OffsetUnit.UTF16:
        if max(content) <= "\uffff":
            return None
        widths = (1 if character <= "\uffff" else 2 for character in content)
    else:
        widths = (len(character.encode("utf-8", "surrogatepass")) for character in content)
    return array("q", accumulate(widths, initial=0))
