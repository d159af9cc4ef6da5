"""Cuts a JSON list into its elements while it is read, so that each is parsed by itself.

A parser of streams gives the values, but not the text that they stood in, and it stops at the
first fault. Here brackets and strings are followed and nothing else; the text of an element is
handed on when it is complete. An element that is never closed ends where the next one begins:
in a line that begins as its own did. So may a line within a list that is whole, however: there
the element is cut only when it is known that, read on, it comes to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from typing import BinaryIO

from domain.systems.annotations.formats.contract import Bounds, FileRefused
from domain.systems.annotations.formats.encoding import Encoding, pieces

_OUTSIDE = re.compile(r'["{}\[\]]')
_INSIDE = re.compile(r'["\\]')
_AMONG = re.compile(r"[^\s,]")
_SCALAR = re.compile(r'[",\]\r\n]')
_INDENT = re.compile(r"[ \t]*")
_PIECE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_AGAIN = 4
"""How many times the text of a file may be gone through anew behind elements that are cut."""
_CLOSES = {"}": "{", "]": "["}


@dataclass(frozen=True, slots=True)
class Element:
    """The text of an element and the line where it begins; ``None`` for one that is too long."""

    line: int
    text: str | None


class _Cutter:
    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._line = 1
        self._at_start = True
        self._listed: bool | None = None
        """Whether the file is a list, when its beginning has been seen."""
        self.ended = False
        self._indented: bool | None = None
        """Whether lines within an element are indented more than its first."""
        self._waiting: list[Iterator[str]] = []
        """What is gone through anew, the innermost last."""
        self._taken = self._again = 0
        self._reset()

    def _reset(self) -> None:
        self._began = 0
        self._indent: str | None = None
        self._scalar = False
        self._stack: list[str] = []
        self._deeper = 0
        self._quoted = False
        self._escaped = False
        self._held = StringIO()
        self._length = 0
        self._last = ""
        """The last sign of the element that is no blank."""
        self._torn = False
        """Whether it cannot be JSON any more, by its brackets and strings."""
        self._cut: tuple[int, int] | None = None
        """Where it ends if, read on, it comes to nothing: after so many characters, at a line."""

    def take(self, piece: str) -> Iterator[Element]:
        """The elements that are complete now that this piece of text has come."""
        self._taken += len(piece)
        yield from self._follow(piece)
        yield from self._follow_again()

    def _follow_again(self) -> Iterator[Element]:
        while self._waiting:
            piece = next(self._waiting[-1], None)
            if piece is None:
                self._waiting.pop()
            else:
                yield from self._follow(piece)

    def _follow(self, piece: str) -> Iterator[Element]:
        if self._began and self._at_start:
            yield from self._new_line(piece)
        at = 0
        while at < len(piece):
            if not self._began:
                at = self._among(piece, at)
                continue
            end = self._scan(piece, at)
            if self._cut is not None and self._is_hopeless(end - at):
                yield self._cut_off(self._cut, piece[at:])
                return
            self._hold(piece[at:end])
            at = end
            if not self._stack and not self._quoted and self._complete(piece, at):
                if self._cut is not None:
                    self._indented = False
                yield self._element()
        self._at_start = piece.endswith(("\r", "\n"))
        self._line += self._at_start

    def end(self) -> Iterator[Element]:
        """What the file ended in."""
        if self._listed is None:
            raise FileRefused("the file is blank; upload one with a list of objects")
        while self._cut is not None:
            yield self._cut_off(self._cut, "")
            yield from self._follow_again()
        if self._began:
            yield self._element()
        if self._listed and not self.ended:
            yield Element(self._line, "")

    def _among(self, piece: str, at: int) -> int:
        """Look for what is next between two elements."""
        found = _AMONG.search(piece, at)
        if found is None:
            return len(piece)
        sign, at = found[0], found.start()
        if self._listed is None:
            if sign not in "[{":
                raise FileRefused("the file is no list of JSON objects; choose its format")
            self._listed = sign == "["
            if self._listed:
                return at + 1
        if sign == "]" and self._listed and not self.ended:
            self.ended = True
            return at + 1
        self._began = self._line
        self._scalar = sign not in "[{"
        before = piece[:at]
        self._indent = before if self._at_start and not before.strip(" \t") else None
        if self._scalar:
            # Whatever it is, it is part of the element, so that there is an end to it.
            self._hold(sign)
            self._quoted = sign == '"'
            at += 1
        return at

    def _new_line(self, piece: str) -> Iterator[Element]:
        """See whether the element has ended unclosed, by how a line of the file begins."""
        # No string goes on in another line.
        self._torn |= self._quoted
        self._quoted = self._escaped = False
        if self._indent is None or self._indented is False or self._stack[:1] != ["{"]:
            return
        indent = _INDENT.match(piece)
        depth = len(indent[0]) if indent is not None else 0
        following = piece[depth : depth + 1]
        begins = depth == len(self._indent) and following == "{"
        ends = depth <= len(self._indent) and following == "]" and not self.ended
        if begins or ends:
            yield from self._may_end(following)
        elif self._indented is None and following not in ("", "\r", "\n"):
            self._indented = depth > len(self._indent) or following in "}]"

    def _may_end(self, following: str) -> Iterator[Element]:
        """The element, if it ends before this line for certain; else note that it may."""
        within = self._stack[-1] == "[" or (following == "{" and self._last == ":")
        too_often = self._again > _AGAIN * self._taken
        if within and not too_often and not self._is_hopeless(0):
            self._cut = self._cut or (self._length, self._line)
        elif self._cut is None:
            yield self._element()
        else:
            self._torn = True

    def _is_hopeless(self, more: int) -> bool:
        """Whether the element comes to nothing when it is read on."""
        too_long = self._length + more > self._bounds.line
        return self._torn or too_long or len(self._stack) > self._bounds.depth

    def _cut_off(self, cut: tuple[int, int], following: str) -> Element:
        """The element up to where it may end; what is behind that is gone through anew."""
        text = self._held.getvalue()
        element = Element(self._began, text[: cut[0]].strip(" \t\r\n,"))
        again = text[cut[0] :] + following
        self._reset()
        self._line, self._at_start = cut[1], True
        self._again += len(again)
        self._waiting.append(found[0] for found in _PIECE.finditer(again))
        return element

    def _scan(self, piece: str, at: int) -> int:
        """Follow brackets and strings to the end of the element, or of the piece."""
        while at < len(piece):
            if self._escaped:
                self._escaped, at = False, at + 1
                continue
            pattern = _INSIDE if self._quoted else _SCALAR if self._scalar else _OUTSIDE
            found = pattern.search(piece, at)
            if found is None:
                return len(piece)
            sign, at = found[0], found.end()
            if sign == "\\":
                self._escaped = True
            elif sign == '"':
                self._quoted = not self._quoted
            elif self._scalar:
                return at - 1
            elif self._bracket(sign):
                return at
        return at

    def _bracket(self, sign: str) -> bool:
        """Whether the element is closed by this bracket."""
        if sign in "{[":
            if len(self._stack) <= self._bounds.depth + 1:
                self._stack.append(sign)
            else:
                self._deeper += 1
        elif self._deeper:
            self._deeper -= 1
        elif _CLOSES[sign] in self._stack:
            while self._stack.pop() != _CLOSES[sign]:
                self._torn = True
        else:
            self._torn = True
        return not self._stack

    def _complete(self, piece: str, at: int) -> bool:
        return not self._scalar or (at < len(piece) and piece[at] in ",]\r\n")

    def _hold(self, text: str) -> None:
        self._length += len(text)
        self._last = text.rstrip()[-1:] or self._last
        if self._length <= self._bounds.line:
            self._held.write(text)
        elif self._held.tell():
            self._held = StringIO()

    def _element(self) -> Element:
        fits = self._length <= self._bounds.line
        text = self._held.getvalue().strip(" \t\r\n,") if fits else None
        element = Element(self._began, text)
        self._reset()
        return element


def elements(stream: BinaryIO, encoding: Encoding, bounds: Bounds) -> Iterator[Element]:
    """The elements of the list that a file is, or the one object that it is.

    The last one is empty where the file ends before its list does.
    """
    cutter = _Cutter(bounds)
    for piece in pieces(stream, encoding):
        yield from cutter.take(piece)
    yield from cutter.end()
