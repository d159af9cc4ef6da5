"""What is compressed with a mark cannot be another one that says the same."""

from __future__ import annotations

import random

import orjson
import pytest
import zstandard

from streams.stores.compression import (
    MOST_BYTES,
    as_written,
    compress,
    compress_marked,
    decompress,
)

_CHANCE = random.Random(20261129)
SAMPLES = {
    "nothing": b"",
    "a byte": b"a",
    "one byte again and again": b"a" * 5000,
    "documents": orjson.dumps([{"number": n, "name": f"thing {n}"} for n in range(100)]),
    "chance": _CHANCE.randbytes(500),
    "lines": b"".join(b'{"start_char":%d}\n' % _CHANCE.randrange(9999) for _ in range(100)),
}


def _others(data: bytes) -> list[bytes]:
    """All that differ in one bit."""
    number, size = int.from_bytes(data), len(data)
    return [(number ^ (1 << bit)).to_bytes(size) for bit in range(size * 8)]


each_sample = pytest.mark.parametrize("plain", SAMPLES.values(), ids=SAMPLES)


@each_sample
def test_no_bit_of_what_is_marked_can_be_another(plain: bytes) -> None:
    data = compress_marked(plain)
    assert as_written(data) == plain
    assert not any(as_written(other) is not None for other in _others(data))


@each_sample
def test_without_a_mark_some_bit_could_be(plain: bytes) -> None:
    assert plain in map(as_written, _others(compress(plain)))


@each_sample
def test_what_is_cut_is_found_unless_it_is_the_whole_mark(plain: bytes) -> None:
    data = compress_marked(plain)
    passed = [length for length in range(len(data)) if as_written(data[:length]) is not None]
    assert passed == [len(compress(plain))]


@each_sample
def test_what_an_older_release_wrote_has_no_mark(plain: bytes) -> None:
    assert as_written(compress(plain)) == plain
    assert decompress(compress_marked(plain)) == plain, "nor does an older release mind one"


@each_sample
def test_nothing_else_may_stand_behind_it(plain: bytes) -> None:
    data = compress_marked(plain)
    for more in (b"x", compress(plain), data[len(compress(plain)) :]):
        assert as_written(data + more) is None
    assert as_written(compress(plain) + b"x") is None


def test_content_that_ends_like_a_mark_is_none() -> None:
    """What does not become smaller stands in the frame as it is."""
    mark = compress_marked(b"")[len(compress(b"")) :]
    plain = _CHANCE.randbytes(300) + mark
    assert compress(plain).endswith(mark)
    assert as_written(compress(plain)) == plain
    assert as_written(compress_marked(plain)) == plain


def test_a_frame_that_no_reader_can_read_or_that_is_too_large_is_refused() -> None:
    sizeless = zstandard.ZstdCompressor(write_content_size=False).compress(b"a" * 500)
    assert as_written(sizeless) is None
    assert as_written(compress(bytes(MOST_BYTES + 1))) is None
    assert as_written(b"") is None
