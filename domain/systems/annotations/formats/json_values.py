"""JSON values out of files that others wrote: standard JSON only, and not nested without end."""

from __future__ import annotations

import json
import math
from typing import Any

from domain.systems.annotations.formats.validity import Unfit


def parsed(text: str, depth: int) -> Any:
    """The value of a text; raises Unfit for what is not JSON, NaN and Infinity among it."""
    try:
        value = _DECODER.decode(text)
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


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits[:20]} is too large")
    return value


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number in JSON; give a number or null")


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_no_number)
