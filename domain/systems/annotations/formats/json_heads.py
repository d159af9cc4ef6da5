"""What the beginning of a JSON file holds, as far as it goes, to tell formats by.

Names are looked for where they stand: a label or a field of somebody's metadata may be called
like a field of another format.
"""

from __future__ import annotations

import io
import json
import re
from collections import deque
from collections.abc import Iterable, Iterator
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
_NEAR: Final = Bounds().line + CHUNK
_FURTHEST: Final = 64 * 1024 * 1024
"""Bytes behind which no line is looked for, where the first ones are longer than any may be."""
_TOLD: Final = 256 * 1024
"""Letters of all objects that are told in short."""
_OF_ONE: Final = 64 * 1024
"""Letters of one of them."""
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
    found = list(objects_of(head))
    begins = bool(found) or text[1:].lstrip(_BLANK).startswith("{")
    return begins and not any(begun.whole for begun in found)


def first_objects(stream: BinaryIO, explicit: str | None) -> bytes:
    """The objects that a file begins with, read to their ends and told in short.

    Empty where none ends within the bytes that one may have. What tells a format by them does not
    tell it by how much they have of anything.
    """
    encoding = encoding_of(stream, explicit)
    try:
        if encoding.beginning_of(stream).lstrip(_BLANK).startswith("["):
            return _listed(_beginning(stream, _NEAR), encoding)
        near = _in_lines(_beginning(stream, _NEAR), encoding)
        return near or _in_lines(_beginning(stream, _FURTHEST), encoding)
    finally:
        stream.seek(0)


class _Beginning(io.RawIOBase):
    """A file that ends after so many bytes."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go where the file itself goes."""
        return self._file.seek(offset, whence)

    def readinto(self, buffer: Any, /) -> int:
        """Read what is left of so many bytes."""
        left = max(self._size - self._file.tell(), 0)
        data = self._file.read(min(len(buffer), left))
        buffer[: len(data)] = data
        return len(data)


def _beginning(stream: BinaryIO, size: int) -> BinaryIO:
    return io.BufferedReader(_Beginning(stream, size), CHUNK)


def _listed(beginning: BinaryIO, encoding: Encoding) -> bytes:
    texts = (element.text for element in elements(beginning, encoding, Bounds()))
    return _told(texts, "[{}]", ",")


def _in_lines(beginning: BinaryIO, encoding: Encoding) -> bytes:
    return _told((line for _, line in lines(beginning, encoding, Bounds().line)), "{}", "\n")


def _told(texts: Iterable[str | None], around: str, between: str) -> bytes:
    found: list[str] = []
    left = _TOLD
    for value in _objects(texts):
        if left <= 0:
            break
        found.append(escaped(_in_short(value, min(left, _OF_ONE))))
        left -= len(found[-1])
    return around.format(between.join(found)).encode() if found else b""


def _objects(texts: Iterable[str | None]) -> Iterator[dict[str, Any]]:
    """Those among the first texts that are objects, as far as the file can be read."""
    with suppress(FileRefused):
        for text in islice(texts, LOOKED_AT):
            with suppress(Unfit):
                value = parsed(text or "", _DEPTH)
                if isinstance(value, dict):
                    yield value


def _in_short(value: dict[str, Any], letters: int) -> dict[str, Any]:
    """An object without most of what it has much of, its outer fields before those within."""
    short: dict[str, Any] = {}
    waiting: deque[tuple[Any, Any, int]] = deque([(value, short, _LEVELS)])
    while waiting:
        whole, begun, levels = waiting.popleft()
        for name, part in _parts(whole):
            told = _beginning_of(part)
            letters -= len(name) + (len(told) if isinstance(told, str) else 1)
            if letters < 0:
                return short
            if isinstance(begun, list):
                begun.append(told)
            else:
                begun[name] = told
            if levels > 1 and isinstance(part, dict | list):
                waiting.append((part, told, levels - 1))
    return short


def _parts(whole: Any) -> Iterator[tuple[str, Any]]:
    """The first parts of a list or an object, by their names."""
    if isinstance(whole, list):
        return (("", part) for part in whole[:LOOKED_AT])
    return ((name[:_LETTERS], part) for name, part in islice(whole.items(), _FIELDS))


def _beginning_of(part: Any) -> Any:
    """A text cut short, a list or an object without what is in it, or what else it is."""
    if isinstance(part, str):
        return part[:_LETTERS]
    return type(part)() if isinstance(part, dict | list) else part


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
