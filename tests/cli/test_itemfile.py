from __future__ import annotations

import asyncio
import io
import os
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


async def test_what_is_in_a_pipe_goes_on_once_there_was_a_block() -> None:
    """The server ends a body that stands still, and lines may come slowly."""
    end, begin = os.pipe()
    first = b'{"a": 1}\n' * (itemfile.BLOCK // 9 - 1) + b'{"b'
    with os.fdopen(end, "rb") as source, os.fdopen(begin, "wb", buffering=0) as pipe:
        blocks, late = ndjson(source, "-"), asyncio.Event()

        def end_it() -> None:
            late.set()
            pipe.close()

        # Whoever waits for more than there is has it end.
        asyncio.get_running_loop().call_later(5, end_it)
        begun = asyncio.create_task(_next(blocks))
        await asyncio.to_thread(pipe.write, first.ljust(itemfile.BLOCK))
        assert await begun == first.ljust(itemfile.BLOCK)
        for text in (b'": 2}\n', b'{"c": 3}\n'):
            pipe.write(text)
            assert await anext(blocks) == text
            assert not late.is_set()
        pipe.close()
        assert [block async for block in blocks] == []


async def _next(blocks: itemfile.Items) -> bytes:
    return await anext(blocks)


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
