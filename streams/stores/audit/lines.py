"""Lines: an archive is NDJSON, whose last line has number and digest of all before it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import orjson

from domain.errors import DataDirectoryUnusable, InvalidCommand

MAX_LINE = 1_330_000_000
"""Bytes of a line: about the largest row that SQLite takes (a GB), by which archives are verified.

Before-images of a chunk may be of any size, and its bytes are four for three here. Whoever reads
such a line needs no more memory than who has written it.
"""


class Written:
    """Lines on their way into a file, counted and digested."""

    def __init__(self, out: BinaryIO) -> None:
        self.lines = 0
        self._out = out
        self._digest = hashlib.sha256()

    def add(self, document: dict[str, Any]) -> None:
        """One more line; raises DataDirectoryUnusable for one that nobody could read again."""
        line = orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
        if len(line) > MAX_LINE:
            raise DataDirectoryUnusable(
                f"a row takes {len(line):,} bytes of an archive, of which {MAX_LINE:,} can be read "
                "again; it stays in the database, have smaller chunks of such items"
            )
        self._digest.update(line)
        self._out.write(line)
        self.lines += 1

    def end(self) -> None:
        """The last line."""
        told = {"lines": self.lines, "sha256": self._digest.hexdigest()}
        self._out.write(orjson.dumps({"end": told}) + b"\n")


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """The lines of an archive, with their ends; raises InvalidCommand for one that is too long."""
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE and not line.endswith(b"\n"):
            raise no_archive(f"a line is longer than any that is written ({MAX_LINE:,} bytes)")
        yield line


def document_of(line: bytes) -> dict[str, Any]:
    """A line of an archive; raises InvalidCommand."""
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise no_archive(f"a line is no JSON ({error})") from None
    if not isinstance(document, dict):
        raise no_archive("a line is no object")
    return document


def no_archive(reason: str) -> InvalidCommand:
    """A file that cannot be looked at as an archive."""
    return InvalidCommand(f"this is no whole archive of a job: {reason}")
