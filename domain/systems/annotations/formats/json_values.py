"""JSON values out of files that others wrote: standard JSON only, and not nested without end."""

from __future__ import annotations

import json
import math
from typing import Any

from domain.systems.annotations.formats.validity import Unfit


def parsed(text: str, depth: int) -> Any:
    """The value of a text; raises Unfit for what is not JSON, NaN and Infinity among it."""
    if max(text.count("["), text.count("{")) > depth and _depth(text) > depth:
        raise Unfit("too_deep", f"nested more than {depth} deep; flatten it")
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise Unfit(
            "not_json", f"not JSON, {error.msg} at character {error.colno}; correct it"
        ) from None
    except ValueError as error:
        raise Unfit("not_json", f"not JSON, {error}; correct it") from None


def compact(value: Any) -> str:
    """A value as JSON in one line."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _depth(text: str) -> int:
    """How deep brackets are nested, those in strings left out."""
    deepest = depth = 0
    quoted = escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = quoted
        elif character == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits[:20]} is too large")
    return value


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number in JSON; give a number or null")


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_no_number)
