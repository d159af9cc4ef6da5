"""JSON files are cut into the elements of their lists; a broken element is one element."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.systems.annotations.formats.contract import Bounds, FileRefused
from domain.systems.annotations.formats.json_pieces import Cutter, Piece
from domain.systems.annotations.formats.validity import Unfit

BOUNDS = Bounds()
_text = st.text(st.characters(codec="utf-8") | st.sampled_from('"\\[]{},: '), max_size=6)
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=8,
)


class Trickle(io.BytesIO):
    """A file that gives a few bytes at a time."""

    def __init__(self, data: bytes, few: int) -> None:
        super().__init__(data)
        self._few = few

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self._few if size is None or size < 0 else min(size, self._few))


def cut(data: bytes, bounds: Bounds = BOUNDS, encoding: str | None = None) -> list[Piece]:
    return list(Cutter(io.BytesIO(data), bounds, encoding).pieces())


@given(
    st.dictionaries(_text, st.lists(_values, max_size=4) | _values, max_size=4),
    st.sampled_from([None, 0, 2]),
    st.booleans(),
    st.integers(4, 40),
)
@settings(max_examples=100, deadline=None)
def test_every_element_of_every_list_is_found_however_the_file_is_laid_out(
    value: dict[str, Any], indent: int | None, escaped: bool, chunk: int
) -> None:
    data = json.dumps(value, indent=indent, ensure_ascii=escaped).encode()
    cutter = Cutter(Trickle(data, chunk), BOUNDS)
    pieces = list(cutter.pieces())

    lists = {name: elements for name, elements in value.items() if isinstance(elements, list)}
    expected = [
        (name, number, element)
        for name, elements in lists.items()
        for number, element in enumerate(elements, start=1)
    ]
    assert [(one.section, one.number, one.value()) for one in pieces] == expected
    assert cutter.rest == {**value, **{name: [] for name in lists}}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32-be"])
def test_a_list_by_itself_in_any_unicode_encoding(encoding: str) -> None:
    pieces = cut('[{"name": "é😀"}, 2]'.encode(encoding))

    assert [one.value() for one in pieces] == [{"name": "é😀"}, 2]
    assert {one.section for one in pieces} == {""}


def test_an_encoding_that_is_named_is_used_and_one_that_packs_is_none() -> None:
    assert cut('["é"]'.encode("cp1252"), encoding="cp1252")[0].value() == "é"
    for name in ("zlib", "rot13", "no such"):
        with pytest.raises(FileRefused, match="name its encoding"):
            cut(b'["x"]', encoding=name)
    with pytest.raises(FileRefused, match="name its encoding"):
        cut('["é"]'.encode("utf-16")[:-1])


@pytest.mark.parametrize(
    ("element", "said"),
    [
        (b'{"a": NaN}', "NaN is no number"),
        (b"[1, -Infinity]", "-Infinity is no number"),
        (b"[1e999]", "too large"),
        (b"9" * 5_000, "^the value: a whole number beyond 64 bits"),
        (b'{"a/b": [0, 18446744073709551616]}', "^/a~1b/1: a whole number beyond 64 bits"),
        (b'{"a": 1,}', "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a" 1}', "not JSON"),
        (b'"\xff"', "not JSON"),
        (b"", "between two commas"),
        (b"[" * 100 + b"]" * 100, "more than 64 deep"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, "more than 64 deep", id="deep"),
    ],
)
def test_a_broken_element_is_reported_and_the_others_go_on(element: bytes, said: str) -> None:
    pieces = cut(b'{"x": [{"a": 1}, ' + element + b', {"a": 2}]}')

    assert [one.number for one in pieces] == [1, 2, 3]
    assert pieces[1].raw == element
    with pytest.raises(Unfit, match=said):
        pieces[1].value()
    assert [pieces[0].value(), pieces[2].value()] == [{"a": 1}, {"a": 2}]


def test_an_element_that_is_too_long_is_not_held() -> None:
    pieces = cut(b'["' + b"x" * 5_000 + b'", 7]', replace(BOUNDS, line=1_000))

    assert pieces[0].raw == b""
    with pytest.raises(Unfit, match="longer than 1000 bytes"):
        pieces[0].value()
    assert pieces[1].value() == 7


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"   ",
        b"{",
        b'{"x": [',
        b'{"x": [1, 2',
        b'{"x": [1}',
        b'{"x": [1]',
        b'{"x": [1]}}',
        b'{"x": [1]} {"y": [2]}',
        b'{"x" [1]}',
        b'{"x": ["unclosed]}',
        b'{"x": [1] "y": [2]}',
        b'{"a": NaN, "x": [1]}',
        b"no JSON at all",
        pytest.param(b'{"a": ' + b"[" * 99_999 + b"{", id="deep list"),
        pytest.param(b'{"a": ' * 100_000 + b"1" + b"}" * 100_000, id="deep object"),
        b'{"licen\xffes": [1], "x": [1]}',
        b'{"licen\x00es": [1], "x": [1]}',
        b'{"licen\\es": [1], "x": [1]}',
        b"]" * 10,
        b"\x00\x01\x02\x03",
    ],
)
def test_a_file_that_is_broken_around_its_lists_is_refused(data: bytes) -> None:
    with pytest.raises(FileRefused):
        cut(data)


def test_what_is_not_closed_is_named_by_its_line() -> None:
    with pytest.raises(FileRefused, match="open, which began at line 3"):
        cut(b'{"x": [\n{"a": 1},\n  {"a": 2\n,\n{"a": 3}]}')


def test_an_element_that_is_cut_off_is_named() -> None:
    with pytest.raises(FileRefused, match="element 2 of 'x' is open, which began at line 2"):
        cut(b'{"x": [{"a": 1},\n{"a": ')


def test_much_outside_of_lists_is_refused() -> None:
    with pytest.raises(FileRefused, match="outside of its lists"):
        cut(b'{"a": "' + b"x" * 2_000_000 + b'"}', replace(BOUNDS, line=1_000_000))
