"""Item file: where the items of a submit come from, and in which format they are."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO

from domain.errors import InvalidCommand
from streams.cli.options import STANDARD_INPUT
from streams.cli.output import say

BLOCK = 256 * 1024
Items = AsyncIterator[bytes]
"""Blocks of NDJSON."""


@asynccontextmanager
async def items_of(name: str) -> AsyncIterator[Items]:
    """The items of a file, read block by block, for the scope.

    The first block is read before anything is sent: a document that is none is refused here.
    """
    with open_items(name) as source:
        blocks = ndjson(source, name)
        yield _all(await anext(blocks, b""), blocks)


async def _all(first: bytes, others: Items) -> Items:
    yield first
    async for block in others:
        yield block


def open_items(name: str) -> BinaryIO:
    """The file, or standard input for ``-``; raises InvalidCommand when it cannot be read."""
    if name == STANDARD_INPUT:
        if sys.stdin.isatty():
            say("reading items from the terminal, one JSON object a line; Ctrl-D ends them")
        return sys.stdin.buffer
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise InvalidCommand(f"cannot read {name} ({error.strerror})") from None


async def ndjson(source: BinaryIO, name: str) -> Items:
    """The items as blocks of NDJSON.

    A file that begins with ``[``, or is named .json, is one JSON document: a list of items,
    or an object with ``items``; it is read as a whole. All else goes on as it is: a line
    that is no JSON becomes a failed item, which the server reports.
    """
    block = await asyncio.to_thread(source.read, BLOCK)
    if _is_document(block, name):
        rest = await asyncio.to_thread(source.read)
        for lines in _listed(block + rest, name):
            yield lines
        return
    # The body has begun, and the server ends one that stands still: of a pipe, read() would wait
    # for all of a block.
    more: Callable[[int], bytes] = getattr(source, "read1", source.read)
    while block:
        yield block
        block = await asyncio.to_thread(more, BLOCK)


def _is_document(block: bytes, name: str) -> bool:
    return block.lstrip()[:1] == b"[" or Path(name).suffix.lower() == ".json"


def _listed(text: bytes, name: str) -> Iterator[bytes]:
    block = bytearray()
    for item in _items(text, name):
        block += json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        if len(block) >= BLOCK:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)


def _items(text: bytes, name: str) -> list[Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InvalidCommand(
            f"{name} is no JSON document ({error}); one object a line needs the name .ndjson"
        ) from None
    items = document.get("items") if isinstance(document, dict) else document
    if not isinstance(items, list):
        raise InvalidCommand(f"{name} holds no list of items; write [{{...}}, {{...}}]")
    return items
