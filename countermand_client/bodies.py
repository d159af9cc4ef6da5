"""Bodies: items as lines of JSON, in blocks, sent as they come and again if they must be."""

from __future__ import annotations

import asyncio
import json
import math
import tempfile
import threading
import time
from codecs import BOM_UTF8
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import suppress
from functools import partial
from io import TextIOBase
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, cast

from pydantic import BaseModel

from countermand_client.threads import Unawaited

Items = Iterable[Any] | AsyncIterable[Any] | PathLike[str] | BinaryIO
"""Items as values, one at a time; or a file of one item a line (NDJSON), by path or opened."""

BLOCK = 65_536
ITEMS_AT_ONCE = 500
BYTES_AT_ONCE = 4_000_000
"""With so many a block has fewer items: it is in memory, and so is what is read ahead."""
SECONDS_AT_ONCE = 1.0
"""Of a body that has begun what has come meanwhile is sent: the server ends one that stands still.

Until there is a first block nothing has begun, and few items may take as long as they like.
"""
IN_MEMORY = 1_000_000


class Replay:
    """A body of items that can be sent again, though its source can be read only once.

    What was read is kept, beyond a megabyte in a temporary file: a source may be a generator,
    and a connection may break behind its last item. ``failure`` is what the source has raised.
    """

    def __init__(self, items: Items) -> None:
        _check(items)
        self._source = _blocks(items)
        self._kept = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - see close
        self._kept_bytes = 0
        self._turn = threading.Lock()
        self._pulling: asyncio.Task[None] | None = None
        self._ended = False
        self.failure: BaseException | None = None

    async def send(self) -> AsyncIterator[bytes]:
        """All blocks, from the first one on; raises what the source raises.

        But a RuntimeError for what is no Exception, as SystemExit: a request sends its body in a
        task of its own, and such a thing would end the event loop there.
        """
        sent = 0
        while True:
            if sent < self._kept_bytes:
                block = await asyncio.to_thread(self._read, sent)
                sent += len(block)
                yield block
            elif not await self._more():
                break
        if self.failure is not None:
            raise self._failure_of_a_task()

    async def whole(self) -> None:
        """Have all of it read before any is sent; raises what the source raises."""
        while await self._more():
            pass
        if self.failure is not None:
            raise self.failure

    async def close(self) -> None:
        """Throw away what was kept, and read no more."""
        if self._pulling is not None:
            self._pulling.cancel()
            await asyncio.gather(self._pulling, return_exceptions=True)
        await self._source.aclose()
        # Its traceback knows this body: no cycle is left.
        self.failure = None
        # A full disk says so once more, of what it has not taken.
        with suppress(OSError):
            self._kept.close()

    async def _more(self) -> bool:
        """Have another block kept; False when there is none, or the source has failed."""
        if self._ended or self.failure is not None:
            return False
        # A connection that breaks ends its request, and must not end the source.
        self._pulling = self._pulling or asyncio.ensure_future(self._pull())
        await asyncio.shield(self._pulling)
        self._pulling = None
        return True

    async def _pull(self) -> None:
        try:
            block = await anext(self._source)
        except StopAsyncIteration:
            self._ended = True
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # it is raised where the caller is
            self.failure = error
        else:
            await self._try_to_keep(block)

    def _failure_of_a_task(self) -> Exception:
        if isinstance(self.failure, Exception):
            return self.failure
        return RuntimeError(f"the source of the items has raised {type(self.failure).__name__}")

    async def _try_to_keep(self, block: bytes) -> None:
        try:
            await asyncio.to_thread(self._keep, block)
        except OSError as error:
            # Whoever sends takes an error of its body for one of the connection.
            self.failure = OSError(
                error.errno,
                f"{error.strerror or error}: items are kept in a temporary file until the server "
                "has them; make room there, or set TMPDIR to another folder",
            )

    def _read(self, start: int) -> bytes:
        with self._turn:
            self._kept.seek(start)
            return self._kept.read(min(BLOCK, self._kept_bytes - start))

    def _keep(self, block: bytes) -> None:
        with self._turn:
            self._kept.seek(self._kept_bytes)
            self._kept.write(block)
            # Else some of it is written, or cannot be, when it is read or closed.
            self._kept.flush()
            self._kept_bytes += len(block)


def _check(items: object) -> None:
    """Raise TypeError for what can be iterated, and would make other items than were meant."""
    if isinstance(items, str | bytes):
        raise TypeError("items are a text here; for a file give its pathlib.Path")
    if isinstance(items, Mapping | BaseModel):
        raise TypeError("items are one item here; put it into a list")
    if isinstance(items, TextIOBase):
        raise TypeError('items are a file opened as text; open it in binary mode ("rb")')


