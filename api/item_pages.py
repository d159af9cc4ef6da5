"""Pages: items as JSON, as many as were asked for or fit into ``BYTES``, and where it goes on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Generic, Protocol, TypeVar

import orjson

from api.rows import Writer, nothing_sent
from streams.items import BYTES


class Positioned(Protocol):
    """What has its place among others of its kind."""

    @property
    def position(self) -> int:
        """Those behind it have a greater one."""
        ...


Row = TypeVar("Row", bound=Positioned)


async def page(
    found: AsyncGenerator[Row, None],
    limit: int,
    write: Callable[[Row], bytes],
    *,
    size: Callable[[Row], int] = nothing_sent,
) -> dict[str, Any]:
    """The document of a page; one row more than it holds tells whether there is a next one.

    ``size`` is how much was sent of a row, where it has to be made of that.
    """
    shown = _Page(limit, Writer(write, size))
    more = False
    async with aclosing(found) as rows:
        async for row in rows:
            more = shown.full
            if more:
                break
            await shown.add(row)
    return await shown.document(more=more)


class _Page(Generic[Row]):
    """A page that is filled; it ends with ``BYTES``, or with as many rows as it may have."""

    def __init__(self, limit: int, writer: Writer[Row]) -> None:
        self._limit = limit
        self._writer = writer
        self._positions: list[int] = []
        self._documents: list[orjson.Fragment] = []
        self._size = 0

    @property
    def full(self) -> bool:
        """Whether it has no room for one more."""
        return len(self._positions) == self._limit or self._large

    @property
    def _large(self) -> bool:
        return self._size > BYTES

    async def add(self, row: Row) -> None:
        """One more row; it is on the page if that is not too large before."""
        self._positions.append(row.position)
        self._writer.add(row)
        while self._writer.due and not self._large:
            await self._write()

    async def document(self, *, more: bool) -> dict[str, Any]:
        """The page; ``more`` are behind it, or those that were added and found no room."""
        while self._writer.waiting and not self._large:
            await self._write()
        following = None
        if more or self._writer.waiting:
            following = str(self._positions[len(self._documents) - 1])
        return {"items": self._documents, "next_cursor": following}

    async def _write(self) -> None:
        written = await self._writer.write()
        self._size += sum(map(len, written))
        self._documents += map(orjson.Fragment, written)
