"""Packing: answers in gzip or zstd, and bodies that come so, which are not let grow at will.

A body of a few bytes may unpack to gigabytes. It is unpacked in small steps, and refused as
soon as it has become more than so many times what has come, or more than the route takes.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any, Final

import zstandard
from aiohttp import web

from api.limits import Limits
from api.problems import RequestRefused, refused
from api.varying import vary

GZIP, ZSTD = "gzip", "zstd"
CODINGS: Final = (ZSTD, GZIP)
"""The better one first."""
_PACKED = frozenset(
    {
        "application/json",
        "application/problem+json",
        "image/svg+xml",
        "text/css",
        "text/csv",
        "text/html",
        "text/javascript",
        "text/plain",
    }
)
_LARGE = 100_000
"""Answers above are packed in a thread, so that nobody else waits for them."""
_STEP = 256
"""So many bytes of zstd are at most 64 blocks, which are at most 8 MB."""
_WINDOW = 8 * 1024 * 1024
_PIECE = 256_000
_STREAM_WINDOW = 18
"""Of zstd, in bits: what an answer without an end in sight keeps is 256 KB, not 2 MB."""
_GZIP_BITS = zlib.MAX_WBITS | 16


def coding_for(request: web.Request, response: web.Response, limits: Limits) -> str | None:
    """The coding of an answer that the client would rather have, where that is worth while.

    Its tag is a weak one then: it is the same thing in other bytes, of which a strong tag would
    be a lie.
    """
    body = response.body
    if response.content_type not in _PACKED or not isinstance(body, bytes):
        return None
    vary(request, "Accept-Encoding")
    coding = _asked(request)
    if coding is None or len(body) < limits.pack_from:
        return None
    tag = response.headers.get("ETag")
    if tag is not None and not tag.startswith("W/"):
        response.headers["ETag"] = f"W/{tag}"
    return coding


async def packed(response: web.Response, coding: str) -> web.Response:
    """The answer in a coding of ours."""
    body, pack = response.body, _PACKERS[coding]
    if isinstance(body, bytes):
        response.body = pack(body) if len(body) < _LARGE else await asyncio.to_thread(pack, body)
        response.headers["Content-Encoding"] = coding
    return response


def packed_stream(
    request: web.Request, response: web.StreamResponse, blocks: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    """The blocks of an answer, in the coding that its client would rather have."""
    vary(request, "Accept-Encoding")
    coding = _asked(request)
    if coding is None:
        return blocks
    response.headers["Content-Encoding"] = coding
    return _packed_blocks(blocks, coding)


async def _packed_blocks(
    blocks: AsyncGenerator[bytes, None], coding: str
) -> AsyncGenerator[bytes, None]:
    """Block after block, each of which can be unpacked as soon as it has come."""
    packer, between = _packer(coding)
    async with aclosing(blocks):
        async for block in blocks:
            yield packer.compress(block) + packer.flush(between)
    yield packer.flush()


def _packer(coding: str) -> tuple[Any, int]:
    """What packs piece by piece, and how it is told to keep nothing back."""
    if coding == GZIP:
        return zlib.compressobj(5, zlib.DEFLATED, _GZIP_BITS), zlib.Z_SYNC_FLUSH
    terms = zstandard.ZstdCompressionParameters.from_level(3, window_log=_STREAM_WINDOW)
    packer = zstandard.ZstdCompressor(compression_params=terms).compressobj()
    return packer, zstandard.COMPRESSOBJ_FLUSH_BLOCK


def _asked(request: web.Request) -> str | None:
    return wanted(",".join(request.headers.getall("Accept-Encoding", [])))


def wanted(accept: str) -> str | None:
    """The coding of ours that ``Accept-Encoding`` rates highest; None for none of them."""
    rated: dict[str, float] = {}
    for part in accept.lower().split(","):
        name, _, parameter = (each.strip() for each in part.partition(";"))
        rated[name] = _quality(parameter)
    best = max(CODINGS, key=lambda coding: rated.get(coding, 0.0))
    quality = rated.get(best, 0.0)
    return best if quality > 0 and quality >= rated.get("identity", 0.0) else None


def _quality(parameter: str) -> float:
    key, _, value = parameter.partition("=")
    if key.strip() != "q":
        return 1.0
    try:
        return min(max(float(value), 0.0), 1.0)
    except ValueError:
        return 0.0


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(5, zlib.DEFLATED, _GZIP_BITS)
    return packer.compress(body) + packer.flush()


def _zstd(body: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=3).compress(body)


_PACKERS: Final[dict[str, Callable[[bytes], bytes]]] = {GZIP: _gzip, ZSTD: _zstd}


def coding_of(request: web.Request) -> str:
    """How the body is packed; empty when it is as it is."""
    said = ",".join(request.headers.getall("Content-Encoding", [])).strip().lower()
    return "" if said == "identity" else said


async def unpacked(
    blocks: AsyncIterator[bytes], coding: str, limits: Limits
) -> AsyncIterator[bytes]:
    """The body that is in the blocks; raises RequestRefused for one that is no such, or a bomb."""
    unpacker = _Unpacker(coding)
    came = gave = 0
    async for block in blocks:
        came += len(block)
        for piece in unpacker.pieces(block):
            gave += len(piece)
            if gave > limits.unpacked_free and gave > came * limits.unpacked_ratio:
                raise _bomb(limits)
            yield piece
    if not unpacker.whole:
        raise _broken("it ends too early")


class _Unpacker:
    """Unpacks one member or frame after another, in pieces of bounded size."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._current: Any = None

    @property
    def whole(self) -> bool:
        """Whether the last member has come to its end."""
        return self._current is None

    def pieces(self, block: bytes) -> Iterator[bytes]:
        """What the next bytes unpack to."""
        try:
            yield from self._gzip(block) if self._coding == GZIP else self._zstd(block)
        except (zlib.error, zstandard.ZstdError) as error:
            raise _broken(str(error)) from None

    def _gzip(self, block: bytes) -> Iterator[bytes]:
        while block:
            if self._current is None:
                self._current = zlib.decompressobj(_GZIP_BITS)
            piece = self._current.decompress(block, _PIECE)
            block = self._current.unconsumed_tail or self._current.unused_data
            if piece:
                yield piece
            yield from self._rest(block)
            if self._current.eof:
                self._current = None

    def _rest(self, block: bytes) -> Iterator[bytes]:
        """What zlib holds back when all that came is taken and the piece was full."""
        while not block and not self._current.eof:
            piece = self._current.decompress(b"", _PIECE)
            if not piece:
                return
            yield piece

    def _zstd(self, block: bytes) -> Iterator[bytes]:
        while block:
            if self._current is None:
                unpacker = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
                self._current = unpacker.decompressobj()
            piece = self._current.decompress(block[:_STEP])
            block = self._current.unused_data + block[_STEP:]
            if piece:
                yield piece
            if self._current.eof:
                self._current = None


def _broken(reason: str) -> RequestRefused:
    return refused(
        400, "malformed_body", f"the body is not packed as Content-Encoding says: {reason}"
    )


def _bomb(limits: Limits) -> RequestRefused:
    return refused(
        413,
        "body_too_large",
        f"the body unpacks to more than {limits.unpacked_ratio} times what was sent; send it as "
        "it is",
    )
