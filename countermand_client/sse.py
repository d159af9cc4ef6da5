"""SSE: the text/event-stream format, parsed as the bytes come (WHATWG HTML, 9.2.6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event; ``id`` is empty for those that cannot be continued from."""

    name: str
    data: str
    id: str


class EventParser:
    """Turns blocks of bytes, cut anywhere, into events."""

    def __init__(self) -> None:
        self._rest = b""
        self._name = ""
        self._id = ""
        self._data: list[str] = []

    def feed(self, block: bytes) -> Iterator[ServerEvent]:
        """The events that are complete with this block."""
        *lines, self._rest = _lines(self._rest + block)
        for line in lines:
            event = self._line(line.decode("utf-8", "replace"))
            if event is not None:
                yield event

    def _line(self, line: str) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data":
            self._data.append(value)
        elif field == "id" and "\0" not in value:
            self._id = value
        return None

    def _dispatch(self) -> ServerEvent | None:
        event = ServerEvent(self._name or "message", "\n".join(self._data), self._id)
        complete = bool(self._data)
        # Unlike a browser we do not carry the id over: who asks wants this event's own.
        self._name, self._id, self._data = "", "", []
        return event if complete else None


def _lines(text: bytes) -> list[bytes]:
    """Split at CRLF, LF and CR; a CR at the very end waits for the LF that may follow."""
    held = b"\r" if text.endswith(b"\r") else b""
    body = text[: len(text) - len(held)]
    lines = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    lines[-1] += held
    return lines
