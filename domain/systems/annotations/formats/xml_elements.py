"""The elements of one name in an XML file, each as a small tree, one after another.

There is no document type: with it go entities, and with them all that they can do, so that a
file that declares one is refused. An element that is not well-formed ends where the next of its
name begins, and from there a new parser goes on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO
from xml.parsers import expat

from domain.systems.annotations.formats.contract import Bounds, FileRefused
from domain.systems.annotations.formats.encoding import Encoding, pieces
from domain.systems.annotations.formats.validity import Unfit
from domain.systems.annotations.formats.xml_names import Names

_ROOT = "documents"
_TOKEN = 1024 * 1024
"""Bytes of one tag or comment, which the parser holds until it is complete."""

_NODES = 110_000
"""Elements within one: each takes far more memory than the file needs for it.

An export gives up to 100,000 annotations of a text, and what else there is of it.
"""

_NO_ELEMENTS = expat.errors.codes[expat.errors.XML_ERROR_NO_ELEMENTS]

_AGAIN = 16
"""How many times the bytes of a file may be parsed anew behind elements that are broken."""


@dataclass(slots=True)
class Node:
    """An element with its text, the texts of those within left out."""

    name: str
    attributes: dict[str, str]
    children: list[Node] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text of the element itself."""
        return "".join(self.texts)


@dataclass(frozen=True, slots=True)
class Element:
    """An element of a file and how it stood there; ``fault`` says why it is none."""

    line: int
    node: Node
    raw: str
    fault: Unfit | None = None


@dataclass(frozen=True, slots=True)
class _Broken:
    """What is not well-formed, until the next element begins: sought from ``search`` on."""

    start: int
    line: int
    fault: Unfit
    search: int


class _BeginsAgain(Exception):
    """An element begins before the one before has ended."""


