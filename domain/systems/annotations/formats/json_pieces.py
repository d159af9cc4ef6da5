"""Cuts a JSON file into the elements of its lists, so that one broken element is one element.

A parser of streams gives values, but neither where they stood nor what stood there; it stops
for good at the first fault, and it builds whatever a file asks for. So files are cut before
they are parsed: brackets and strings are followed, nothing else, and each element is handed
over as its bytes, which are few, and is parsed alone. What is around the lists is put together
and parsed at the end: with it the file is standard JSON, or it is refused.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from domain.systems.annotations.formats.contract import Bounds, FileRefused
from domain.systems.annotations.formats.json_values import parsed as parsed_text
from domain.systems.annotations.formats.validity import Unfit

CHUNK = 256 * 1024
DEPTH = 500
"""Elements are measured while they are cut; deeper than this nothing may be parsed."""

_AMONG_ELEMENTS = re.compile(rb'["{}\[\],]')
_ELSEWHERE = re.compile(rb'["{}\[\]]')
_IN_STRING = re.compile(rb'["\\]')
_NAME = re.compile(rb'("(?:[^"\\]|\\.){0,1000}")\s*:\s*$')
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True, slots=True)
class Piece:
    """An element of a list: ``section`` names the list, ``number`` counts in it from 1.

    ``fault`` says why it cannot be parsed; one that is too long comes without its bytes.
    """

    section: str
    number: int
    raw: bytes
    fault: Unfit | None = None

    def value(self) -> Any:
        """What the element is; raises Unfit for what is not JSON, NaN and Infinity among it."""
        if self.fault is not None:
            raise self.fault
        return parsed(self.raw)


def parsed(raw: bytes) -> Any:
    """The value of a piece of JSON; raises Unfit for what is not standard JSON."""
    try:
        return parsed_text(raw.decode(), DEPTH)
    except UnicodeDecodeError as error:
        raise Unfit("not_json", f"not JSON, {error}; correct it") from None


def parsed_leniently(raw: bytes) -> Any:
    """The value of a piece that was rejected, to know what it names; None where it has none."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


