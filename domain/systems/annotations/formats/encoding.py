"""Which encoding a file has, and its text as a stream of lines or pieces.

A byte order mark decides. Without one a file of UTF-16 is known by its zeros, and all else is
UTF-8 if what is not ASCII in it mostly is: one broken line in a file of UTF-8 is a broken line,
not another encoding. What is left is cp1252, or latin-1 where cp1252 has no such character.

Lines end with LF, CRLF or CR, and with nothing else that Unicode calls a line end.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import IncrementalNewlineDecoder
from typing import BinaryIO

from domain.systems.annotations.formats.contract import FileRefused

CHUNK = 64 * 1024

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MARK_OF = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}
_NAMES = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "utf-8-sig": "utf-8",
    "utf-16": "utf-16-le",
    "utf-16-le": "utf-16-le",
    "utf-16-be": "utf-16-be",
    "cp1252": "cp1252",
    "windows-1252": "cp1252",
    "latin-1": "latin-1",
    "latin1": "latin-1",
    "iso-8859-1": "latin-1",
    "ascii": "utf-8",
}
_OTHER_FILES = (
    (b"PK\x03\x04", "a ZIP archive"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3", "a database"),
)
_NOT_IN_CP1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
_INVALID = re.compile("[\udc80-\udcff]")
_BEYOND_ASCII = re.compile("[^\x00-\x7f]")
_PIECE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_EVIDENCE = 1_000
"""Characters beyond ASCII after which the encoding is not in doubt."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """An encoding of text; what cannot be decoded becomes lone surrogates, and comes back."""

    name: str
    mark: bytes = b""

    @property
    def _errors(self) -> str:
        return "surrogatepass" if self.name.startswith("utf-16") else "surrogateescape"

    def decoder(self) -> codecs.IncrementalDecoder:
        """A decoder of a file's bytes after the mark."""
        return codecs.getincrementaldecoder(self.name)(self._errors)

    def raw(self, text: str) -> bytes:
        """The bytes that the text was decoded from."""
        return text.encode(self.name, self._errors)

    def in_utf8(self, text: str) -> bytes:
        """The text in UTF-8, what could not be decoded left as bytes that are none of it."""
        return text.encode("utf-8", self._errors)

    def from_utf8(self, data: bytes) -> str:
        """The text that ``in_utf8`` was given."""
        return data.decode("utf-8", self._errors)

    def beginning_of(self, stream: BinaryIO) -> str:
        """The text of a file's first bytes; the stream is at its start before and afterwards."""
        text = self.decoder().decode(stream.read(CHUNK)[len(self.mark) :])
        stream.seek(0)
        return text

    @property
    def beginning(self) -> bytes:
        """What a file in this encoding begins with, so that it is known again."""
        return self.mark or _MARK_OF.get(self.name, b"")


@dataclass(slots=True)
class Evidence:
    """How much of what is not ASCII in a text is UTF-8, and how much is none."""

    valid: int = 0
    invalid: int = 0

    def add(self, text: str) -> None:
        """Look at more of it, decoded as UTF-8; once there is enough no more is looked at."""
        if not self.is_enough and not text.isascii():
            broken = len(_INVALID.findall(text))
            self.invalid += broken
            self.valid += len(_BEYOND_ASCII.findall(text)) - broken

    @property
    def is_enough(self) -> bool:
        """Whether more would change nothing."""
        return self.valid + self.invalid >= _EVIDENCE

    @property
    def is_for_utf8(self) -> bool:
        """Whether a file without a mark is taken for UTF-8."""
        return self.invalid <= self.valid


def encoding_of(stream: BinaryIO, explicit: str | None = None) -> Encoding:
    """The encoding of a file; an explicit one wins. The stream is at its start afterwards."""
    stream.seek(0)
    head = stream.read(CHUNK)
    if not head:
        raise FileRefused("the file is empty; upload one with content")
    try:
        return _named(explicit, head) if explicit is not None else _found(stream, head)
    finally:
        stream.seek(0)


def pieces(stream: BinaryIO, encoding: Encoding) -> Iterator[str]:
    """The text in pieces: a line with its end each, or a part of a line that is long."""
    # It joins a CR at the end of one chunk with an LF at the start of the next.
    decoder = IncrementalNewlineDecoder(encoding.decoder(), translate=False)
    stream.seek(len(encoding.mark))
    while True:
        data = stream.read(CHUNK)
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError:
            # Half a character at the end of UTF-16. No text has this in it, so it is seen.
            text = "\udc80"
        yield from _PIECE.findall(text)
        if not data:
            return


