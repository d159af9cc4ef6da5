"""Workbooks (XLSX) as they are written: rows as a stream, each text in its own cell.

A cell with a text is of the type of texts, which no spreadsheet runs. Sheets come before the
list of them, because how many there will be is not known when the first is begun.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from domain.systems.annotations.formats.archives import PIECE, ArchiveWriter

Cell = str | float | None
Group = Sequence[Sequence[Cell]]

MAX_CELL = 32_767
"""UTF-16 units of one cell, as spreadsheets have it."""
MAX_ROWS = 1_048_576
MAX_SHEET = 1_000_000_000
"""Bytes after which a new sheet is begun: no member of a ZIP file may have 2 GiB."""

_NOT_XML = "[\x00-\x08\x0b-\x1f\ufffe\uffff]"
_BY_ESCAPE = re.compile(f"{_NOT_XML}|_(?=x[0-9A-Fa-f]{{4}}(?:_|{_NOT_XML}))")
"""An escape begins with a ``_`` itself, so that what stands before one may become another."""
_MARKUP = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_DECLARATION = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_OPENING = f'{_DECLARATION}<worksheet xmlns="{_MAIN}"><sheetData>'
_CLOSING = "</sheetData></worksheet>"


def fits(value: Cell) -> bool:
    """Whether a cell can hold the value."""
    if not isinstance(value, str) or len(value) <= MAX_CELL // 2:
        return True
    return len(value.encode("utf-16-le", "replace")) // 2 <= MAX_CELL


def workbook(header: Sequence[str], groups: Iterable[Group]) -> Iterator[bytes]:
    """A workbook with a header and rows; a group of them is not parted between two sheets."""
    archive = ArchiveWriter()
    left = _Groups(groups)
    sheets: list[str] = []
    while left.more or not sheets:
        sheets.append("annotations" if not sheets else f"annotations {len(sheets) + 1}")
        yield from archive.add_pieces(_sheet_file(len(sheets)), _sheet(header, left))
    for name, content in _listing(sheets):
        yield from archive.add(name, content.encode())
    yield from archive.close()


class _Groups:
    """The groups that are still to be written, one looked at ahead."""

    def __init__(self, groups: Iterable[Group]) -> None:
        self._groups = iter(groups)
        self._next = next(self._groups, None)

    @property
    def more(self) -> bool:
        return self._next is not None

    def take(self, room: int) -> Group | None:
        """The next one, if there is one that is no longer than ``room``."""
        found = self._next
        if found is None or len(found) > room:
            return None
        self._next = next(self._groups, None)
        return found


def _sheet(header: Sequence[str], groups: _Groups) -> Iterator[bytes]:
    number, size = 1, 0
    held = [_OPENING, _row(number, header)]
    length = 0
    while size < MAX_SHEET and (group := groups.take(MAX_ROWS - number)) is not None:
        for values in group:
            number += 1
            held.append(_row(number, values))
            length += len(held[-1])
        if length >= PIECE:
            piece = "".join(held).encode("utf-8", "replace")
            size += len(piece)
            yield piece
            held.clear()
            length = 0
    yield "".join([*held, _CLOSING]).encode("utf-8", "replace")


def _row(number: int, values: Sequence[Cell]) -> str:
    cells = [
        _cell(f"{_letters(column)}{number}", value)
        for column, value in enumerate(values)
        if value is not None
    ]
    return f'<row r="{number}">{"".join(cells)}</row>'


def _cell(place: str, value: str | float) -> str:
    if not isinstance(value, str):
        return f'<c r="{place}"><v>{value!r}</v></c>'
    text = _BY_ESCAPE.sub(_escape, value).translate(_MARKUP)
    return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'


def _escape(found: re.Match[str]) -> str:
    return f"_x{ord(found[0]):04X}_"


def _letters(column: int) -> str:
    """0 -> A, 25 -> Z, 26 -> AA."""
    letters = ""
    number = column + 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def _sheet_file(number: int) -> str:
    return f"xl/worksheets/sheet{number}.xml"


def _listing(sheets: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What says of a package that it is a workbook, and of which sheets."""
    numbers = range(1, len(sheets) + 1)
    named = "".join(
        f'<sheet name="{name}" sheetId="{number}" r:id="rId{number}"/>'
        for number, name in zip(numbers, sheets, strict=True)
    )
    links = "".join(
        _link(number, "worksheet", f"worksheets/sheet{number}.xml") for number in numbers
    )
    parts = "".join(_part(f"/{_sheet_file(number)}", "worksheet") for number in numbers)
    yield (
        "xl/workbook.xml",
        f'{_DECLARATION}<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}">'
        f"<sheets>{named}</sheets></workbook>",
    )
    yield "xl/_rels/workbook.xml.rels", _links(links)
    yield "_rels/.rels", _links(_link(1, "officeDocument", "xl/workbook.xml"))
    yield (
        "[Content_Types].xml",
        f'{_DECLARATION}<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels"'
        ' ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f"{_part('/xl/workbook.xml', 'sheet.main')}{parts}</Types>",
    )


def _links(links: str) -> str:
    return f'{_DECLARATION}<Relationships xmlns="{_PACKAGE}/relationships">{links}</Relationships>'


def _link(number: int, kind: str, target: str) -> str:
    return f'<Relationship Id="rId{number}" Type="{_OFFICE}/{kind}" Target="{target}"/>'


def _part(name: str, kind: str) -> str:
    return f'<Override PartName="{name}" ContentType="{_TYPES}.{kind}+xml"/>'
