"""The client without asyncio: what else may run in the thread of its loop, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aiohttp import web

from countermand_client import Client, NotFoundError
from countermand_client.bodies import Items
from tests.acceptance.commands import environment
from tests.client.stubs import ITEMS, JOB, answering, aside

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
EVENT = b"event: e\nid: 1\ndata: %b\n\n" % json.dumps(JOB).encode()


@contextmanager
def nothing_collected() -> Iterator[None]:
    """Cycles stay where they are, unless they are collected by a test."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Page:
    """A caller's object that knows an unfinished iterator, and itself."""

    def __init__(self, values: Iterator[Any]) -> None:
        self.values = values
        self.me = self
        self.first = next(values)


async def collecting() -> AsyncIterator[dict[str, int]]:
    """Items whose source runs where the loop of the client does, and collects garbage there."""
    gc.collect()
    yield {"n": 1}


async def _answer(request: web.Request) -> web.StreamResponse:
    await request.read()
    if request.path.endswith("/items"):
        return web.json_response(ITEMS)
    if request.path.endswith("/jobs") and request.method == "GET":
        return web.json_response({"items": [JOB, JOB], "next_cursor": None})
    if "nosuch" in request.path or request.query.get("operation") == "nosuch":
        return web.json_response({"code": "not_found"}, status=404)
    return web.json_response(JOB)


async def talk(what: Callable[[Client], T]) -> T:
    """What somebody is told who has a client at a server that answers all that is asked."""

    def within() -> T:
        with Client(url) as client:
            return what(client)

    async with answering(_answer) as url:
        return await asyncio.to_thread(aside, within)


@pytest.mark.parametrize("kind", ["items", "jobs"])
async def test_an_unfinished_iterator_is_collected_in_the_thread_of_the_loop(kind: str) -> None:
    def half_read(client: Client) -> str:
        Page(client.items("a") if kind == "items" else client.jobs())
        return client.submit("o", collecting()).job_id

    with nothing_collected():
        assert await talk(half_read) == "a"


async def test_an_unfinished_stream_is_collected_there_and_closes_its_connection() -> None:
    closed = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if not request.path.endswith("/events"):
            return await _answer(request)
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        await stream.write(EVENT)
        try:
            while True:
                await stream.write(b": still here\n\n")
                await asyncio.sleep(0.01)
        finally:
            closed.set()

    def half_read() -> str:
        with Client(url) as client:
            Page(client.stream("a"))
            job = client.submit("o", collecting())
            handed_over = asyncio.run_coroutine_threadsafe(closed.wait(), loop)
            assert handed_over.result(30)
            return job.job_id

    loop = asyncio.get_running_loop()
    with nothing_collected():
        async with answering(answer) as url:
            assert await asyncio.to_thread(aside, half_read) == "a"


async def test_a_websocket_that_nobody_has_left_is_collected_there_too() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if not request.path.endswith("/ws"):
            return await _answer(request)
        opened = web.WebSocketResponse()
        await opened.prepare(request)
        await opened.receive()
        return opened

    def left() -> str:
        with Client(url) as client:

            def following() -> Iterator[int]:
                with client.live():
                    yield 1

            Page(following())
            return client.submit("o", collecting()).job_id

    with nothing_collected():
        async with answering(answer) as url:
            assert await asyncio.to_thread(aside, left) == "a"


async def test_asked_in_the_thread_of_its_loop_it_says_what_to_do_instead() -> None:
    def within_itself(client: Client) -> None:
        async def items() -> AsyncIterator[dict[str, int]]:
            yield {"version": client.job("a").version}

        client.submit("o", items())

    with pytest.raises(RuntimeError, match=r"plain generator.*AsyncClient"):
        await talk(within_itself)


def exits() -> Iterator[dict[str, int]]:
    """Items of a script that ends itself."""
    yield {"n": 1}
    sys.exit("row 2 is bad")


async def exits_later() -> AsyncIterator[dict[str, int]]:
    for item in exits():
        yield item


async def exits_beside() -> AsyncIterator[dict[str, int]]:
    """By a task of its own, which runs where the loop of the client does."""

    async def end() -> None:
        sys.exit("row 2 is bad")

    yield {"n": 1}
    await asyncio.ensure_future(end())


@pytest.mark.parametrize("note", ["", "x" * 10_000], ids=["as they come", "read before"])
@pytest.mark.parametrize("items", [exits, exits_later, exits_beside])
async def test_a_source_that_ends_the_program_does_so_where_it_was_asked_for(
    items: Callable[[], Items], note: str
) -> None:
    """And nobody else is left to wait for a loop that is gone."""

    def import_rows(client: Client) -> str:
        with pytest.raises(SystemExit, match="row 2 is bad"):
            client.submit("o", items(), params={"note": note})
        return client.job("a").job_id

    assert await talk(import_rows) == "a"


