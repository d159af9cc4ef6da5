"""What the beginning of a JSON file holds, as far as it goes, to tell formats by.

Names are looked for where they stand: a label or a field of somebody's metadata may be called
like a field of another format.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO, Final

from domain.systems.annotations.formats.contract import Bounds, FileRefused
from domain.systems.annotations.formats.encoding import (
    CHUNK,
    Encoding,
    encoding_of,
    head_text,
    lines,
)
from domain.systems.annotations.formats.json_elements import elements
from domain.systems.annotations.formats.json_values import escaped, parsed
from domain.systems.annotations.formats.validity import Unfit

LOOKED_AT: Final = 20
"""Elements of a list; those at the beginning tell what the others are."""
_LETTERS: Final = 1_000
"""So much of a text is looked at: the address of a picture is not longer."""
_FIELDS: Final = 1_000
_LEVELS: Final = 12
"""Results of a task have theirs, and what is in them."""
_DEPTH: Final = 64
_TOKEN: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?P<closed>"?)|[{}\[\],:]|[^\s"{}\[\],:]+')
_BLANK: Final = "\ufeff \t\r\n"


def text_of(head: bytes) -> str:
    """The text that a file begins with, from its first sign on."""
    return head_text(head).lstrip(_BLANK)


@dataclass(frozen=True, slots=True)
class Begun:
    """An object as far as it is known; ``whole`` where there is no more of it."""

    value: dict[str, Any]
    whole: bool


def objects_of(head: bytes) -> Iterator[Begun]:
    """The first objects of the list that a file is; the last one may go on behind its head."""
    text = text_of(head)
    if not text.startswith("["):
        return
    found = elements(io.BytesIO(text.encode("utf-8", "replace")), Encoding("utf-8"), Bounds())
    with suppress(FileRefused):
        for element in islice(found, LOOKED_AT):
            begun = begun_with(element.text or "")
            if begun is not None:
                yield begun


def is_within_first(head: bytes) -> bool:
    """Whether all that is known of a file is a part of its first object."""
    text = text_of(head)
    if len(head) < CHUNK or not text.startswith(("{", "[")):
        return False
    if text.startswith("{"):
        return "\n" not in text and "\r" not in text
    return not any(begun.whole for begun in objects_of(head))


def first_objects(stream: BinaryIO, explicit: str | None) -> bytes:
    """The objects that a file begins with, read to their ends and told in short.

    Empty where none ends within the bytes that one may have. What tells a format by them does not
    tell it by how much they have of anything.
    """
    encoding = encoding_of(stream, explicit)
    bounds = Bounds()
    beginning = io.BytesIO(stream.read(bounds.line + CHUNK))
    stream.seek(0)
    if encoding.beginning_of(beginning).lstrip(_BLANK).startswith("["):
        texts = (element.text for element in elements(beginning, encoding, bounds))
        return _told(texts, "[{}]", ",")
    return _told((line for _, line in lines(beginning, encoding, bounds.line)), "{}", "\n")


def _told(texts: Iterator[str | None], around: str, between: str) -> bytes:
    found: list[str] = []
    with suppress(FileRefused):
        for text in islice(texts, LOOKED_AT):
            with suppress(Unfit):
                value = parsed(text or "", _DEPTH)
                found += [escaped(_in_short(value))] if isinstance(value, dict) else []
    return around.format(between.join(found)).encode() if found else b""


def _in_short(value: Any, levels: int = _LEVELS) -> Any:
    """A value without most of what it has much of."""
    if isinstance(value, str):
        return value[:_LETTERS]
    if isinstance(value, list):
        return [_in_short(one, levels - 1) for one in value[:LOOKED_AT]] if levels else []
    if isinstance(value, dict):
        fields = islice(value.items(), _FIELDS) if levels else ()
        return {name[:_LETTERS]: _in_short(one, levels - 1) for name, one in fields}
    return value


def begun_with(text: str) -> Begun | None:
    """The object that a text begins with, if it is one; what is cut off ends where it is cut."""
    known, closers = _known(text)
    try:
        # No number is too long to look at: Python reads no whole one of over 4,300 digits.
        value = json.loads(known + closers, parse_int=float)
    except (ValueError, RecursionError):
        return None
    return Begun(value, not closers) if isinstance(value, dict) else None


def _known(text: str) -> tuple[str, str]:
    """The text up to its last value, and what closes that is open there."""
    closers: list[str] = []
    end, open_there = 0, ""
    named = False
    for token in _TOKEN.finditer(text):
        sign = token[0]
        if sign in ",:":
            named = sign == ":"
            continue
        if sign in "{[":
            closers.append("}" if sign == "{" else "]")
        elif sign in "}]":
            if closers[-1:] != [sign]:
                break
            closers.pop()
        elif closers[-1:] == ["}"] and not named:
            # The name of a field whose value is not known.
            continue
        named = False
        open_there = "".join(reversed(closers))
        if token["closed"] == "":
            # A text that goes on: that it is one is known.
            return f'{text[: token.start()]}""', open_there
        end = token.end()
        if not closers or len(closers) > _DEPTH:
            break
    return text[:end], open_there
