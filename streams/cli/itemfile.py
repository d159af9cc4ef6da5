"""Item file: where the items of a submit come from, and in which format they are."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import sys
import threading
from codecs import BOM_UTF8
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

from domain.errors import InvalidCommand
from streams.cli.options import STANDARD_INPUT
from streams.cli.output import say

T = TypeVar("T")
BLOCK = 256 * 1024
Blocks = AsyncGenerator[bytes, None]
"""Blocks of NDJSON."""

_NAMED = 5
_MARKS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},]')


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int = -1, /) -> bytes:
        """So many bytes, or all; none at the end."""
        ...


@asynccontextmanager
async def items_of(name: str) -> AsyncIterator[Items]:
    """The items of a file, read block by block, for the scope.

    The first block is read before anything is sent: a document that is none is refused here.
    """
    with ExitStack() as stack:
        source = await _beside(partial(open_items, name))
        if name != STANDARD_INPUT:
            stack.enter_context(source)
        items = Items(source, name)
        await items.begin()
        yield items


class Items:
    """Blocks of NDJSON, to be sent from the first on: once, or ``again`` if all can be read again.

    ``first`` is the first of them, and ``failure`` why they ended before their end: who sends
    them is told no more than that nothing came.
    """

    def __init__(self, source: BinaryIO, name: str) -> None:
        self.name = name
        self.first = b""
        self.again = source.seekable()
        self.failure: InvalidCommand | None = None
        self._source = _Unbuffered(source)
        self._blocks = ndjson(self._source, name)
        self._sent = False

    async def begin(self) -> None:
        """Read the first block."""
        self._blocks = ndjson(self._source, self.name)
        self.first = await anext(self._blocks, b"")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            if self._sent:
                await _beside(self._source.rewind)
                await self.begin()
            self._sent = True
            yield self.first
            async for block in self._blocks:
                yield block
        except InvalidCommand as error:
            self.failure = error
            raise


class _Unbuffered:
    """A file that is read in threads, one call after the other.

    A buffer would be locked by a thread that waits for input, and Python would not end.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._raw: Any = getattr(source, "raw", source)
        self._start = self._raw.tell() if self._raw.seekable() else 0
        self._turn = threading.Lock()

    def read(self, size: int = -1, /) -> bytes:
        """What is there, up to ``size``; waits until there is something."""
        with self._turn:
            block: bytes | None = self._raw.read(size)
        if block is None:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return block

    def rewind(self) -> None:
        """Go back to where reading began."""
        with self._turn:
            self._raw.seek(self._start)


def open_items(name: str) -> BinaryIO:
    """The file, or standard input for ``-``; raises InvalidCommand when it cannot be read."""
    if name == STANDARD_INPUT:
        if sys.stdin is None:
            raise InvalidCommand("standard input is closed; name a file of items")
        if sys.stdin.isatty():
            say("reading items from the terminal, one JSON object a line; Ctrl-D ends them")
        return sys.stdin.buffer
    try:
        return Path(name).open("rb", buffering=0)
    except OSError as error:
        raise _unreadable(name, error) from None


async def ndjson(source: Readable, name: str) -> Blocks:
    """The items as blocks of NDJSON.

    A file that begins with ``[``, or is named .json, is one JSON document: a list of items,
    or an object with ``items``; it is read as a whole. All else goes on as it is, but for a
    byte order mark before it: a line that is no JSON becomes a failed item, which the server
    reports.
    """
    try:
        block = await _beside(partial(_filled, source, BLOCK))
        # A terminal has no end that stays: who reads again waits for another Ctrl-D.
        ended = len(block) < BLOCK
        block = block.removeprefix(BOM_UTF8)
        if _is_document(block, name):
            rest = b"" if ended else await _beside(source.read)
            for lines in _listed(block + rest, name):
                yield lines
            return
        # The body has begun, and the server ends one that stands still: of a pipe, read() would
        # wait for all of a block.
        more: Callable[[int], bytes] = getattr(source, "read1", source.read)
        while block:
            yield block
            block = b"" if ended else await _beside(partial(more, BLOCK))
    except OSError as error:
        raise _unreadable(name, error) from None


async def _beside(call: Callable[[], T]) -> T:
    """As ``asyncio.to_thread``, in a thread that nobody waits for.

    Who reads from a terminal or a pipe is not woken by Ctrl-C, and the event loop does not end
    before the threads of its own have.
    """
    result: Future[T] = Future()

    def run() -> None:
        if not result.set_running_or_notify_cancel():
            return
        try:
            result.set_result(call())
        except Exception as error:
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return await asyncio.wrap_future(result)


def _filled(source: Readable, size: int) -> bytes:
    """So many bytes, or all that there are."""
    block = bytearray()
    while len(block) < size and (more := source.read(size - len(block))):
        block += more
    return bytes(block)


def _unreadable(name: str, error: OSError) -> InvalidCommand:
    return InvalidCommand(f"cannot read {name} ({error.strerror or error})")


def _is_document(block: bytes, name: str) -> bool:
    return block.lstrip()[:1] == b"[" or Path(name).suffix.lower() == ".json"


def _listed(text: bytes, name: str) -> Iterator[bytes]:
    block = bytearray()
    for number, item in enumerate(_items(text, name)):
        block += _line(number, item, name)
        if len(block) >= BLOCK:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)


def _line(number: int, item: Any, name: str) -> bytes:
    try:
        return json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    except RecursionError:
        raise _too_deep(number, name) from None
    except ValueError as error:
        raise InvalidCommand(
            f"item {number} of {name} cannot be sent ({error}); half of a surrogate pair "
            "(\\ud800 to \\udfff) is no character, so mend what has written it"
        ) from None


def _too_deep(number: int, name: str) -> InvalidCommand:
    return InvalidCommand(
        f"item {number} of {name} nests too deeply; put what is that deep into a text"
    )


def _items(text: bytes, name: str) -> list[Any]:
    try:
        document = json.loads(text)
    except RecursionError:
        raise _too_deep(_deepest(text), name) from None
    except ValueError as error:
        raise InvalidCommand(
            f"{name} is no JSON document ({error}); one object a line needs the name .ndjson"
        ) from None
    items = document.get("items") if isinstance(document, dict) else document
    if not isinstance(items, list):
        raise InvalidCommand(f"{name} holds no list of items; write [{{...}}, {{...}}]")
    _refuse_others(document, name)
    return items


def _refuse_others(document: Any, name: str) -> None:
    """Raise for what a document says beside its items: it would not be heeded."""
    others = [key for key in document if key != "items"] if isinstance(document, dict) else []
    if others:
        named = ", ".join(others[:_NAMED]) + (", ..." if others[_NAMED:] else "")
        raise InvalidCommand(
            f"{name} says more than its items: {named}; leave that out and say it on the command "
            "line (--params, --options, --name, --tag), or send the file as the body of "
            "POST /api/v1/jobs"
        )


def _deepest(text: bytes) -> int:
    """The item that nests deepest, in a document that nests too deeply to be read."""
    depth = number = most = deepest = 0
    listed = 1 if text.lstrip()[:1] == b"[" else 2
    for mark in _MARKS.finditer(text):
        sign = mark[0]
        depth += (sign in b"[{") - (sign in b"]}")
        number += sign == b"," and depth == listed
        if depth > most:
            most, deepest = depth, number
    return deepest