@pytest.mark.parametrize("asked", ["job", "submit", "stream"])
async def test_an_error_leaves_no_cycle_that_holds_what_was_asked_for(asked: str) -> None:
    """Else a caller's items, and what they hold, live until the collector comes."""

    class Held:
        """Something of the caller's."""

    def refused(client: Client) -> bool:
        held = Held()
        seen = weakref.ref(held)

        def ask(held: Held) -> None:
            try:
                if asked == "submit":
                    client.submit("nosuch", ({"n": 1, "of": repr(held)} for _ in range(2)))
                elif asked == "stream":
                    list(client.stream("nosuch"))
                else:
                    client.job("nosuch")
            except NotFoundError:
                return
            raise AssertionError("it is not refused")

        ask(held)
        del held
        return _ends(lambda: seen() is None)

    with nothing_collected():
        assert await talk(refused)


async def test_what_a_source_raises_leaves_no_cycle_either() -> None:
    """Of ours: read while a request is sent, it is known to the connection for longer."""

    class Held:
        """Something of the caller's."""

    def broken(client: Client) -> bool:
        def ask() -> weakref.ref[Held]:
            held = Held()

            def items() -> Iterator[dict[str, str]]:
                yield {"of": repr(held)}
                raise LookupError("no more")

            try:
                client.submit("o", items(), params={"note": "x" * 10_000})
            except LookupError:
                return weakref.ref(held)
            raise AssertionError("nothing is raised")

        seen = ask()
        return _ends(lambda: seen() is None)

    with nothing_collected():
        assert await talk(broken)


def _ends(true: Callable[[], bool]) -> bool:
    """Whether it is so before long: the thread of the loop lets go a moment later."""
    end = time.monotonic() + 10
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return true()


BLOCKED = """
import asyncio, os, signal, socket, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by who runs in the background
from countermand_client import AsyncClient, Client

begun = threading.Event()

def items():
    begun.set()
    threading.Event().wait()
    yield {"n": 1}

def interrupt():
    begun.wait()
    os.kill(os.getpid(), signal.SIGINT)

listening = socket.create_server(("127.0.0.1", 0))
url = f"http://127.0.0.1:{listening.getsockname()[1]}"
"""
PLAIN = """
threading.Thread(target=interrupt).start()
try:
    with Client(url) as client:
        client.submit("o", items())
except KeyboardInterrupt:
    print("left")
"""
WITH_ASYNCIO = """
async def main():
    async with AsyncClient(url) as client:
        submit = asyncio.ensure_future(client.submit("o", items()))
        await asyncio.to_thread(begun.wait)
        submit.cancel()
        await asyncio.gather(submit, return_exceptions=True)

asyncio.run(main())
print("left")
"""


@pytest.mark.parametrize("script", [PLAIN, WITH_ASYNCIO], ids=["plain", "asyncio"])
def test_whoever_leaves_does_not_wait_for_a_source_that_blocks(script: str) -> None:
    """Neither at the end of the client nor at that of Python."""
    ended = subprocess.run(
        [sys.executable, "-c", BLOCKED + script],
        env=environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("left\n", "", 0)


FORKED = """
import os, signal
from countermand_client import Client, Patience, UnreachableError

def ask(client):
    try:
        client.job("a")
    except UnreachableError:
        print("asked", flush=True)
    except RuntimeError as error:
        print(error, flush=True)

once = Patience(attempts=1)
with Client("http://127.0.0.1:1", patience=once) as client:
    child = os.fork()
    if child:
        print(os.waitpid(child, 0)[1], flush=True)
    else:
        signal.alarm(20)
    ask(client)
if not child:
    with Client("http://127.0.0.1:1", patience=once) as another:
        ask(another)
    os._exit(0)
"""


def test_one_that_is_taken_along_into_another_process_says_so() -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED],
        env=environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert (ended.stderr, ended.returncode) == ("", 0)
    said, *others = ended.stdout.splitlines()
    assert "opened in another process" in said
    assert said.endswith("; open one in this process")
    assert others == ["asked", "0", "asked"]  # there, and then here


async def test_whoever_is_waiting_when_it_ends_is_told() -> None:
    """In another thread; it must not wait for ever for a loop that is gone."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        asked.set()
        await over.wait()
        return web.json_response(JOB)

    def ends() -> bool:
        told = threading.Event()

        def wait(client: Client) -> None:
            with suppress(CancelledError):
                client.job("a")
            told.set()

        with Client(url) as client:
            threading.Thread(target=wait, args=(client,), daemon=True).start()
            asyncio.run_coroutine_threadsafe(asked.wait(), loop).result(30)
        return told.wait(10)

    asked, over, loop = asyncio.Event(), asyncio.Event(), asyncio.get_running_loop()
    async with answering(answer) as url:
        try:
            assert await asyncio.to_thread(aside, ends, 60)
        finally:
            over.set()
