"""Items of an async source: the first go together, and slow ones behind them are not held up."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from countermand_client import bodies
from countermand_client.bodies import BLOCK, ITEMS_AT_ONCE, Replay, line_of


async def numbers(first: int, end: int, pause: float | None = None) -> AsyncIterator[Any]:
    for n in range(first, end):
        yield {"n": n}
        if pause is not None:
            await asyncio.sleep(pause)


async def sent(source: AsyncIterator[Any]) -> list[int]:
    """How many items each block has; all of them are in their order."""
    body = Replay(source)
    try:
        blocks = [block async for block in body.send()]
        again = [block async for block in body.send()]
    finally:
        await body.close()
    lines = b"".join(blocks).splitlines()
    assert lines == [b'{"n": %d}' % n for n in range(len(lines))]
    assert b"".join(again) == b"".join(blocks)
    return [block.count(b"\n") for block in blocks]


async def test_a_source_may_be_slow_until_there_are_500() -> None:
    assert await sent(numbers(0, 12, pause=0.005)) == [12]
    assert await sent(numbers(0, 0)) == []


async def test_a_fast_source_goes_in_blocks() -> None:
    assert await sent(numbers(0, 3 * ITEMS_AT_ONCE)) == [ITEMS_AT_ONCE] * 3
    assert await sent(numbers(0, ITEMS_AT_ONCE + 7, pause=0)) == [ITEMS_AT_ONCE, 7]


@pytest.mark.parametrize("ahead", [1, 2])
async def test_large_items_go_sooner(ahead: int) -> None:
    """Of a plain source a block of 4 MB is in memory; of an async one another is read ahead."""
    given = 0

    def source() -> Iterator[Any]:
        nonlocal given
        for _ in range(200):
            given += 1
            yield {"pad": "x" * 100_000}

    async def async_source() -> AsyncIterator[Any]:
        for item in source():
            yield item

    body = Replay(source() if ahead == 1 else async_source())
    async with aclosing(body.send()) as sending:  # type: ignore[type-var]
        await anext(sending)
        assert 40 <= given <= 40 * ahead
        size = BLOCK + sum([len(block) async for block in sending])
    assert given == 200
    assert size == 200 * len(line_of({"pad": "x" * 100_000}))
    await body.close()


@pytest.mark.parametrize("plain", [True, False])
async def test_behind_large_items_small_ones_go_many_at_once(plain: bool) -> None:
    items = [{"pad": "x" * 100_000}] * 40 + [{"pad": ""}] * (ITEMS_AT_ONCE + 7)

    async def source() -> AsyncIterator[Any]:
        for item in items:
            yield item

    body = Replay(items if plain else source())
    counts = [block.count(b"\n") async for block in body.send()]
    await body.close()
    assert counts[-2:] == [ITEMS_AT_ONCE, 7]
    assert sum(counts) == len(items)


async def test_behind_the_first_block_what_came_goes_in_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bodies, "SECONDS_AT_ONCE", 0.05)
    seen = asyncio.Event()

    async def source() -> AsyncIterator[Any]:
        async for item in numbers(0, ITEMS_AT_ONCE + 2):
            yield item
        await seen.wait()
        await asyncio.sleep(0.1)
        yield {"n": ITEMS_AT_ONCE + 2}

    body = Replay(source())
    counts: list[int] = []
    async with asyncio.timeout(10):
        async for block in body.send():
            counts.append(block.count(b"\n"))
            if len(counts) == 2:
                seen.set()
    assert counts == [ITEMS_AT_ONCE, 2, 1]
    await body.close()


async def test_what_the_source_raises_is_raised_and_nothing_of_a_block_is_sent() -> None:
    async def source() -> AsyncIterator[Any]:
        yield {"n": 0}
        raise LookupError("no more")

    body = Replay(source())
    for _ in range(2):
        with pytest.raises(LookupError, match="no more"):
            [block async for block in body.send()]
    assert isinstance(body.failure, LookupError)
    await body.close()


@pytest.mark.parametrize("plain", [True, False])
async def test_a_source_that_ends_the_program_does_not_end_a_task_of_ours(plain: bool) -> None:
    """Such a task would end the event loop; it is left to whoever has asked for the items."""

    def source() -> Iterator[Any]:
        yield {"n": 0}
        sys.exit("no more")

    async def async_source() -> AsyncIterator[Any]:
        for item in source():
            yield item

    body = Replay(source() if plain else async_source())
    with pytest.raises(RuntimeError, match="has raised SystemExit"):
        [block async for block in body.send()]
    with pytest.raises(SystemExit, match="no more"):
        await body.whole()
    await body.close()
    assert body.failure is None


async def test_an_item_that_is_no_json_is_named() -> None:
    async def source() -> AsyncIterator[Any]:
        yield {"n": 0}
        yield {"n": object()}

    body = Replay(source())
    with pytest.raises(TypeError, match="item 1 is no JSON"):
        [block async for block in body.send()]
    await body.close()


@pytest.mark.parametrize("blocks", [0, 1, 2])
async def test_who_reads_no_more_ends_the_source(blocks: int) -> None:
    before = asyncio.all_tasks()
    body = Replay(numbers(0, 10 * ITEMS_AT_ONCE))
    async with aclosing(body.send()) as sending:  # type: ignore[type-var]
        for _ in range(blocks):
            await anext(sending)
    await body.close()
    assert asyncio.all_tasks() == before


async def test_who_ends_while_the_source_is_slow_ends_the_source() -> None:
    before = asyncio.all_tasks()
    body = Replay(numbers(0, 10, pause=60))
    sending = asyncio.ensure_future(anext(body.send()))
    await asyncio.sleep(0.01)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await body.close()
    assert asyncio.all_tasks() == before


async def test_a_plain_source_is_read_in_one_thread_which_ends_with_the_body() -> None:
    """What it uses may belong to the thread that has opened it, as a connection of sqlite3."""
    threads: set[threading.Thread] = set()

    def source() -> Iterator[Any]:
        for n in range(3 * ITEMS_AT_ONCE):
            threads.add(threading.current_thread())
            yield {"n": n}

    bodies_of_it = [Replay(source()), Replay(source())]
    for body, blocks in zip(bodies_of_it, (3, 1), strict=True):
        sending = body.send()
        async with aclosing(sending):  # type: ignore[type-var]
            for _ in range(blocks):
                await anext(sending)
        await body.close()
    assert len(threads) == len(bodies_of_it)
    for thread in threads:
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()
