"""What is compressed with a mark cannot be another one that says the same."""

from __future__ import annotations

import random

import orjson
import pytest
import zstandard

from streams.stores.compression import compress, compress_marked, decompress, unmarked

_CHANCE = random.Random(20261129)
SAMPLES = {
    "nothing": b"",
    "a byte": b"a",
    "one byte again and again": b"a" * 5000,
    "documents": orjson.dumps([{"number": n, "name": f"thing {n}"} for n in range(100)]),
    "chance": _CHANCE.randbytes(500),
    "lines": b"".join(b'{"start_char":%d}\n' % _CHANCE.randrange(9999) for _ in range(100)),
}


def _decompressed(frame: bytes) -> bytes | None:
    stream = zstandard.ZstdDecompressor().decompressobj()
    try:
        plain = stream.decompress(frame)
    except zstandard.ZstdError:
        return None
    return plain if stream.eof and not stream.unused_data else None


def _others(data: bytes) -> list[bytes]:
    """All that differ in one bit."""
    number, size = int.from_bytes(data), len(data)
    return [(number ^ (1 << bit)).to_bytes(size) for bit in range(size * 8)]


@pytest.mark.parametrize("plain", SAMPLES.values(), ids=SAMPLES)
def test_no_bit_of_what_is_marked_can_be_another(plain: bytes) -> None:
    data = compress_marked(plain)
    frame = unmarked(data)
    assert frame is not None
    assert _decompressed(frame) == plain
    for other in _others(data):
        found = unmarked(other)
        assert found is None or _decompressed(found) is None


@pytest.mark.parametrize("plain", SAMPLES.values(), ids=SAMPLES)
def test_without_a_mark_some_bit_could_be(plain: bytes) -> None:
    assert plain in map(_decompressed, _others(compress(plain)))


@pytest.mark.parametrize("plain", SAMPLES.values(), ids=SAMPLES)
def test_who_only_reads_passes_the_mark_over(plain: bytes) -> None:
    assert decompress(compress_marked(plain)) == plain


@pytest.mark.parametrize("plain", SAMPLES.values(), ids=SAMPLES)
def test_what_an_older_release_wrote_has_no_mark(plain: bytes) -> None:
    assert unmarked(compress(plain)) == compress(plain)


@pytest.mark.parametrize("length", [0, 1, 23, 24])
def test_whatever_is_too_short_has_no_mark(length: int) -> None:
    assert unmarked(b"\0" * length) == b"\0" * length
