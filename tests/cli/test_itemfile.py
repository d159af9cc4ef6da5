from __future__ import annotations

import asyncio
import errno
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from domain.errors import InvalidCommand
from streams.cli import itemfile
from streams.cli.itemfile import ndjson, open_items
from tests.cli.conftest import Run
from tests.cli.contract_server import Contract


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


async def _next(blocks: itemfile.Blocks) -> bytes:
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
    ("name", "text", "sent"),
    [
        ("-", b'{"a": 1}\nno\xef\xbb\xbfne\n', b'{"a": 1}\nno\xef\xbb\xbfne\n'),
        ("-", b'[{"a": 1}]', b'{"a":1}\n'),
        ("items.json", b'{"items": [{"a": 1}]}', b'{"a":1}\n'),
        ("-", b"", b""),
    ],
)
async def test_a_byte_order_mark_before_it_is_of_no_item(
    name: str, text: bytes, sent: bytes
) -> None:
    assert await _read(b"\xef\xbb\xbf" + text, name) == sent


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


@pytest.mark.parametrize(
    "others",
    [
        {"options": {"dry_run": True}},
        {"operation": "notes.create", "params": {}, "name": "n"},
        {"draft": True},
        {"select": {"table": "notes"}},
    ],
)
def test_what_a_document_says_beside_its_items_is_not_passed_over(
    ask: Run, contract: Contract, tmp_path: Path, others: dict[str, Any]
) -> None:
    """A body for the API itself, of which the items alone would be worked, for good."""
    body = tmp_path / "body.json"
    body.write_text(json.dumps({**others, "items": [{"a": 1}]}))

    ended = ask("submit", "notes.create", str(body))

    assert ended.code == 2
    for said in (*others, "POST /api/v1/jobs", "--options"):
        assert said in ended.err
    assert contract.requests == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (r'[{"a": 1}, {"a": "\ud800"}]', 1),
        (r'{"items": [{"a": 1}, {"a": [1, "x,["]}, {"a\udfff": 1}]}', 2),
        ('[{"a": [1, 2, "[,"]}, ' + "[" * 5000 + "]" * 5000 + ', {"b": 2}]', 1),
        ('{"items": [{"a": 1, "b": 2}, 3, ' + "[" * 5000 + "]" * 5000 + "]}", 2),
    ],
)
def test_an_item_that_cannot_be_sent_is_named(
    ask: Run, contract: Contract, tmp_path: Path, text: str, number: int
) -> None:
    (tmp_path / "items.json").write_text(text)

    ended = ask("submit", "notes.create", str(tmp_path / "items.json"))

    assert ended.code == 2
    assert f"item {number} of {tmp_path / 'items.json'}" in ended.err
    assert contract.requests == []


def test_an_item_that_cannot_be_sent_is_named_when_others_are_on_their_way(
    ask: Run, contract: Contract, tmp_path: Path
) -> None:
    many: list[Any] = [{"text": "x" * 1000} for _ in range(600)]
    (tmp_path / "items.json").write_text(json.dumps([*many, {"text": "\ud800"}]))

    ended = ask("submit", "notes.create", str(tmp_path / "items.json"))

    assert ended.code == 2
    assert "item 600 of " in ended.err
    assert "running there" not in ended.err
    assert contract.jobs == {}


def test_a_file_that_cannot_be_read_is_no_server_that_is_away(
    ask: Run, contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() == len(self.getbuffer()):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().read(size)

        read1 = read

    def failing(name: str) -> io.BytesIO:
        return Failing(b'{"a": 1}\n'.ljust(itemfile.BLOCK))

    monkeypatch.setattr(itemfile, "open_items", failing)

    ended = ask("submit", "notes.create", "items.ndjson")

    assert ended.code == 2
    assert ended.err == "countermand: cannot read items.ndjson (Input/output error)\n"
    assert contract.jobs == {}


def test_a_file_of_which_nothing_can_be_read_is_told(ask: Run, contract: Contract) -> None:
    ended = ask("submit", "notes.create", "/proc/self/mem")

    assert (ended.code, contract.requests) == (2, [])
    assert ended.err == "countermand: cannot read /proc/self/mem (Input/output error)\n"


@pytest.mark.parametrize("option", ["--params", "--options"])
def test_an_option_that_nests_too_deeply_is_told(ask: Run, tmp_path: Path, option: str) -> None:
    (tmp_path / "items.ndjson").write_text("{}\n")
    deep = "[" * 5000 + "]" * 5000

    ended = ask("submit", "notes.create", str(tmp_path / "items.ndjson"), option, deep)

    assert ended.code == 2
    assert f"{option} nests too deeply" in ended.err


async def test_items_can_be_read_again_from_a_file(tmp_path: Path) -> None:
    text = b'{"a": 1}\n' * 100_000
    (tmp_path / "items.ndjson").write_bytes(text)

    async with itemfile.items_of(str(tmp_path / "items.ndjson")) as items:
        assert items.again
        async for _ in items:
            break
        for _ in range(2):
            assert b"".join([block async for block in items]) == text


async def test_nothing_is_nothing() -> None:
    assert await _read(b"") == b""


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidCommand, match=r"absent\.ndjson .No such file"):
        open_items(str(tmp_path / "absent.ndjson"))


@pytest.mark.parametrize(
    ("typed", "sent"), [(b'{"a": 1}\n', b'{"a": 1}\n'), (b'[{"a": 1}]\n', b'{"a":1}\n'), (b"", b"")]
)
async def test_an_end_is_not_asked_for_twice(typed: bytes, sent: bytes) -> None:
    """A terminal goes on after Ctrl-D: who reads again waits for another one."""

    class Terminal(io.BytesIO):
        ended = False

        def read(self, size: int | None = -1) -> bytes:
            assert not self.ended, "its end was met already"
            block = super().read(size)
            self.ended = not block
            return block

        read1 = read

    assert b"".join([block async for block in ndjson(Terminal(typed), "-")]) == sent
