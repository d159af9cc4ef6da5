"""Item keys: what an item is called, as the value at a JSON pointer into it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import orjson

from domain.errors import InvalidCommand
from domain.execution import item_document

MAX_DIGITS = 18
"""Of a whole number that 64 bits hold, whichever it is."""
_LONG = re.compile(rb"[0-9]{%d}" % (MAX_DIGITS + 1))


def parts_of(pointer: str) -> list[str]:
    """The steps of a JSON pointer; raises InvalidCommand for what is none."""
    if not pointer.startswith("/"):
        raise InvalidCommand("key must be a JSON pointer into the items, as /id", pointer="/key")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]


def key_of(line: bytes, parts: Sequence[str]) -> bytes | None:
    """The key of an item as canonical JSON, None when it has none."""
    value: Any = exact_document(line)
    for part in parts:
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return None if value is None else canonical(value)


def exact_document(line: bytes) -> Any:
    """An item as it was sent, in which whole numbers of any length stay what they are.

    Those that are too long for 64 bits would be rounded, and two of them equal that are not: they
    are kept as they were written, to be written again.
    """
    document = item_document(line)
    if isinstance(document, str) or _LONG.search(line) is None:
        return document
    try:
        return json.loads(line, parse_int=_as_written)
    except RecursionError:
        return document


def _as_written(digits: str) -> int | orjson.Fragment:
    return int(digits) if len(digits) <= MAX_DIGITS else orjson.Fragment(digits)


def keys_like(text: str) -> list[bytes]:
    """The keys that a reader may mean who writes one as text: the JSON value, and the string.

    What an earlier release has stored of numbers that are too long for 64 bits is rounded.
    """
    found = [canonical(text)]
    try:
        rounded = orjson.loads(text)
    except orjson.JSONDecodeError:
        return found
    if rounded is None:
        return found
    values = map(canonical, (exact_document(text.encode()), rounded))
    return [*dict.fromkeys(values), *found]


def canonical(value: Any) -> bytes:
    """A JSON value as bytes that are the same for equal ones."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
