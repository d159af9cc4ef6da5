"""Width and height of an image from its first bytes; nothing is ever decoded."""

from __future__ import annotations

import io
import struct

import imagesize

from domain.systems.annotations.formats.archives import Members

SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp")

_MAGICS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM")
_HEADS = (64 * 1024, 2 * 1024 * 1024)
"""The second one for photographs that begin with a preview of themselves."""


def is_image(name: str) -> bool:
    """Whether a file is one by its name."""
    return name.lower().endswith(SUFFIXES)


def size_of(members: Members, name: str) -> tuple[int, int] | None:
    """Of an image among the members, as it is shown: a photograph may lie on its side."""
    for length in _HEADS:
        head = members.head(name, length)
        size = size_in(head)
        if size is not None or len(head) < length:
            return size
    return None


def size_in(head: bytes) -> tuple[int, int] | None:
    """By the first bytes of an image; ``None`` for what is none, or does not say it here."""
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    if not webp and not head.startswith(_MAGICS):
        return None
    try:
        width, height = imagesize.get(io.BytesIO(head))
    except (ValueError, struct.error, IndexError, OSError, OverflowError):
        return None
    return (int(width), int(height)) if width > 0 and height > 0 else None
