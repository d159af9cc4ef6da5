"""Workbooks (XLSX): a ZIP of XML, read as streams of rows, and nothing of it trusted.

Formulas are not worked out: a cell is the value that was stored with it. A document type in any
part is refused, so that nothing grows and nothing is fetched. Texts that cells share wait in a
nameless database, and how much they give is counted however often a cell names them.
"""

from __future__ import annotations

import posixpath
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import BinaryIO
from xml.parsers import expat

from domain.systems.annotations.formats.archives import Archive
from domain.systems.annotations.formats.contract import Bounds, FileRefused
from domain.systems.annotations.formats.rows import Row
from domain.systems.annotations.formats.validity import Unfit
from domain.systems.annotations.formats.workbook_numbers import (
    BUILT_IN,
    Kind,
    hours,
    kind_of,
    number_of,
    numeral,
)
from domain.systems.annotations.formats.xml_names import Names

SHARED = "CREATE TABLE shared (number INTEGER PRIMARY KEY, text TEXT)"
MAX_TEXT = 100_000
"""Characters of one cell; spreadsheets themselves end at 32,767."""
MAX_TAG = 256 * 1024
"""Bytes of one tag with its attributes."""
MAX_SHEETS = 1_000
MAX_STYLES = 100_000
MAX_LINKS = 10_000
MAX_LINKED = 1_000_000
"""Characters of all that the links of one part say."""
MAX_NAME = 255
"""Characters of the name of a sheet that are kept; spreadsheets themselves end at 31."""
MAX_ID = 20
"""Characters of the number of a format."""

_ROOT = "_rels/.rels"
_REFERENCE = re.compile(r"([A-Z]{1,3})[0-9]*")
_ESCAPE = re.compile(
    # A character beyond 16 bits, in halves.
    "_x([Dd][89ABab][0-9A-Fa-f]{2})__x([Dd][C-Fc-f][0-9A-Fa-f]{2})_|_x([0-9A-Fa-f]{4})_"
)

