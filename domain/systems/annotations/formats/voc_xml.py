"""A small XML document as its elements, with where each stands.

A document type is refused as soon as it begins, and with it everything that XML can be made to
do: entities that grow, and files or addresses that are fetched.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from xml.parsers import expat

from domain.systems.annotations.formats.validity import Unfit, shown

ELEMENTS = 100_000
TEXT = 100_000
"""Characters of the text of an element that are kept; nothing wanted is as long."""
_DECLARED = re.compile(rb"^\s*<\?xml[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"<\0", "utf-16-le"),
    (b"\0<", "utf-16-be"),
)


@dataclass(slots=True)
class Element:
    """An element; ``raw`` is what stood there, in UTF-8."""

    tag: str
    line: int
    start: int
    text: str = ""
    raw: bytes = b""
    children: list[Element] = field(default_factory=list)

    def child(self, tag: str) -> Element | None:
        """The first of its own children with that tag."""
        return next((one for one in self.children if one.tag == tag), None)

    def words(self, tag: str) -> str:
        """The text of a child, without blanks around; empty where there is none."""
        child = self.child(tag)
        return "" if child is None else child.text.strip()


def root_of(data: bytes, depth: int, encoding: str | None = None) -> Element:
    """The outermost element; raises Unfit for what is not well-formed, or has a document type."""
    content = _utf8(data, encoding)
    builder = _Builder(content, depth)
    try:
        builder.parser.Parse(content, True)
    except expat.ExpatError as error:
        raise Unfit(
            "not_xml",
            f"not well-formed XML, {expat.ErrorString(error.code)} in line {error.lineno};"
            " correct it",
        ) from None
    return builder.root


class _Builder:
    """Builds the elements of one document while it is parsed."""

    def __init__(self, content: bytes, depth: int) -> None:
        # What the document says of its encoding is no longer true.
        self.parser = expat.ParserCreate("utf-8")
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._begin
        self.parser.CharacterDataHandler = self._text
        self.parser.EndElementHandler = self._end
        self._content = content
        self._depth = depth
        self._open: list[Element] = []
        self._count = 0
        self.root: Element

    def _doctype(self, *_: object) -> None:
        raise Unfit(
            "dtd",
            "the XML has a document type (DTD), which could name other files or grow without end;"
            " remove it",
        )

    def _begin(self, tag: str, attributes: dict[str, str]) -> None:
        del attributes
        self._count += 1
        if len(self._open) >= self._depth or self._count > ELEMENTS:
            raise Unfit(
                "too_deep",
                f"nested more than {self._depth} deep, or more than {ELEMENTS} elements; split it",
            )
        place = self.parser.CurrentByteIndex
        element = Element(tag, self.parser.CurrentLineNumber, place)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def _text(self, text: str) -> None:
        if len(self._open[-1].text) < TEXT:
            self._open[-1].text += text

    def _end(self, tag: str) -> None:
        del tag
        element = self._open.pop()
        # Only what hangs below the root is wanted again.
        if len(self._open) == 1:
            element.raw = self._content[element.start : self._end_of(element)]

    def _end_of(self, element: Element) -> int:
        """Where the element ends; the parser is at its end tag, or behind one that is all of it."""
        at = self.parser.CurrentByteIndex
        bare = not element.children and not element.text
        if bare and self._content.endswith(b"/>", element.start, at):
            return at
        return self._content.index(b">", at) + 1


def _utf8(data: bytes, encoding: str | None) -> bytes:
    mark, name = next(
        ((mark, name) for mark, name in _MARKS if data.startswith(mark)), (b"", encoding)
    )
    if name is None:
        declared = _DECLARED.match(data)
        name = declared[1].decode() if declared else "utf-8"
    if b"<" in mark:
        mark = b""
    try:
        bytes(4).decode(name)  # Refuses codecs that are no encoding of text.
        text = data[len(mark) :].decode(name)
    except (LookupError, UnicodeError) as error:
        raise Unfit(
            "not_xml", f"not readable as {shown(name)}: {error}; save it as UTF-8"
        ) from None
    return _DECLARATION.sub("", text).encode("utf-8", "replace")
