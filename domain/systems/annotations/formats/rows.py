"""Rows of delimited text, with what they looked like, and without being led astray by them.

The parser is that of the standard library. What is ours keeps the lines that it takes, so that
a quote nobody closes costs one line and not the rest of the file, and sees to it that no row
takes more memory than a line may.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from domain.systems.annotations.formats.contract import Bounds, FileRefused
from domain.systems.annotations.formats.validity import Unfit

DELIMITERS = ",;\t|"
_MAX_LINES = 100_000
"""Lines of one row: a quoted field may have line ends."""

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")

Line = tuple[int, str | None]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How cells are set apart."""

    delimiter: str = ","
    quote: str = '"'
    escape: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A row, the number of its first line, and the lines as they stood.

    ``fault`` says why the cells are not to be relied on.
    """

    line: int
    cells: list[str]
    raw: str
    fault: Unfit | None = None


class _TooMuch(Exception):
    """The row would take too much memory."""


class _Lines(Iterator[str]):
    """The lines that the parser asks for; remembers those of the present row."""

    def __init__(self, lines: Iterator[Line], dialect: Dialect, bounds: Bounds) -> None:
        self._lines = lines
        self._again: deque[Line] = deque()
        self._dialect = dialect
        self._bounds = bounds
        quote = re.escape(dialect.quote)
        self._quoted = re.compile(f"{quote}[^{quote}]*(?:{quote}|$)")
        self.taken: list[tuple[int, str]] = []
        self._length = 0
        self._open = False

    def begin(self) -> None:
        """Forget the row before."""
        self.taken = []
        self._length = 0
        self._open = False

    def give_back(self, first: int) -> None:
        """Have the lines from ``first`` of the present row read again."""
        self._again.extendleft(reversed(self.taken[first:]))
        del self.taken[first:]

    def __next__(self) -> str:
        number, text = self._again.popleft() if self._again else next(self._lines)
        if text is None:
            if self.taken:
                self._again.appendleft((number, None))
                raise _TooMuch
            self.taken.append((number, ""))
            raise Unfit("too_long", f"longer than {self._bounds.line:,} bytes; split it")
        self.taken.append((number, text))
        self._length += len(text)
        if self._length > self._bounds.line or len(self.taken) > _MAX_LINES:
            raise _TooMuch
        self._count_columns(text)
        return text

    def _count_columns(self, text: str) -> None:
        """Refuse a line of a million cells before the parser makes them."""
        quote, delimiter = self._dialect.quote, self._dialect.delimiter
        if text.count(delimiter) >= self._bounds.columns:
            bare = self._quoted.sub("", quote + text if self._open else text)
            if bare.count(delimiter) >= self._bounds.columns:
                raise Unfit("too_wide", f"more than {self._bounds.columns:,} columns; drop some")
        self._open ^= bool(text.count(quote) % 2)

    def opened_at(self) -> int:
        """Which of the row's lines has the quote that nothing closes."""
        opened, inside = 0, False
        quotes = re.compile(f"{re.escape(self._dialect.quote)}{{1,2}}")
        for index, (_, text) in enumerate(self.taken):
            for quote in quotes.findall(text):
                if len(quote) == 1:
                    inside = not inside
                    opened = index if inside else opened
        return opened


def rows(lines: Iterator[Line], dialect: Dialect, bounds: Bounds) -> Iterator[Row]:
    """The rows of a file, blank ones left out."""
    # The parser's own limit is one for the whole process, and lower than a text may be long.
    csv.field_size_limit(max(csv.field_size_limit(), bounds.line))
    feed = _Lines(lines, dialect, bounds)
    while True:
        feed.begin()
        try:
            cells = next(_parser(feed, dialect, strict=True))
        except StopIteration:
            return
        except Unfit as unfit:
            yield _row(feed, [], unfit)
        except _TooMuch:
            yield _unclosed(feed)
        except csv.Error as error:
            yield _unclosed(feed) if "end of data" in str(error) else _torn(feed, error)
        else:
            if cells:
                yield _row(feed, cells)


def dialect_of(head: str, explicit: Mapping[str, str] | None, wanted: frozenset[str]) -> Dialect:
    """How the cells of a file are set apart, by its first rows; what is explicit wins."""
    explicit = explicit or {}
    quote, escape = explicit.get("quotechar", '"'), explicit.get("escapechar")
    delimiter = explicit.get("delimiter")
    for name, mark in (("delimiter", delimiter), ("quotechar", quote), ("escapechar", escape)):
        if mark is not None and (len(mark) != 1 or mark in "\r\n"):
            raise FileRefused(f"dialect: {name} {mark!r} is not one character; correct it")
    if delimiter is None:
        tried = [Dialect(delimiter, quote, escape) for delimiter in DELIMITERS]
        return max(tried, key=lambda dialect: _likelihood(head, dialect, wanted))
    return Dialect(delimiter, quote, escape)


def first_rows(head: str, dialect: Dialect, count: int = 20) -> list[list[str]]:
    """The first rows, read leniently."""
    parser = _parser(iter(_LINE.findall(head)[: 2 * count]), dialect, strict=False)
    try:
        return [row for row, _ in zip(parser, range(count), strict=False) if row]
    except csv.Error:
        return []


def lenient_cells(raw: str, dialect: Dialect) -> list[str]:
    """The cells of a row that is at fault, as far as they can be told."""
    try:
        return next(_parser(iter(_LINE.findall(raw)), dialect, strict=False), [])
    except csv.Error:
        return []


def _parser(lines: Iterator[str], dialect: Dialect, *, strict: bool) -> Iterator[list[str]]:
    return csv.reader(
        lines,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote,
        escapechar=dialect.escape,
        strict=strict,
    )


def _likelihood(head: str, dialect: Dialect, wanted: frozenset[str]) -> tuple[int, float, int]:
    found = first_rows(head, dialect)
    if not found:
        return 0, 0.0, 0
    header = found[0]
    known = len(wanted & {cell.strip() for cell in header})
    width = len(header)
    alike = sum(len(row) == width for row in found) / len(found) if width > 1 else 0.0
    return known, alike, width


def _row(feed: _Lines, cells: list[str], fault: Unfit | None = None) -> Row:
    return Row(feed.taken[0][0], cells, "".join(text for _, text in feed.taken), fault)


def _unclosed(feed: _Lines) -> Row:
    opened = feed.opened_at()
    line = feed.taken[opened][0]
    feed.give_back(opened + 1)
    row = _row(feed, [])
    fault = Unfit(
        "unclosed_quote",
        f"a quote that opens in line {line} is not closed; close it, or double it if it is meant",
    )
    return Row(line, row.cells, row.raw, fault)


def _torn(feed: _Lines, error: csv.Error) -> Row:
    last = feed.taken[-1][0]
    feed.give_back(1)
    where = "" if last == feed.taken[0][0] else f", which a quote in line {last} closes"
    return _row(feed, [], Unfit("bad_quote", f"a quoted cell{where}: {error}; double its quotes"))
