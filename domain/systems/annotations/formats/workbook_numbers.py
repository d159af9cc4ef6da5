"""What the numbers in the cells of a workbook are meant as, and how they are given.

Dates and times are numbers of days there, and nothing but the format of a cell tells them from
other numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from enum import StrEnum


class Kind(StrEnum):
    """What a number is."""

    NUMBER = "number"
    DATE = "date"
    TIME = "time"
    ELAPSED = "elapsed"
    """How long something took, which may be more than a day."""


BUILT_IN: Mapping[int, Kind] = {
    **dict.fromkeys((*range(14, 18), 22), Kind.DATE),
    # Those of dates in Chinese, Japanese and Korean.
    **dict.fromkeys((*range(27, 37), *range(50, 59)), Kind.DATE),
    **dict.fromkeys((*range(18, 22), 45, 47), Kind.TIME),
    46: Kind.ELAPSED,
}
"""The formats of dates and times that have a number and no code."""

_NUMERAL = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_WHOLE = re.compile(r"[-+]?[0-9]{1,1000}")
_MOST_WHOLE = 1e21
"""Floating numbers from here on are given with their exponent."""
_PLAIN = re.compile(r'"[^"]*"|[\\_*].|\[(?![hms]+\])[^\]]*\]|General', re.I | re.DOTALL)
"""What a code has beside the parts of a date: words, and room that is left or filled."""
_DATE = re.compile("[dmyhs]", re.I)
_TIME = re.compile("[^dy]*[hs][^dy]*", re.I)
_ELAPSED = re.compile(r"\[[hms]+\]", re.I)


def kind_of(code: str) -> Kind:
    """What the numbers of a format are, by its code."""
    parts = _PLAIN.sub("", code)
    if _ELAPSED.search(parts):
        return Kind.ELAPSED
    if _TIME.fullmatch(parts):
        return Kind.TIME
    return Kind.DATE if _DATE.search(parts) else Kind.NUMBER


def number_of(held: str) -> float:
    """The number in a cell; raises ValueError where it is none."""
    plain = held.strip()
    number = float(plain) if _NUMERAL.fullmatch(plain) else math.nan
    if not math.isfinite(number):
        raise ValueError("no number")
    return number


def numeral(held: str) -> str:
    """The number in a cell as a text: a whole one without a point, and with all of its digits."""
    number = number_of(held)
    if _WHOLE.fullmatch(held.strip()):
        return str(int(held))
    whole = number.is_integer() and abs(number) < _MOST_WHOLE
    return str(int(number)) if whole else repr(number)


def hours(seconds: int) -> str:
    """A time as hours, minutes and seconds."""
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02}:{minute:02}:{second:02}"