class _Reading:
    def __init__(self, name: str, encoding: Encoding, bounds: Bounds, *, any_root: bool) -> None:
        self._name = name
        self._encoding = encoding
        self._bounds = bounds
        self._any_root = any_root
        self._begins = re.compile(rb"<" + re.escape(name.encode()) + rb"(?=[\s/>])")
        self._ends = re.compile(rb"</" + re.escape(name.encode()) + rb"[\s>]")
        self._line = 1
        self._found: list[Element] = []
        self._buffer = bytearray()
        self._base = 0
        """Where the buffer begins in the file, in bytes of UTF-8."""
        self._again = 0
        self._rooted = False
        self._around: list[str] = []
        """The elements around those that are wanted."""
        self._broken: _Broken | None = None
        self._start_parser(0)

    def _start_parser(self, at: int) -> None:
        """Begin to parse at a place in the file."""
        parser = expat.ParserCreate("utf-8")
        parser.StartDoctypeDeclHandler = self._doctype
        around = self._around or [_ROOT]
        prefix = "".join(f"<{name}>" for name in around).encode() if self._rooted else b""
        # A prefix is no part of the file.
        self._shift = at - len(prefix)
        self._last = at
        self._open: list[Node] = []
        self._nodes = 0
        self._names = Names("the file")
        self._start = self._start_line = 0
        self._fault: Unfit | None = None
        self._deeper = 0
        self._verbatim = False
        if prefix:
            parser.Parse(prefix, False)
        parser.StartElementHandler = self._start_element
        parser.EndElementHandler = self._end_element
        parser.CharacterDataHandler = self._characters
        parser.CommentHandler = parser.ProcessingInstructionHandler = self._passed
        parser.StartCdataSectionHandler = lambda: self._cdata(begins=True)
        parser.EndCdataSectionHandler = lambda: self._cdata(begins=False)
        self._parser = parser

    def take(self, piece: str) -> Iterator[Element]:
        """The elements that are complete now that this piece of text has come."""
        data = self._encoding.in_utf8(piece)
        self._buffer += data
        self._follow(data)
        yield from self._given()
        self._trim()
        self._line += piece.endswith(("\r", "\n"))

    def end(self) -> Iterator[Element]:
        """What the file ended in."""
        while self._broken is None and not self._finished():
            self._follow(self._resumed())
        broken = self._broken
        if broken is not None:
            raw = _without_last_tag(self._raw(broken.start, self._fed()))
            self._reject(broken.line, raw, broken.fault)
        yield from self._given()

    def _finished(self) -> bool:
        """Tell the parser that this was all; whether it agrees."""
        try:
            self._parser.Parse(b"", True)
        except expat.ExpatError as error:
            if self._rooted and not self._open and error.code == _NO_ELEMENTS:
                message = "the file ends before its root does; look whether it is whole"
                self._reject(self._line, "", Unfit("not_xml", message))
                return True
            self._blame(error)
            return False
        return True

    def _fed(self) -> int:
        return self._base + len(self._buffer)

    def _reject(self, line: int, raw: str, fault: Unfit) -> None:
        self._found.append(Element(line, Node(self._name, {}), raw, fault))

    def _given(self) -> Iterator[Element]:
        found, self._found = self._found, []
        yield from found

    def _follow(self, data: bytes) -> None:
        """Parse, and go on behind each element that is broken."""
        if self._broken is None:
            self._parse(data)
        while self._broken is not None:
            data = self._resumed()
            if not data:
                return
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.Parse(data, False)
        except expat.ExpatError as error:
            self._blame(error)
        except _BeginsAgain:
            fault = Unfit("not_xml", f"<{self._name}> is not closed before the next; close it")
            self._broken = _Broken(self._start, self._start_line, fault, self._last)
        else:
            if self._fed() - self._last > _TOKEN:
                fault = Unfit("too_long", f"a tag or comment over {_TOKEN:,} bytes; shorten it")
                start = self._start if self._open else self._last
                self._broken = _Broken(start, self._line, fault, self._last + 1)
            elif self._verbatim and self._open and self._last - self._start > self._bounds.line:
                fault = Unfit("not_xml", "not XML, unclosed CDATA section; close it")
                self._broken = _Broken(self._start, self._start_line, fault, self._start + 1)

    def _blame(self, error: expat.ExpatError) -> None:
        """Reject what is not well-formed, and go on behind it."""
        if not self._rooted:
            raise FileRefused(f"not XML, {error}; choose its format, or correct it") from None
        why = expat.ErrorString(error.code)
        at = max(self._parser.ErrorByteIndex + self._shift, self._last)
        line = self._start_line if self._open else self._line
        fault = Unfit("not_xml", f"not XML, {why}; correct it")
        # A section that is not closed has swallowed whatever stands behind it.
        start, at = (self._start, self._start) if self._open else (self._beginning(at), at)
        self._broken = _Broken(start, line, fault, max(at, start + 1))

    def _beginning(self, at: int) -> int:
        """Where the element begins in whose very tag there is something wrong."""
        before = self._begins.finditer(self._buffer, self._last - self._base, at - self._base)
        return max((self._base + found.start() for found in before), default=at)

    def _resumed(self) -> bytes:
        """What there is to parse from the next element on; nothing as long as none begins."""
        broken = self._broken
        if broken is None:
            return b""
        found = self._begins.search(self._buffer, max(0, broken.search - self._base))
        if found is None:
            search = max(broken.search, self._fed() - len(self._name) - 2)
            self._broken = replace(broken, search=search)
            return b""
        begin = self._base + found.start()
        self._reject(broken.line, self._raw(broken.start, begin), broken.fault)
        self._broken = None
        self._start_parser(begin)
        del self._buffer[: begin - self._base]
        self._base = begin
        again = bytes(self._buffer)
        self._again += len(again)
        if self._again > _AGAIN * self._fed() + 16 * _TOKEN:
            raise FileRefused("too much of the file is not XML; correct it")
        return again

    def _trim(self) -> None:
        """Forget what has been parsed and is no part of an element that is held."""
        keep = self._last
        if self._broken is not None:
            if self._fed() - self._broken.start > self._bounds.line:
                # The beginning is lost, so that there is nothing to correct.
                self._broken = replace(self._broken, start=-1, fault=self._too_long())
            lost = self._broken.start < 0
            keep = self._broken.search if lost else min(self._broken.start, self._broken.search)
        elif self._open:
            if self._last - self._start > self._bounds.line:
                self._overflow(self._too_long())
                self._start = self._last
            keep = self._start
        if keep - self._base > 64 * 1024 or keep - self._base > len(self._buffer) // 2:
            del self._buffer[: max(0, keep - self._base)]
            self._base = max(self._base, keep)

    def _too_long(self) -> Unfit:
        limit = f"{self._bounds.line:,}"
        return Unfit("too_long", f"longer than {limit} bytes; split the text, upload it by itself")

    def _overflow(self, fault: Unfit) -> None:
        """Hold no more of an element than that it is at fault."""
        self._fault = fault
        for node in self._open:
            node.children.clear()
            node.texts.clear()

    def _raw(self, start: int, end: int) -> str:
        if not self._base <= start:
            return ""
        data = bytes(self._buffer[start - self._base : end - self._base])
        return self._encoding.from_utf8(data).strip()

    def _here(self) -> int:
        self._last = self._parser.CurrentByteIndex + self._shift
        return self._last

    def _doctype(self, *_: object) -> None:
        raise FileRefused(
            "the file declares a document type, with which entities come; take <!DOCTYPE> out"
        )

    def _cdata(self, *, begins: bool) -> None:
        self._here()
        self._verbatim = begins

    def _passed(self, *_: object) -> None:
        self._here()

    def _start_element(self, name: str, attributes: dict[str, str]) -> None:
        at = self._here()
        self._names.note(name, attributes)
        if not self._rooted:
            self._rooted = True
            if name not in (_ROOT, self._name) and not self._any_root:
                raise FileRefused(
                    f"the file's root is <{name[:100]}>, not <{_ROOT}>; choose its format, or "
                    f"name the root <{_ROOT}>, and each text in it <{self._name}>"
                )
        if name == self._name:
            if self._open:
                raise _BeginsAgain
            self._start, self._start_line, self._nodes, self._fault = at, self._line, 0, None
        elif not self._open:
            self._around.append(name)
            if len(self._around) > self._bounds.depth:
                raise FileRefused(f"nested more than {self._bounds.depth} deep; flatten it")
            return
        if self._fault is not None:
            self._deeper += 1
            return
        node = Node(name, attributes)
        self._nodes += 1
        if self._open:
            self._open[-1].children.append(node)
        self._open.append(node)
        self._check_size(attributes)

    def _check_size(self, attributes: dict[str, str]) -> None:
        if len(attributes) > self._bounds.columns:
            many = f"more than {self._bounds.columns:,} attributes; drop some"
            self._overflow(Unfit("too_wide", many))
        if len(self._open) > self._bounds.depth:
            deep = f"nested more than {self._bounds.depth} deep; flatten it"
            self._overflow(Unfit("too_deep", deep))
        if self._nodes > _NODES:
            self._overflow(Unfit("too_long", f"more than {_NODES:,} elements in one; split it"))

    def _end_element(self, _name: str) -> None:
        at = self._here()
        if not self._open:
            del self._around[-1:]
            return
        if self._deeper:
            self._deeper -= 1
            return
        node = self._open.pop()
        if self._open:
            return
        too_long = self._fault is not None and self._fault.code == "too_long"
        raw = "" if too_long else self._raw(self._start, self._end_of(at))
        self._found.append(Element(self._start_line, node, raw, self._fault))

    def _end_of(self, at: int) -> int:
        """Where an element ends of which the parser says that its end is at a place.

        That is where its end tag begins, in a file that may be cut off behind it, or right behind
        the one tag that is all of it.
        """
        if self._ends.match(self._buffer, at - self._base) is None:
            return at
        end = self._buffer.find(b">", at - self._base)
        return self._base + (len(self._buffer) if end < 0 else end + 1)

    def _characters(self, text: str) -> None:
        self._here()
        if self._open and self._fault is None:
            self._open[-1].texts.append(text)


def _without_last_tag(raw: str) -> str:
    """What is broken at the end of a file, without the end of what is around it."""
    before, _, last = raw.rpartition("</")
    return before.rstrip() if before and last.find(">") == len(last) - 1 else raw


def elements(stream: BinaryIO, encoding: Encoding, name: str, bounds: Bounds) -> Iterator[Element]:
    """The elements of that name. The last is empty where the file ends before its root does."""
    reading = _Reading(name, encoding, bounds, any_root=name != "document")
    for piece in pieces(stream, encoding):
        yield from reading.take(piece)
    yield from reading.end()