def _blocks(items: Items) -> AsyncGenerator[bytes, None]:
    if isinstance(items, AsyncIterable):
        return _gathered_blocks(items)
    return _read_beside(
        _file_blocks(items) if isinstance(items, PathLike) else _given_blocks(items)
    )


async def _read_beside(blocks: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    # A file, or a generator of the caller's, may be slow; it is read beside the event loop.
    # All in one thread: what a generator uses may belong to the thread that has opened it.
    thread = Unawaited()
    try:
        while block := await thread.do(partial(next, blocks, b"")):
            yield block
    finally:
        thread.end()


async def _gathered_blocks(items: AsyncIterable[Any]) -> AsyncGenerator[bytes, None]:
    gathering = _Gathering(items)
    due: float | None = None
    try:
        while block := await gathering.block(due):
            yield block
            due = asyncio.get_running_loop().time() + SECONDS_AT_ONCE
    finally:
        await gathering.close()


class _Gathering:
    """Gathers the lines of an async source, a block of them ahead of who sends them."""

    def __init__(self, items: AsyncIterable[Any]) -> None:
        self._lines = _Lines()
        self._some, self._enough, self._room = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._exit: BaseException | None = None
        self._reading = asyncio.ensure_future(self._read(items))

    async def block(self, due: float | None) -> bytes:
        """As much as goes at once, or what there is when it is due; empty at the end.

        When there is nothing then, the next item goes by itself. Raises what the source raises.
        """
        try:
            async with asyncio.timeout_at(due):
                await self._enough.wait()
        except TimeoutError:
            await self._some.wait()
        if self._exit is not None:
            raise self._exit
        if self._reading.done():
            self._reading.result()
        else:
            self._some.clear()
            self._enough.clear()
        block = self._lines.take()
        self._room.set()
        return block

    async def close(self) -> None:
        """Read no more."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        # Its traceback knows this: no cycle is left.
        self._exit = None

    async def _read(self, items: AsyncIterable[Any]) -> None:
        try:
            async for item in items:
                self._lines.add(item)
                self._some.set()
                if self._lines.enough:
                    self._room.clear()
                    self._enough.set()
                    await self._room.wait()
        except (SystemExit, KeyboardInterrupt) as error:  # raised by a task it ends the loop
            self._exit = error
        finally:
            self._some.set()
            self._enough.set()


def _file_blocks(path: PathLike[str]) -> Iterator[bytes]:
    with Path(path).open("rb") as file:
        yield from _read_blocks(file)


def _read_blocks(file: BinaryIO) -> Iterator[bytes]:
    # Behind the first block what is there goes on: of a pipe, read() waits for all of the next.
    more: Callable[[int], bytes] = getattr(file, "read1", file.read)
    block = file.read(BLOCK)
    # Some programs begin a file of UTF-8 with a byte order mark; it is of no item.
    if block.startswith(BOM_UTF8):
        block = block.removeprefix(BOM_UTF8) or more(BLOCK)
    while block:
        yield block
        block = more(BLOCK)


def _given_blocks(items: Iterable[Any] | BinaryIO) -> Iterator[bytes]:
    if hasattr(items, "read"):
        yield from _read_blocks(cast("BinaryIO", items))
        return
    lines = _Lines()
    due = math.inf
    for item in items:
        lines.add(item)
        if lines.enough or time.monotonic() >= due:
            yield lines.take()
            due = time.monotonic() + SECONDS_AT_ONCE
    if rest := lines.take():
        yield rest


class _Lines:
    """Items as lines, until enough of them are there to go at once."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._size = 0
        self._number = 0

    @property
    def enough(self) -> bool:
        """Whether they are many, or large."""
        return len(self._lines) == ITEMS_AT_ONCE or self._size >= BYTES_AT_ONCE

    def add(self, item: Any) -> None:
        """One more item; raises TypeError or ValueError for what is no JSON."""
        self._lines.append(_line(self._number, item))
        self._size += len(self._lines[-1])
        self._number += 1

    def take(self) -> bytes:
        """All that are there; empty when there is none."""
        block = b"".join(self._lines)
        self._lines.clear()
        self._size = 0
        return block


def _line(number: int, item: Any) -> bytes:
    try:
        return line_of(item)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"item {number} is no JSON: {error}") from error


def line_of(item: Any) -> bytes:
    """An item as a line; raises TypeError or ValueError for what is no JSON."""
    if isinstance(item, BaseModel):
        return model_text(item).encode() + b"\n"
    return json.dumps(item, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def model_text(model: BaseModel) -> str:
    """A model as JSON, by the names that its fields have outside: their aliases, if any."""
    return model.model_dump_json(by_alias=True)
