"""Items of an async source: the first go together, and slow ones behind them are not held up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from countermand_client import bodies
from countermand_client.bodies import ITEMS_AT_ONCE, Replay


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
