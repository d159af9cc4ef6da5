"""Server-sent events: the bytes on the wire."""

from __future__ import annotations

from typing import Any

import orjson

MEDIA_TYPE = "text/event-stream"
HEARTBEAT = b": still here\n\n"

_LINE_BREAKS = str.maketrans("", "", "\r\n")


def retry(milliseconds: int) -> bytes:
    """How long a client that lost its connection waits before it comes back."""
    return b"retry: %d\n\n" % milliseconds


def frame(name: str, data: dict[str, Any], version: int | None) -> bytes:
    """One event; without a version it has no id, so that nobody resumes from it."""
    identity = b"" if version is None else b"id: %d\n" % version
    event = name.translate(_LINE_BREAKS).encode()
    return b"event: %b\n%bdata: %b\n\n" % (event, identity, orjson.dumps(data))
