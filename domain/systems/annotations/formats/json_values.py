"""JSON values out of files that others wrote: standard JSON only, and not nested without end.

Numbers that JSON allows and no answer of ours could have are none either: records with them
could be stored, and neither be shown nor exported.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, Final

from domain.systems.annotations.formats.validity import Unfit

LEAST_WHOLE: Final = -(2**63)
MOST_WHOLE: Final = 2**64 - 1
"""The whole numbers that every reader of JSON takes as they are."""
_SHORT: Final = 18
"""So many digits are a number within them."""
_LONG: Final = 20
"""A number within them has no more characters; Python itself reads none of over 4,300 digits."""

Place = tuple[str | int, ...]


class _BeyondBounds(Exception):
    """A whole number has more than 64 bits."""


def parsed(text: str, depth: int) -> Any:
    """The value of a text; raises Unfit for what is not JSON, NaN and Infinity among it."""
    try:
        return _decoded(_DECODER, text, depth)
    except _BeyondBounds:
        # Where it stands is not known to the decoder.
        check_numbers(_decoded(_UNBOUNDED, text, depth))
        raise


def check_numbers(value: Any) -> None:
    """Raise Unfit for a number that no answer could have: it says where, and the remedy."""
    for place, number in _numbers(value):
        if isinstance(number, int) and not LEAST_WHOLE <= number <= MOST_WHOLE:
            said = "a whole number beyond 64 bits; give it as a text"
        elif isinstance(number, float) and not math.isfinite(number):
            said = "no finite number; give one, or null"
        else:
            continue
        raise Unfit("number_out_of_range", f"{_pointer(place) or 'the value'}: {said}")


def _decoded(decoder: json.JSONDecoder, text: str, depth: int) -> Any:
    try:
        value = decoder.decode(text)
    except RecursionError:
        raise _too_deep(depth) from None
    except json.JSONDecodeError as error:
        raise Unfit(
            "not_json", f"not JSON, {error.msg} at character {error.pos + 1}; correct it"
        ) from None
    except ValueError as error:
        raise Unfit("not_json", f"not JSON, {error}; correct it") from None
    if text.count("[") + text.count("{") > depth and _depth(value) > depth:
        raise _too_deep(depth)
    return value


def compact(value: Any) -> str:
    """A value as JSON in one line."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def escaped(value: Any) -> str:
    """A value as JSON in one line, and in ASCII."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _too_deep(depth: int) -> Unfit:
    return Unfit("too_deep", f"nested more than {depth} deep; flatten it")


def _depth(value: Any) -> int:
    """How deep lists and objects are nested."""
    depth, level = 0, [value]
    while level := [part for part in level if isinstance(part, dict | list)]:
        depth += 1
        level = [
            part
            for outer in level
            for part in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return depth


def _numbers(value: Any) -> Iterator[tuple[Place, int | float]]:
    """The numbers of a value, and where they stand."""
    left: list[tuple[Place, Any]] = [((), value)]
    while left:
        place, part = left.pop()
        if isinstance(part, dict):
            left += [((*place, name), one) for name, one in reversed(part.items())]
        elif isinstance(part, list):
            inner = reversed(list(enumerate(part)))
            left += [((*place, at), one) for at, one in inner]
        elif isinstance(part, int | float):
            yield place, part


def _pointer(place: Place) -> str:
    """A place as a JSON pointer."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in place)


def _whole(digits: str) -> int:
    if len(digits) > _LONG:
        raise _BeyondBounds
    value = int(digits)
    if len(digits) > _SHORT and not LEAST_WHOLE <= value <= MOST_WHOLE:
        raise _BeyondBounds
    return value


def _whole_or_beyond(digits: str) -> int:
    """The number, or one beyond the bounds in its place: it is refused wherever it stands."""
    return int(digits) if len(digits) <= _LONG else MOST_WHOLE + 1


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits[:20]} is too large")
    return value


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number in JSON; give a number or null")


_DECODER = json.JSONDecoder(parse_float=_finite, parse_int=_whole, parse_constant=_no_number)
_UNBOUNDED = json.JSONDecoder(
    parse_float=_finite, parse_int=_whole_or_beyond, parse_constant=_no_number
)
