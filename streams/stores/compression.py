"""Compression: zstd at its fastest. A context is kept for each thread.

Chunks of a hundred items make a few kilobytes each; to set a context up for them costs
more than to compress them.

A frame of zstd has bits that no decompressor looks at, and tables of which a part is not used:
others in their place give the same content. Where no digest of the stored bytes is kept beside
them, the frame is followed by one, in a frame that decompressors skip (RFC 8878, section 3.1.2).
"""

from __future__ import annotations

import hashlib
import struct
import threading

import zstandard

LEVEL = 1
DIGEST_BYTES = 16
_MARK = struct.pack("<II", 0x184D2A5C, DIGEST_BYTES)
"""How the frame with the digest begins: one of the magic numbers to skip, and its length."""


class _Contexts(threading.local):
    """What one thread uses; a context must not be shared by two."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=LEVEL)
        self.decompressor = zstandard.ZstdDecompressor()


_contexts = _Contexts()


def compress(plain: bytes) -> bytes:
    """One frame that tells its content's size."""
    return _contexts.compressor.compress(plain)


def compress_marked(plain: bytes) -> bytes:
    """As ``compress``, with a digest of the frame behind it."""
    frame = compress(plain)
    return frame + _MARK + _digest(frame)


def unmarked(data: bytes) -> bytes | None:
    """The frame without its digest; None when that is of another one.

    What an older release wrote has none, and is returned as it is.
    """
    at = len(data) - len(_MARK) - DIGEST_BYTES
    if at < 0 or data[at:-DIGEST_BYTES] != _MARK:
        return data
    frame = data[:at]
    return frame if data[-DIGEST_BYTES:] == _digest(frame) else None


def _digest(frame: bytes) -> bytes:
    return hashlib.blake2b(frame, digest_size=DIGEST_BYTES).digest()


def decompress(data: bytes) -> bytes:
    """What ``compress`` was given; what stands behind its frame is passed over."""
    return _contexts.decompressor.decompress(data)
