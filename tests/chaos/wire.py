"""Wire: what a client says to PostgreSQL, as far as one must know to see a commit go by."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Protocol

_WRITES = re.compile(rb'(?:INSERT INTO|UPDATE|DELETE FROM|COPY)\s+"?(\w+)', re.IGNORECASE)
_START = 4
"""Bytes of the length that the messages of the start have, without a letter before it."""


class Hearing(Protocol):
    """What hears the commits of one connection."""

    def feed(self, data: bytes) -> Iterator[frozenset[str]]: ...


class Deaf:
    """For a protocol that has none."""

    def feed(self, data: bytes) -> Iterator[frozenset[str]]:
        """Hear nothing."""
        del data
        return iter(())


class Frontend:
    """The messages of one connection, in whatever pieces they arrive.

    ``feed`` yields, for each COMMIT, the tables that its transaction has written.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._started = False
        self._statements: dict[bytes, bytes] = {}
        self._written: set[str] = set()

    def feed(self, data: bytes) -> Iterator[frozenset[str]]:
        """Take more of what the client said."""
        self._buffer += data
        while (message := self._next()) is not None:
            kind, body = message
            sql = self._sql(kind, body)
            word = sql[:8].lstrip().upper()
            if word.startswith(b"COMMIT"):
                yield frozenset(self._written)
            if word.startswith((b"BEGIN", b"COMMIT", b"ROLLBACK")):
                self._written.clear()
            self._written.update(name.decode() for name in _WRITES.findall(sql))

    def _next(self) -> tuple[bytes, bytes] | None:
        head = 1 if self._started else 0
        if len(self._buffer) < head + _START:
            return None
        (length,) = struct.unpack_from("!I", self._buffer, head)
        if len(self._buffer) < head + length:
            return None
        kind = bytes(self._buffer[:head])
        body = bytes(self._buffer[head + _START : head + length])
        del self._buffer[: head + length]
        if not self._started:
            # Requests for encryption come first, and have a version of their own.
            self._started = struct.unpack_from("!H", body)[0] == 3
        return kind, body

    def _sql(self, kind: bytes, body: bytes) -> bytes:
        """What is run by a message: its own text, or that of the statement that it names."""
        match kind:
            case b"Q":
                return body
            case b"P":
                name, sql = body.split(b"\0", 2)[:2]
                self._statements[name] = sql
            case b"B":
                return self._statements.get(body.split(b"\0", 2)[1], b"")
        return b""
