"""Lookup: names to addresses, in threads of its own.

A name server may be slow on purpose. Who waits for one must not hold the threads in which the
rest of the process does its work.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

GetAddresses = Callable[..., list[Any]]
"""As ``socket.getaddrinfo``."""


class Lookup(AbstractResolver):
    """At most ``threads`` names at a time; nothing is remembered."""

    def __init__(self, threads: int, get_addresses: GetAddresses) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="webhook-names")
        self._get_addresses = get_addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a name; raises OSError when there is none."""
        ask = partial(self._get_addresses, host, port, family=family, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        return [
            ResolveResult(
                hostname=host,
                host=str(place[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, place in found
        ]

    async def close(self) -> None:
        """Ask no more; who still waits for an answer is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
