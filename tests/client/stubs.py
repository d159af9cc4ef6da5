"""Servers that answer as a test says, and work that may hang."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from aiohttp import web
from aiohttp.test_utils import TestServer

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
JOB = {"job_id": "a", "operation": "o", "status": "running", "version": 3, "counts": {"total": 1}}
ITEMS = {"items": [{"position": n, "status": "succeeded"} for n in range(3)], "next_cursor": None}


@asynccontextmanager
async def answering(handler: Handler) -> AsyncIterator[str]:
    """The address of a server on which one handler answers everything."""
    app = web.Application(client_max_size=100_000_000)
    app.router.add_route("*", "/{path:.*}", handler)
    async with TestServer(app, host="127.0.0.1") as server:
        yield str(server.make_url("")).rstrip("/")


def aside(work: Callable[[], T], seconds: float = 30.0) -> T:
    """What work gives in a thread of its own; fails when it has not ended in time.

    A thread that hangs is left behind, and holds up nothing.
    """
    given: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            given.append(work())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), f"it hangs: nothing came in {seconds:g} s"
    for error in failed:
        raise error
    return given[0]
