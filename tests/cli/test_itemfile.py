from __future__ import annotations

import io
from pathlib import Path

import pytest

from domain.errors import InvalidCommand
from streams.cli import itemfile
from streams.cli.itemfile import ndjson, open_items


async def _read(text: bytes, name: str = "-") -> bytes:
    return b"".join([block async for block in ndjson(io.BytesIO(text), name)])


async def test_lines_go_on_as_they_are_even_those_that_are_no_json() -> None:
    text = b'{"a": 1}\nnot json\n\n{"b": 2}'

    assert await _read(text) == text


async def test_a_document_that_is_none_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "items.json").write_text('[{"a": 1}, {"b')

    with pytest.raises(InvalidCommand, match="is no JSON document"):
        async with itemfile.items_of(str(tmp_path / "items.json")):
            pytest.fail("it must be refused before anybody takes items of it")


async def test_a_large_file_comes_in_blocks() -> None:
    text = b'{"a": 1}\n' * 100_000
    blocks = [block async for block in ndjson(io.BytesIO(text), "-")]

    assert b"".join(blocks) == text
    assert max(map(len, blocks)) <= itemfile.BLOCK


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("-", b' \n[{"a": 1}, {"b": "\xc3\xa9"}]'),
        ("items.json", b'[{"a": 1}, {"b": "\xc3\xa9"}]'),
        ("items.json", b'{"items": [\n  {"a": 1},\n  {"b": "\xc3\xa9"}\n]}'),
    ],
)
async def test_a_json_document_becomes_lines(name: str, text: bytes) -> None:
    assert await _read(text, name) == b'{"a":1}\n{"b":"\xc3\xa9"}\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'[{"a": 1}', "is no JSON document"),
        (b'{"rows": []}', "holds no list of items"),
        (b"12", "holds no list of items"),
        (b'{"a": 1}\n{"b": 2}\n', "needs the name .ndjson"),
    ],
)
async def test_a_document_of_no_use_is_refused(text: bytes, said: str) -> None:
    with pytest.raises(InvalidCommand, match=said):
        await _read(text, "items.json")


async def test_nothing_is_nothing() -> None:
    assert await _read(b"") == b""


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidCommand, match=r"absent\.ndjson .No such file"):
        open_items(str(tmp_path / "absent.ndjson"))