def lines(stream: BinaryIO, encoding: Encoding, limit: int) -> Iterator[tuple[int, str | None]]:
    """Each line with its number and its end; ``None`` for one longer than ``limit``."""
    number = 1
    held: list[str] = []
    length = 0
    for piece in pieces(stream, encoding):
        length += len(piece)
        if length <= limit:
            held.append(piece)
        else:
            held.clear()
        if piece[-1] in "\r\n":
            yield number, "".join(held) if length <= limit else None
            number, length = number + 1, 0
            held.clear()
    if length:
        yield number, "".join(held) if length <= limit else None


def head_text(head: bytes) -> str:
    """The first bytes of a file as text, to look at; empty for what is no text."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return head[len(mark) :].decode(name, "replace")
    zeros = _zeros(head)
    if zeros is None and b"\0" in head:
        return ""
    return head.decode(zeros or "utf-8", "replace")


def head_of(stream: BinaryIO, explicit: str | None = None) -> bytes:
    """The first bytes of a file, in UTF-8 where its encoding was said: zeros tell of it then.

    A mark decides against what was said: a file of rejects has one where its form says otherwise.
    """
    stream.seek(0)
    # So many characters as there are in the head of a file of one byte each.
    head = stream.read(CHUNK if explicit is None else 2 * CHUNK + 2)
    stream.seek(0)
    if explicit is None or head.startswith(tuple(beginning for beginning, _ in _OTHER_FILES)):
        return head[:CHUNK]
    try:
        encoding = _marked(head) or _named(explicit, head)
    except FileRefused:
        return head[:CHUNK]
    return encoding.decoder().decode(head[len(encoding.mark) :]).encode("utf-8", "replace")


def _marked(head: bytes) -> Encoding | None:
    """The encoding that a byte order mark tells."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return Encoding(name, mark)
    return None


def _named(explicit: str, head: bytes) -> Encoding:
    name = _NAMES.get(explicit.strip().lower().replace("_", "-"))
    if name is None:
        known = ", ".join(sorted(set(_NAMES.values())))
        raise FileRefused(f"encoding {explicit!r} is not known; choose one of {known}")
    for mark, marked in _MARKS:
        if head.startswith(mark) and marked[:6] == name[:6]:
            return Encoding(marked, mark)
    return Encoding(name)


def _found(stream: BinaryIO, head: bytes) -> Encoding:
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise FileRefused("the file is UTF-32; save it as UTF-8")
    marked = _marked(head)
    if marked is not None:
        return marked
    for beginning, kind in _OTHER_FILES:
        if head.startswith(beginning):
            raise FileRefused(f"the file is {kind}, not text; choose the file or its format anew")
    zeros = _zeros(head)
    if zeros is not None:
        return Encoding(zeros)
    if b"\0" in head:
        raise FileRefused(
            "the file is binary (it has zero bytes), not text; choose another file or, if it is"
            " UTF-16, say so: encoding is utf-16-le or utf-16-be"
        )
    return Encoding(_eight_bits(stream))


def _zeros(head: bytes) -> str | None:
    """UTF-16 without a mark: every second byte is zero where the text is Latin."""
    pairs = len(head) // 2
    if pairs == 0 or b"\0" not in head:
        return None
    first, second = head[0 : 2 * pairs : 2].count(0), head[1 : 2 * pairs : 2].count(0)
    if second > 0.3 * pairs and first < 0.02 * pairs:
        return "utf-16-le"
    if first > 0.3 * pairs and second < 0.02 * pairs:
        return "utf-16-be"
    return None


def _eight_bits(stream: BinaryIO) -> str:
    stream.seek(0)
    decoder = Encoding("utf-8").decoder()
    evidence = Evidence()
    undefined = False
    while data := stream.read(CHUNK):
        if data.isascii():
            decoder.reset()
            continue
        evidence.add(decoder.decode(data))
        undefined = undefined or _NOT_IN_CP1252.search(data) is not None
        if evidence.is_enough:
            break
    if evidence.is_for_utf8:
        return "utf-8"
    return "latin-1" if undefined else "cp1252"