class Cutter:
    """Goes once through a file; ``rest`` is then the file with its lists emptied.

    Lists are those in the object that the file is, or the one that the file itself is.
    """

    def __init__(self, stream: BinaryIO, bounds: Bounds, encoding: str | None = None) -> None:
        self._stream = stream
        self._bounds = bounds
        self._encoding = encoding
        self._depth = 0
        self._deepest = 0
        self._in_string = False
        self._skipped = 0
        self._listed = 0
        """The depth of the list whose elements are being cut; 0 outside of one."""
        self._section = ""
        self._number = 0
        self._line = 1
        self._began = 1
        self._held = bytearray()
        self._length = 0
        self._around = bytearray()
        self.rest: Any = None

    def pieces(self) -> Iterator[Piece]:
        """Each element, in the order of the file."""
        for chunk in _utf8(self._stream, self._encoding):
            yield from self._cut(chunk)
        if self._depth or self._in_string:
            inside = f"element {self._number + 1} of {self._section!r}" if self._listed else "it"
            raise FileRefused(
                f"the JSON file ends while {inside} is open, which began at line {self._began};"
                " upload all of the file, or close it"
            )
        try:
            self.rest = parsed(bytes(self._around))
        except Unfit as error:
            raise FileRefused(f"the file around its lists is {error.message}") from None

    def _cut(self, chunk: bytes) -> Iterator[Piece]:
        taken = 0
        at = self._skipped
        self._skipped = 0
        while True:
            found = self._pattern().search(chunk, at)
            if found is None:
                break
            at = found.end()
            sign = found[0]
            if sign == b'"':
                self._in_string = not self._in_string
            elif sign == b"\\":
                at += 1
                self._skipped = max(0, at - len(chunk))
            elif self._listed and self._depth == self._listed and sign in b",]}":
                self._take(chunk, taken, at - 1)
                taken = at - 1 if sign != b"," else at
                yield from self._element(sign)
            elif sign in b"{[":
                taken = self._open(sign, chunk, taken, at)
            else:
                self._depth -= 1
        self._take(chunk, taken, len(chunk))

    def _pattern(self) -> re.Pattern[bytes]:
        if self._in_string:
            return _IN_STRING
        among = self._listed and self._depth == self._listed
        return _AMONG_ELEMENTS if among else _ELSEWHERE

    def _open(self, sign: bytes, chunk: bytes, taken: int, at: int) -> int:
        self._depth += 1
        self._deepest = max(self._deepest, self._depth)
        if sign != b"[" or self._listed or self._depth > 2:
            return taken
        self._take(chunk, taken, at)
        if self._depth == 2 and self._around[:1] != b"{":
            return at
        self._section = self._named()
        self._listed, self._deepest = self._depth, self._depth
        self._number = 0
        return at

    def _named(self) -> str:
        """What the list that begins here is called."""
        named = _NAME.search(self._around[-1100:-1])
        try:
            return str(parsed(named[1])) if named else ""
        except Unfit as error:
            raise FileRefused(
                f"the name of the list that begins at line {self._line} is {error.message}"
            ) from None

    def _element(self, sign: bytes) -> Iterator[Piece]:
        """An element has ended, and with anything but a comma the list as well."""
        raw = bytes(self._held.strip())
        if self._length or sign == b"," or self._number:
            self._number += 1
            yield Piece(self._section, self._number, raw, self._fault(raw))
        self._held.clear()
        self._length = 0
        self._deepest = self._depth
        if sign != b",":
            self._listed = 0
            self._depth -= 1

    def _fault(self, raw: bytes) -> Unfit | None:
        if self._length > self._bounds.line:
            return Unfit("too_long", f"longer than {self._bounds.line} bytes; split or shorten it")
        if self._deepest - self._depth > self._bounds.depth:
            return Unfit("too_deep", f"nested more than {self._bounds.depth} deep; flatten it")
        if not raw:
            return Unfit("not_json", "nothing between two commas; remove one of them")
        return None

    def _take(self, chunk: bytes, start: int, end: int) -> None:
        """Keep what belongs to an element, or to what is around the lists, within bounds."""
        line = self._line
        self._line += chunk.count(b"\n", start, end)
        if not (self._length if self._listed else self._around):
            first = start
            while start < end and chunk[start] in b" \t\r\n":
                start += 1
            self._began = line + chunk.count(b"\n", first, start)
        if not self._listed:
            self._around += chunk[start:end]
            if len(self._around) > self._bounds.line or self._deepest > self._bounds.depth + 1:
                raise FileRefused(
                    f"the JSON file has more than {self._bounds.line} bytes outside of its lists,"
                    f" or is nested more than {self._bounds.depth} deep; flatten it"
                )
            return
        self._length += end - start
        if self._length <= self._bounds.line:
            self._held += chunk[start:end]
        else:
            self._held.clear()


def _utf8(stream: BinaryIO, encoding: str | None) -> Iterator[bytes]:
    """The file in UTF-8, without its mark, whatever Unicode encoding it has."""
    stream.seek(0)
    head = stream.read(4)
    mark, name = next(
        ((mark, name) for mark, name in _MARKS if head.startswith(mark)),
        (b"", encoding or _by_zeros(head)),
    )
    stream.seek(len(mark))
    if name.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig"):
        while chunk := stream.read(CHUNK):
            yield chunk
        return
    try:
        bytes(4).decode(name)  # Refuses codecs that are no encoding of text, such as compression.
        decoder = codecs.getincrementaldecoder(name)()
        while chunk := stream.read(CHUNK):
            yield decoder.decode(chunk).encode()
        decoder.decode(b"", final=True)
    except (LookupError, UnicodeError) as error:
        raise FileRefused(
            f"the file cannot be read as {name}: {error}; name its encoding"
        ) from None


def _by_zeros(head: bytes) -> str:
    """JSON begins with an ASCII character: where its zeros are tells the encoding."""
    return {
        "x000": "utf-32-le",
        "000x": "utf-32-be",
        "x0x0": "utf-16-le",
        "0x0x": "utf-16-be",
    }.get("".join("x" if byte else "0" for byte in head), "utf-8")
