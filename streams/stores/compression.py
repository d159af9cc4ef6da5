"""Compression: zstd at its fastest. A context is kept for each thread.

Chunks of a hundred items make a few kilobytes each; to set a context up for them costs
more than to compress them.

A frame of zstd has bits that no decompressor looks at, and tables of which a part is not used:
others in their place give the same content. Of what the audit trail verifies by its content, the
frame is followed by a digest, in a frame that decompressors skip (RFC 8878, section 3.1.2). It has
no key: whoever takes it away, or makes it anew, can change such bits, and no content.
"""

from __future__ import annotations

import hashlib
import struct
import threading

import zstandard

LEVEL = 1
MOST_BYTES = 100_000_000
"""Far more than a part of an upload or the failures of a chunk can have."""
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


def _digest(frame: bytes) -> bytes:
    return hashlib.blake2b(frame, digest_size=DIGEST_BYTES).digest()


def decompress(data: bytes) -> bytes:
    """The content of a frame; what stands behind it is passed over."""
    return _contexts.decompressor.decompress(data)


def as_written(data: bytes) -> bytes | None:
    """What ``compress_marked`` was given, or ``compress``, as older releases did.

    None for whatever neither of them returns, as far as that can be told, and for what says that
    it is larger than anything of ours: a stream, of which a changed header asks for no memory.
    """
    stream = zstandard.ZstdDecompressor().decompressobj()
    try:
        size = zstandard.frame_content_size(data)
        if not 0 <= size <= MOST_BYTES:
            return None
        plain = stream.decompress(data)
    except zstandard.ZstdError:
        return None
    behind = stream.unused_data
    if not stream.eof or (behind and behind != _MARK + _digest(data[: -len(behind)])):
        return None
    return plain
