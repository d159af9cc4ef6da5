"""Item keys: what an item is called, as the value at a JSON pointer into it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import orjson
from pydantic_core import from_json

from domain.errors import InvalidCommand
from domain.execution import item_document

MAX_DIGITS = 18
"""Of a whole number that 64 bits hold, whichever it is."""
LEVELS = 200
"""Fewer brackets nest in no item deeper than its model reads."""
_LONG = re.compile(rb"[0-9]{%d}" % (MAX_DIGITS + 1))


def parts_of(pointer: str) -> list[str]:
    """The steps of a JSON pointer; raises InvalidCommand for what is none."""
    if not pointer.startswith("/"):
        raise InvalidCommand("key must be a JSON pointer into the items, as /id", pointer="/key")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]


def key_of(line: bytes, parts: Sequence[str]) -> bytes | None:
    """The key of an item as canonical JSON, None when it has none.

    Nor is it one that nests deeper than it can be written: no model reads such an item.
    """
    value: Any = exact_document(line)
    for part in parts:
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return None if value is None else _written(value)


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


def shown_document(line: bytes) -> Any:
    """An item as it is shown: as it was sent, and the text itself when no model reads that.

    What nests deeper is read by some, and written by nobody: all that is shown beside it would
    be lost with it.
    """
    return line.decode("utf-8", "replace") if _is_too_deep(line) else exact_document(line)


def _is_too_deep(line: bytes) -> bool:
    """Whether an item nests deeper than a model reads it."""
    if len(line) <= LEVELS or line.count(b"[") + line.count(b"{") <= LEVELS:
        return False
    try:
        from_json(line)
    except ValueError:
        return True
    return False


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
    values = map(_written, (exact_document(text.encode()), rounded))
    return [*dict.fromkeys(value for value in values if value is not None), *found]


def _written(value: Any) -> bytes | None:
    try:
        return canonical(value)
    except TypeError:
        return None


def canonical(value: Any) -> bytes:
    """A JSON value as bytes that are the same for equal ones."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