Event = tuple[str, str, Mapping[str, str]]
"""``begin`` with a tag and its attributes, ``end`` with a tag, or ``text``."""
_NONE: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet: what it is called, and the member that has it."""

    name: str
    member: str


class Workbook:
    """The sheets of a file; raises FileRefused for one that is no workbook, or is hostile.

    ``spill`` is a database with the table ``shared``.
    """

    def __init__(self, stream: BinaryIO, bounds: Bounds, spill: sqlite3.Connection) -> None:
        self._bounds = bounds
        self._spill = spill
        self._left = bounds.unpacked
        self._archive = Archive(stream, bounds)
        book = self._part(_ROOT, "", "officeDocument")
        if book is None:
            raise FileRefused("the ZIP file is no workbook; save the table as XLSX, or as CSV")
        self._epoch = datetime(1899, 12, 30)  # noqa: DTZ001 - cells have no zone
        self.sheets = self._sheets(book)
        links = _links_of(book)
        self._kinds = self._kinds_of_styles(self._part(links, book, "styles"))
        self._share(self._part(links, book, "sharedStrings"))

    def rows(self, sheet: Sheet) -> Iterator[Row]:
        """The rows that have a cell; ``raw`` is left empty."""
        reader = _SheetReader(self._bounds, self._text_of, self._kind, self._moment)
        yield from reader.rows(self._events(sheet.member))

    def _events(self, member: str) -> Iterator[Event]:
        if member not in self._archive:
            raise FileRefused(f"the workbook has no {member!r}, which it names; save it anew")
        return _events(self._archive.pieces(member), member, self._bounds.depth)

    def _part(self, links: str, book: str, kind: str) -> str | None:
        """The first part of a kind that a list of links names."""
        return next(
            (where for of, _, where in self._linked(links, book) if of.endswith(f"/{kind}")), None
        )

    def _linked(self, links: str, book: str) -> Iterator[tuple[str, str, str]]:
        """Kind, id and member of each part that is linked."""
        if links not in self._archive:
            return
        count = length = 0
        for kind, tag, attributes in self._events(links):
            if kind == "begin" and tag == "Relationship" and attributes.get("Target"):
                count, length = count + 1, length + sum(map(len, attributes.values()))
                if count > MAX_LINKS or length > MAX_LINKED:
                    raise FileRefused(
                        f"{links!r} of the workbook has more than {MAX_LINKS:,} links to parts, or"
                        f" {MAX_LINKED:,} characters in them; save the table anew"
                    )
                of, key = attributes.get("Type", ""), attributes.get("Id", "")
                target = posixpath.join("/", posixpath.dirname(book), attributes["Target"])
                yield of, key, posixpath.normpath(target).lstrip("/")

    def _sheets(self, book: str) -> list[Sheet]:
        links = {key: where for _, key, where in self._linked(_links_of(book), book)}
        sheets: list[Sheet] = []
        for kind, tag, attributes in self._events(book):
            if kind != "begin":
                continue
            if tag == "workbookPr" and attributes.get("date1904") in ("1", "true"):
                self._epoch = datetime(1904, 1, 1)  # noqa: DTZ001
            elif tag == "sheet" and len(sheets) < MAX_SHEETS:
                key = next((v for name, v in attributes.items() if name.endswith(":id")), "")
                if key in links:
                    sheets.append(Sheet(attributes.get("name", "")[:MAX_NAME], links[key]))
        if not sheets:
            raise FileRefused("the workbook has no sheet; save the table anew")
        return sheets

    def _kinds_of_styles(self, styles: str | None) -> list[Kind]:
        """What numbers in cells of each style are."""
        found: list[Kind] = []
        if styles is None:
            return found
        formats: dict[str, Kind] = {}
        inside = False
        for kind, tag, attributes in self._events(styles):
            if tag == "cellXfs":
                inside = kind == "begin"
            elif kind == "begin" and tag == "numFmt" and len(formats) < MAX_STYLES:
                code = attributes.get("formatCode", "")[:1000]
                formats[attributes.get("numFmtId", "")[:MAX_ID]] = kind_of(code)
            elif kind == "begin" and tag == "xf" and inside and len(found) < MAX_STYLES:
                number = attributes.get("numFmtId", "0")[:MAX_ID]
                known = number.isascii() and number.isdigit()
                built_in = BUILT_IN.get(int(number[:6]) if known else 0, Kind.NUMBER)
                found.append(formats.get(number, built_in))
        return found

    def _kind(self, style: str) -> Kind:
        if not (style.isascii() and style.isdigit()):
            return Kind.NUMBER
        number = int(style[:9])
        return self._kinds[number] if number < len(self._kinds) else Kind.NUMBER

    def _moment(self, days: float, kind: Kind) -> str:
        """A date, with the time of day where it is not midnight; raises OverflowError.

        What is less than a day is the time alone, and so is all that has elapsed.
        """
        within_a_day = 0 < days < 1 or (kind is Kind.TIME and days == 0)
        if days >= 0 and (kind is Kind.ELAPSED or within_a_day):
            return hours(round(days * 86_400))
        moment = self._epoch + timedelta(seconds=round(days * 86_400))
        return moment.date().isoformat() if days == int(days) else moment.isoformat()

    def _share(self, strings: str | None) -> None:
        if strings is None:
            return
        texts = _texts(self._events(strings), "si")
        self._spill.executemany("INSERT INTO shared VALUES (?, ?)", enumerate(texts))

    def _text_of(self, number: str) -> str | None:
        """A text that cells share; ``None`` where there is none, or it is too long."""
        if not (number.isascii() and number.isdigit()) or len(number) > 9:
            return None
        query = "SELECT text FROM shared WHERE number = ?"
        row: tuple[str | None] | None = self._spill.execute(query, (int(number),)).fetchone()
        found = None if row is None else row[0]
        self._left -= len(found or "")
        if self._left < 0:
            raise FileRefused(
                f"the workbook gives more than {self._bounds.unpacked} characters; split it"
            )
        return found


class _SheetReader:
    """Puts the cells of a sheet together to rows, one row at a time."""

    def __init__(
        self,
        bounds: Bounds,
        shared: Callable[[str], str | None],
        kind: Callable[[str], Kind],
        moment: Callable[[float, Kind], str],
    ) -> None:
        self._bounds = bounds
        self._shared, self._kind, self._moment = shared, kind, moment
        self._number = 0
        self._begin_row(_NONE)

    def rows(self, events: Iterable[Event]) -> Iterator[Row]:
        """The rows of the events of a sheet."""
        self._number = 0
        for kind, name, attributes in events:
            if kind == "text":
                self._take(name)
            elif kind == "begin":
                if name == "row":
                    self._begin_row(attributes)
                elif name == "c":
                    self._begin_cell(attributes)
                else:
                    self._begin_part(name)
            elif name == "row":
                if self._cells or self._fault is not None:
                    yield self._row()
            elif name == "c":
                self._end_cell()
            else:
                self._end_part(name)

    def _begin_row(self, attributes: Mapping[str, str]) -> None:
        given = attributes.get("r", "")
        plain = given.isascii() and given.isdigit() and len(given) < 10
        self._number = int(given) if plain else self._number + 1
        self._cells: dict[int, str] = {}
        self._column, self._length = -1, 0
        self._fault: Unfit | None = None
        self._in_cell = self._wanted = self._phonetic = False

    def _begin_cell(self, attributes: Mapping[str, str]) -> None:
        reference = _REFERENCE.fullmatch(attributes.get("r", ""))
        self._column = self._column + 1 if reference is None else _column(reference[1])
        self._type, self._style = attributes.get("t", "n"), attributes.get("s", "0")
        self._held: list[str] = []
        self._size = 0
        self._in_cell = True

    def _begin_part(self, name: str) -> None:
        self._phonetic |= name == "rPh"
        self._wanted = self._in_cell and name in ("v", "t") and not self._phonetic

    def _end_part(self, name: str) -> None:
        self._wanted = False
        if name == "rPh":
            self._phonetic = False

    def _take(self, text: str) -> None:
        if self._wanted:
            self._size += len(text)
            if self._size <= MAX_TEXT:
                self._held.append(text)

    def _end_cell(self) -> None:
        if not self._in_cell:
            return
        self._in_cell = False
        try:
            value = self._value("".join(self._held))
            self._require_narrow(value)
        except Unfit as unfit:
            self._say(unfit)
            return
        self._length += len(value)
        if self._length > self._bounds.line:
            self._cells.clear()
            self._say(_too_long(self._bounds.line))
        elif value:
            self._cells[self._column] = value

    def _require_narrow(self, value: str) -> None:
        """Refuse a value beyond the last column; cells without one are but painted there."""
        most = self._bounds.columns
        if value and self._column >= most:
            raise Unfit("too_wide", f"more than {most:,} columns; drop some")

    def _value(self, held: str) -> str:
        if self._size > MAX_TEXT:
            raise _too_long(MAX_TEXT)
        if self._type == "s":
            return self._shared_text(held)
        if self._type in ("inlineStr", "str"):
            return unescaped(held)
        if self._type == "b":
            return "true" if held == "1" else "false" if held == "0" else held
        if self._type == "e":
            raise Unfit("bad_cell", f"a cell is the error {held[:20]}; mend its formula")
        return self._numeral(held) if self._type == "n" else held

    def _shared_text(self, number: str) -> str:
        if not number:
            return ""
        found = self._shared(number)
        if found is None:
            raise Unfit(
                "bad_cell", f"a cell names a text that is not there, or exceeds {MAX_TEXT:,}"
            )
        return found

    def _numeral(self, held: str) -> str:
        if not held.strip():
            return ""
        kind = self._kind(self._style)
        try:
            return numeral(held) if kind is Kind.NUMBER else self._moment(number_of(held), kind)
        except (ValueError, OverflowError):
            raise Unfit("bad_cell", f"{held[:40]!r} is no number; correct the cell") from None

    def _say(self, fault: Unfit) -> None:
        if self._fault is None:
            self._fault = fault

    def _row(self) -> Row:
        cells = [self._cells.get(at, "") for at in range(max(self._cells, default=-1) + 1)]
        return Row(self._number, cells, "", self._fault)


def unescaped(text: str) -> str:
    """A text without the escapes by which workbooks hold what XML cannot."""
    return _ESCAPE.sub(_character, text) if "_x" in text else text


def _character(escape: re.Match[str]) -> str:
    """What an escape stands for; half a character is none, and the escape stays as it is."""
    try:
        return bytes.fromhex("".join(filter(None, escape.groups()))).decode("utf-16-be")
    except UnicodeDecodeError:
        return escape[0]


def _texts(events: Iterable[Event], around: str) -> Iterator[str | None]:
    """The text of each element ``around``; ``None`` for one that is too long."""
    held: list[str] = []
    size = 0
    wanted = phonetic = False
    for kind, name, _ in events:
        if kind == "text":
            if wanted:
                size += len(name)
                if size <= MAX_TEXT:
                    held.append(name)
        elif kind == "begin":
            if name == around:
                held, size = [], 0
            phonetic |= name == "rPh"
            wanted = name == "t" and not phonetic
        else:
            wanted = False
            if name == "rPh":
                phonetic = False
            elif name == around:
                yield unescaped("".join(held)) if size <= MAX_TEXT else None


def _events(pieces: Iterable[bytes], member: str, depth: int) -> Iterator[Event]:
    """What stands in a part, as it is read; raises FileRefused where it is not well-formed."""
    found: list[Event] = []
    parser = expat.ParserCreate()
    parser.buffer_text = True
    nested = 0
    names = Names(f"{member!r} of the workbook")

    def begin(tag: str, attributes: dict[str, str]) -> None:
        nonlocal nested
        names.note(tag, attributes)
        nested += 1
        if nested > depth:
            raise FileRefused(f"{member!r} of the workbook is nested more than {depth} deep")
        found.append(("begin", tag.rpartition(":")[2], attributes))

    def end(tag: str) -> None:
        nonlocal nested
        nested -= 1
        found.append(("end", tag.rpartition(":")[2], _NONE))

    def refuse(*_: object) -> None:
        raise FileRefused(
            f"{member!r} of the workbook has a document type (DTD), which could grow without end"
            " or name other files; save the table anew"
        )

    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    parser.CharacterDataHandler = lambda text: found.append(("text", text, _NONE))
    parser.StartDoctypeDeclHandler = refuse
    fed = 0
    for piece in pieces:
        _parse(parser, piece, member)
        fed += len(piece)
        if fed - max(parser.CurrentByteIndex, 0) > MAX_TAG:
            raise FileRefused(f"{member!r} of the workbook has a tag of {MAX_TAG:,} bytes")
        yield from found
        found.clear()
    _parse(parser, b"", member, last=True)
    yield from found


def _parse(parser: expat.XMLParserType, piece: bytes, member: str, *, last: bool = False) -> None:
    try:
        parser.Parse(piece, last)
    except expat.ExpatError as error:
        raise FileRefused(
            f"{member!r} of the workbook is damaged: {expat.ErrorString(error.code)} in line"
            f" {error.lineno}; save the table anew"
        ) from None
    except FileRefused:
        raise
    except (LookupError, ValueError) as error:
        # It looks for the encoding that the part names, and takes only those of one byte.
        raise FileRefused(
            f"{member!r} of the workbook is in no encoding that is read here: {error}; save the"
            " table anew"
        ) from None


def _links_of(member: str) -> str:
    folder, name = posixpath.split(member)
    return posixpath.join(folder, "_rels", f"{name}.rels")


def _column(letters: str) -> int:
    """A -> 0, Z -> 25, AA -> 26."""
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - 64
    return number - 1


def _too_long(most: int) -> Unfit:
    return Unfit("too_long", f"longer than {most:,} characters; split it")
