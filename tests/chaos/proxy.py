"""Proxy: the way to a server, which can be slow, silent or cut at the worst moment."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self, TypeVar

from tests.chaos.wire import Frontend, Hearing

T = TypeVar("T")
_PIECE = 65_536
_SECONDS = 10.0
_ATTACH_FILTER = 26
_DROP = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0))
"""A filter of one step: of each packet keep no byte."""
_NOTHING = struct.pack("HP", 1, ctypes.addressof(_DROP))


class Cut(StrEnum):
    """When the connection of a commit is cut; its client cannot tell one from the other."""

    ANSWER = "the server has committed and its answer is thrown away"
    REQUEST = "the server never hears of the commit"
    HALF = "the connection is reset within the answer"


@dataclass(frozen=True)
class Weather:
    """How the way is: seconds that each piece of data takes, and how often one stalls."""

    delay: float = 0.0
    jitter: float = 0.0
    stalls: float = 0.0
    stall: float = 2.0


@dataclass(frozen=True)
class Armed:
    """Commits to be cut: those of transactions that have written a table."""

    table: str
    cut: Cut = Cut.ANSWER


@dataclass(eq=False)
class _Link:
    """One connection through the proxy."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    hearing: Hearing
    cut: Cut | None = None

    def pull(self) -> None:
        """Have the kernel drop whatever arrives from either end, and answer nothing."""
        for end in (self.client, self.server):
            there = end.get_extra_info("socket")
            # One that was closed a moment ago is dead anyway.
            if there.fileno() != -1:
                there.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, _NOTHING)

    def abort(self) -> None:
        for end in (self.client, self.server):
            end.transport.abort()


class Proxy:
    """Listens on a port of its own; ``target`` says where the server is now."""

    def __init__(
        self,
        target: Callable[[], int],
        chance: random.Random,
        hears: Callable[[], Hearing] = Frontend,
    ) -> None:
        self.port = 0
        self.cuts: Counter[Armed] = Counter()
        self._target = target
        self._chance = chance
        self._hears = hears
        self._armed: list[Armed] = []
        self._weather = Weather()
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = self._run(self._listen()).result(_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close()).result(_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_SECONDS)
        self._loop.close()

    # -- what is asked of it, from any thread ------------------------------------------

    def arm(self, *armed: Armed) -> None:
        """Cut the next commits of these kinds, one each."""
        self._call(lambda: self._armed.extend(armed))

    @property
    def armed(self) -> int:
        """How many are still to be cut."""
        return len(self._armed)

    def disarm(self) -> None:
        """Cut no more."""
        self._call(self._armed.clear)

    @contextmanager
    def weather(self, weather: Weather) -> Iterator[None]:
        """Have the way be like this for a while."""
        self._weather = weather
        try:
            yield
        finally:
            self._weather = Weather()

    def reset_all(self) -> int:
        """Every connection is reset; returns how many there were."""
        return self._call(self._reset)

    def silence(self) -> int:
        """Connections of now stay open and are dead, as if a cable was pulled; returns how many.

        New ones are well.
        """
        return self._call(self._silence)

    # -- in its own thread --------------------------------------------------------------

    def _run(self, work: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _call(self, work: Callable[[], T]) -> T:
        async def calling() -> T:
            return work()

        result: T = self._run(calling()).result(_SECONDS)
        return result

    def _reset(self) -> int:
        links = list(self._links)
        for link in links:
            link.abort()
        return len(links)

    def _silence(self) -> int:
        for link in self._links:
            link.pull()
        return len(self._links)

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _close(self) -> None:
        self._server.close()
        for link in list(self._links):
            link.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        # Being cancelled is how the proxy ends; whoever called this would call it a fault.
        with contextlib.suppress(asyncio.CancelledError):
            await self._carry(reader, writer)
        self._tasks.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            below, server = await asyncio.open_connection("127.0.0.1", self._target())
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, server, self._hears())
        self._links.add(link)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._upwards(link, reader))
                group.create_task(self._downwards(link, below))
        except* OSError:
            pass
        finally:
            link.abort()
            self._links.discard(link)

    async def _upwards(self, link: _Link, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(_PIECE):
            for written in link.hearing.feed(data):
                link.cut = self._due(written) or link.cut
            if link.cut is Cut.REQUEST:
                break
            await self._pass(link.server, data)
        link.abort()

    async def _downwards(self, link: _Link, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(_PIECE):
            if link.cut is Cut.HALF:
                link.client.write(data[: len(data) // 2])
                await link.client.drain()
            if link.cut is not None:
                break
            await self._pass(link.client, data)
        link.abort()

    def _due(self, written: frozenset[str]) -> Cut | None:
        for armed in self._armed:
            if armed.table in written:
                self._armed.remove(armed)
                self.cuts[armed] += 1
                return armed.cut
        return None

    async def _pass(self, to: asyncio.StreamWriter, data: bytes) -> None:
        weather = self._weather
        if weather.delay or weather.stalls:
            late = weather.delay + self._chance.uniform(0, weather.jitter)
            stalled = weather.stall if self._chance.random() < weather.stalls else 0.0
            await asyncio.sleep(late + stalled)
        to.write(data)
        await to.drain()
