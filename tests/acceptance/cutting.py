"""Cutting: a way to a server on which live streams are cut, as chance has it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_PIECE = 65_536
_AT_ONCE = struct.pack("ii", 1, 0)


class Scissors:
    """Resets connections that ask for one of the paths, each path so often, then no more."""

    def __init__(self, target: int, cuts: int, chance: random.Random, *, longest: int) -> None:
        """``longest`` is how many bytes one may have had at most when it is cut."""
        self.port = 0
        self.cuts: Counter[str] = Counter()
        self._target = target
        self._most = cuts
        self._chance = chance
        self._longest = longest
        self._paths: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The address of the way."""
        return f"http://127.0.0.1:{self.port}"

    def also(self, path: str) -> str:
        """Cut those that ask for this path as well; returns its address."""
        self._paths.append(path)
        return self.url + path

    def done(self, path: str) -> bool:
        """Whether it was cut so often."""
        return self.cuts[path] >= self._most

    async def connected(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            server, requests = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            answers.transport.abort()
            return
        link = _Link(self)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._up(client, requests, link))
                group.create_task(self._down(server, answers, link))
        except* (ConnectionError, _Cut):
            pass
        finally:
            for end in (requests, answers):
                end.transport.abort()

    async def _up(
        self, client: asyncio.StreamReader, requests: asyncio.StreamWriter, link: _Link
    ) -> None:
        while data := await client.read(_PIECE):
            link.asked(data)
            requests.write(data)
            await requests.drain()
        raise _Cut

    async def _down(
        self, server: asyncio.StreamReader, answers: asyncio.StreamWriter, link: _Link
    ) -> None:
        while data := await server.read(_PIECE):
            whole = link.left is None or link.left > len(data)
            answers.write(data if whole else data[: link.left])
            await answers.drain()
            if not whole:
                self.cuts[link.path] += 1
                # A reset: of an end in good order within the headers a browser takes what it
                # has for all of them.
                there = answers.get_extra_info("socket")
                there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                raise _Cut
            if link.left is not None:
                link.left -= len(data)
        raise _Cut

    def allowance(self, head: str) -> tuple[str, int | None]:
        """Which path is asked for, and after how many bytes it is cut."""
        for path in self._paths:
            if path in head and not self.done(path):
                return path, self._chance.randint(1, self._longest)
        return "", None


class _Cut(Exception):
    """The connection is over."""


class _Link:
    """One connection, from the last request on."""

    def __init__(self, scissors: Scissors) -> None:
        self._scissors = scissors
        self.path = ""
        self.left: int | None = None

    def asked(self, data: bytes) -> None:
        self.path, self.left = self._scissors.allowance(data.split(b"\r\n", 1)[0].decode())


@asynccontextmanager
async def cutting(
    target: int, cuts: int, chance: random.Random, *, longest: int
) -> AsyncIterator[Scissors]:
    """Such a way, on a port of its own."""
    scissors = Scissors(target, cuts, chance, longest=longest)
    server = await asyncio.start_server(scissors.connected, "127.0.0.1", 0)
    scissors.port = server.sockets[0].getsockname()[1]
    try:
        yield scissors
    finally:
        server.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await server.wait_closed()
