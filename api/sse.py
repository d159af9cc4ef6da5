"""Server-sent events: the bytes on the wire."""

from __future__ import annotations

MEDIA_TYPE = "text/event-stream"
HEARTBEAT = b": still here\n\n"

_LINE_BREAKS = str.maketrans("", "", "\r\n")


def retry(milliseconds: int) -> bytes:
    """How long a client that lost its connection waits before it comes back."""
    return b"retry: %d\n\n" % milliseconds


def frame(name: str, text: bytes, place: int | None) -> bytes:
    """One event, whose document is JSON; without a place it has no id to resume from."""
    identity = b"" if place is None else b"id: %d\n" % place
    event = name.translate(_LINE_BREAKS).encode()
    return b"event: %b\n%bdata: %b\n\n" % (event, identity, text)
