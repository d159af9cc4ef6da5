"""Blocks cut anywhere become parts of whole lines, with bounded memory."""

from __future__ import annotations

import hashlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidCommand
from streams.stores.payloads import MAX_LINE_BYTES, PART_ITEMS, PartCutter

LINES = st.lists(st.binary(min_size=1, max_size=40).filter(lambda b: b"\n" not in b), max_size=60)


@given(LINES, st.data())
def test_any_cut_gives_the_same_items_and_digest(lines: list[bytes], data: st.DataObject) -> None:
    lines = [line for line in lines if not line.isspace()]
    body = b"\n".join(lines) + (b"\n" if data.draw(st.booleans()) else b"")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    cutter = PartCutter()
    parts = []
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        parts += cutter.feed(body[start:end])
    parts += cutter.finish()
    plain = b"".join(zstandard.ZstdDecompressor().decompress(part.data) for part in parts)
    assert plain == b"".join(line + b"\n" for line in lines)
    assert cutter.items == len(lines)
    assert cutter.size == len(plain)
    assert cutter.sha256 == hashlib.sha256(plain).hexdigest()


def test_parts_are_bounded_and_follow_one_another() -> None:
    cutter = PartCutter()
    parts = cutter.feed(b"{}\n" * (2 * PART_ITEMS + 5)) + cutter.finish()
    assert [(part.number, part.first_item, part.items) for part in parts] == [
        (0, 0, PART_ITEMS),
        (1, PART_ITEMS, PART_ITEMS),
        (2, 2 * PART_ITEMS, 5),
    ]


def test_blank_lines_are_no_items() -> None:
    cutter = PartCutter()
    cutter.feed(b"\n\r\n  \n{}\r\n\n")
    cutter.finish()
    assert cutter.items == 1


def test_a_line_too_long_is_refused_by_position_before_it_is_held() -> None:
    cutter = PartCutter()
    cutter.feed(b"{}\n{}\n")
    for _ in range(20):
        cutter.feed(b"x" * (MAX_LINE_BYTES // 20))
    with pytest.raises(InvalidCommand, match="item 2 is longer") as refused:
        cutter.feed(b"x")
    assert refused.value.pointer == "/items/2"
