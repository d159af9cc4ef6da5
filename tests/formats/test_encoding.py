"""Encodings, line ends and units of offsets."""

from __future__ import annotations

import io

import pytest

from domain.systems.annotations.formats.contract import FileRefused, OffsetUnit
from domain.systems.annotations.formats.encoding import (
    CHUNK,
    Encoding,
    encoding_of,
    lines,
    pieces,
)
from domain.systems.annotations.formats.offsets import Positions

FAMILY = "a👩🏽\u200d🚀e\u0301z"  # a, a woman astronaut of four code points, e with its accent, z


@pytest.mark.parametrize(
    ("file", "name"),
    [
        (b"plain", "utf-8"),
        ("é".encode(), "utf-8"),
        ("\ufeffé".encode(), "utf-8"),
        ("é".encode("utf-16"), "utf-16-le"),
        ("\ufeffé".encode("utf-16-be"), "utf-16-be"),
        ("Zoë and so on\n".encode("utf-16-le"), "utf-16-le"),
        ("Zoë and so on\n".encode("utf-16-be"), "utf-16-be"),
        ("“Zoë” costs 5 €".encode("cp1252"), "cp1252"),
        ("Zoë".encode("latin-1") + b" \x81 \x8d", "latin-1"),
    ],
)
def test_the_encoding_of_a_file(file: bytes, name: str) -> None:
    assert encoding_of(io.BytesIO(file)).name == name


def test_the_first_letter_beyond_ascii_may_be_late_in_the_file() -> None:
    file = b"plain line\n" * 30_000 + "Zoë\n".encode("cp1252")
    assert encoding_of(io.BytesIO(file)).name == "cp1252"


def test_a_broken_line_does_not_change_the_encoding_of_the_others() -> None:
    file = "Zoë\n".encode() * 10 + b"Zo\xeb\n"
    encoding = encoding_of(io.BytesIO(file))
    assert encoding.name == "utf-8"
    found = [line for _, line in lines(io.BytesIO(file), encoding, 100)]
    assert found[0] == "Zoë\n"
    assert encoding.raw(found[-1] or "") == b"Zo\xeb\n"


def test_an_explicit_encoding_wins_and_is_one_of_few() -> None:
    file = "Zoë".encode()
    assert encoding_of(io.BytesIO(file), "Windows-1252").name == "cp1252"
    assert encoding_of(io.BytesIO("\ufeffZoë".encode("utf-16-be")), "utf-16") == Encoding(
        "utf-16-be", b"\xfe\xff"
    )
    for other in ("zlib", "hex", "rot13", "utf-7", "no-such"):
        with pytest.raises(FileRefused, match="choose one of"):
            encoding_of(io.BytesIO(file), other)


def test_only_three_things_end_a_line() -> None:
    file = "one\rtwo\r\nthree\nfour\u2028\u0085\x0b\x0c\x1cstill four".encode()
    found = list(lines(io.BytesIO(file), Encoding("utf-8"), 100))
    assert found == [
        (1, "one\r"),
        (2, "two\r\n"),
        (3, "three\n"),
        (4, "four\u2028\u0085\x0b\x0c\x1cstill four"),
    ]


@pytest.mark.parametrize("name", ["utf-8", "utf-16-le"])
def test_characters_and_line_ends_on_the_seam_of_two_chunks(name: str) -> None:
    encoding = Encoding(name)
    for shift in range(6):
        text = "x" * (CHUNK // len("x".encode(name)) - shift) + "\r\n😀\r\nend"
        file = io.BytesIO(text.encode(name))
        assert "".join(pieces(file, encoding)) == text
        assert [number for number, _ in lines(file, encoding, 10**6)] == [1, 2, 3]


def test_half_a_character_at_the_end_of_utf_16_is_seen() -> None:
    file = io.BytesIO("one\ntwo".encode("utf-16-le")[:-1])
    found = list(lines(file, Encoding("utf-16-le"), 100))
    assert found[0] == (1, "one\n")
    assert "\udc80" in (found[1][1] or "")


@pytest.mark.parametrize(
    ("unit", "offsets"),
    [
        (OffsetUnit.CODE_POINTS, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (OffsetUnit.UTF16, [0, 1, 3, 5, 6, 8, 9, 10, 11]),
        (OffsetUnit.BYTES, [0, 1, 5, 9, 12, 16, 17, 19, 20]),
    ],
)
def test_units_of_offsets(unit: OffsetUnit, offsets: list[int]) -> None:
    positions = Positions(FAMILY, unit)
    assert len(FAMILY) == 8
    assert [positions.offset(at) for at in range(9)] == offsets
    assert [positions.code_point(at) for at in offsets] == list(range(9))
    inside = set(range(offsets[-1])) - set(offsets)
    assert {positions.code_point(at) for at in inside} <= {None}
    assert positions.code_point(offsets[-1] + 1) is None
    assert positions.code_point(-1) is None


def test_units_agree_on_ascii_and_utf_16_on_all_but_the_rare_planes() -> None:
    assert Positions("plain", OffsetUnit.BYTES).code_point(5) == 5
    assert Positions("Zoë", OffsetUnit.UTF16).code_point(3) == 3
    assert Positions("Zoë", OffsetUnit.UTF16).code_point(4) is None
    assert Positions("Zoë", OffsetUnit.BYTES).code_point(4) == 3
