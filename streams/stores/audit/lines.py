"""Lines: an archive is NDJSON, whose last line has number and digest of all before it."""

from __future__ import annotations

import hashlib
from typing import Any, BinaryIO

import orjson

from domain.errors import InvalidCommand

MAX_LINE = 16_000_000


class Written:
    """Lines on their way into a file, counted and digested."""

    def __init__(self, out: BinaryIO) -> None:
        self.lines = 0
        self._out = out
        self._digest = hashlib.sha256()

    def add(self, document: dict[str, Any]) -> None:
        """One more line."""
        line = orjson.dumps(document) + b"\n"
        self._digest.update(line)
        self._out.write(line)
        self.lines += 1

    def end(self) -> None:
        """The last line."""
        told = {"lines": self.lines, "sha256": self._digest.hexdigest()}
        self._out.write(orjson.dumps({"end": told}) + b"\n")


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
